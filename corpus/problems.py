"""Prints what went wrong, for a person: errors in red, warnings in yellow."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def print_error(console: Console, problem: object) -> None:
    """Print an error as it is: brackets are no markup, and a long path is not broken into two lines."""
    console.print(Text(str(problem), "red"), soft_wrap=True)


def print_warning(console: Console, problem: object) -> None:
    """Print a warning as `print_error` prints an error."""
    console.print(Text(str(problem), "yellow"), soft_wrap=True)
