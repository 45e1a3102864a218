"""The session of one editor: its phase, its settings, initialize and shutdown."""
