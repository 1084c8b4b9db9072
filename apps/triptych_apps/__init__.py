"""Surfaces: the command line. They know no vertical by name, only through the host."""
