"""The ranker process, from both ends."""
