"""The monitor: items in, and for each exactly one effect on the store."""
