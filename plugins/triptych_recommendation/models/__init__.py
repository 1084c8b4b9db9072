"""What people will choose next: popularity, neighbours, linear and sequence models, and their blend."""
