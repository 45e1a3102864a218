"""Tree-sitter and nothing else: what syntax says of a cursor. Used live and offline, tolerant of broken code."""
