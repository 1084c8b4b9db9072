"""What an item says, shows and sounds like, taught by what people choose together."""
