"""What a model costs: measured variants and the ledger that compares them."""
