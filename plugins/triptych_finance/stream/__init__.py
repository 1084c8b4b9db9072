"""What flows: items, and the sources that they come from."""
