"""The workspace's index: identifiers and their contexts, counted, and kept on disk."""
