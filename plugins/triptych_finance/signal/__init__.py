"""The signal: an index per entity and sector in event time, its alarms and their budget, drift, duplicates."""
