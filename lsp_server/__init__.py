"""Starling: a language server that wraps another language server and ranks its completions."""

__version__ = "0.1.0"
