"""Prices, charts and calls, and what they say of the volatility to come."""
