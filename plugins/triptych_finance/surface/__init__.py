"""The commands of `triptych finance`."""
