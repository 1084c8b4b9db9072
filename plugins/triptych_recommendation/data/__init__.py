"""Events, items, and the arrays that models learn from."""
