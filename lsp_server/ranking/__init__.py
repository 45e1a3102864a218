"""Ranking of completion lists: the ranker process, and its client in the server process."""
