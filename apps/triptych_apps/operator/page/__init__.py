"""Files of the operator's page."""
