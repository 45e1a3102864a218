"""A progress bar with the time left, as this package's commands show it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

TENTH = 10


@contextmanager
def bar(console: Console, what: str, total: int) -> Generator[Callable[[int], None]]:
    """Gone at the end; what is given takes how many more are done. Where nobody looks at a terminal, a line each tenth."""
    if not console.is_terminal:
        yield _lines(console, what, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _lines(console: Console, what: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if done * TENTH // max(1, total) > before * TENTH // max(1, total):
            console.print(f"{what}: {done:,} of {total:,}", highlight=False)

    return advance
