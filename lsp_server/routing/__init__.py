"""Decides which wrapped servers get a message, and merges the answers of several servers."""
