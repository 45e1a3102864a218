"""One editor's session: its state, its settings, its beginning and end."""
