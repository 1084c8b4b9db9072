"""What the monitor has seen, concluded and said: SQLite by default, PostgreSQL by a URL."""
