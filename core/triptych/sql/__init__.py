"""Stores in SQLite or PostgreSQL, named by an address, that several processes may use at once."""
