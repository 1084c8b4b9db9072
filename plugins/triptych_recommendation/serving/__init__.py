"""From a user to a list: candidates, rules, diversity, exploration, explanations."""
