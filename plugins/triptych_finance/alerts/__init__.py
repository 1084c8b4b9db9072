"""Alerts: their life from pending to resolved, the notices that tell of them and how these are delivered."""
