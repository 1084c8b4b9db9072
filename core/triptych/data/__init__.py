"""Examples: where they come from, how media are decoded, how they are split and checked. No torch on this floor."""
