"""The page of the operator: how the server does, its releases and ledgers, the review queue, and keys."""
