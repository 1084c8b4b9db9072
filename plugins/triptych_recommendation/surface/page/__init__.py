"""The web page: the gallery of recommendations."""
