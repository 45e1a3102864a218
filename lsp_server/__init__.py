"""Starling: a language server that runs another one behind it and re-orders its completions."""

__version__ = "0.1.0"
