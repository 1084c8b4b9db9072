"""The files of the finance page."""
