"""What a person asks from a terminal."""
