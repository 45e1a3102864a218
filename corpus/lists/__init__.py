"""Completion lists at places of a corpus, recorded from real language servers, and their files."""
