"""The wrapped servers: which there are, and the life of each."""
