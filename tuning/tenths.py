"""Progress where nobody looks at a terminal: a line each tenth of the way."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

TENTH = 10


def tenths(console: Console, what: str, total: int, done: int = 0) -> Callable[[int], None]:
    """What it gives takes how many more are done of `total`, and prints "what: 4 of 40" when another tenth is."""

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if done * TENTH // max(1, total) > before * TENTH // max(1, total):
            console.print(f"{what}: {done:,} of {total:,}", highlight=False)

    return advance
