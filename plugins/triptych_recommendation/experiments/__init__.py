"""Assignment, interleaving, and reports that may be read at any time."""
