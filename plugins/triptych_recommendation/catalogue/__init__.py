"""What must survive: items, events, exposures and outcomes."""
