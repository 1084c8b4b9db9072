"""Packaged configurations, opened by name."""
