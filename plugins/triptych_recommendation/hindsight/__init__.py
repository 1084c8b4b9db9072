"""How good it was: ranking metrics, evaluation, the report."""
