"""Answering: sessions that run a model of a bundle."""
