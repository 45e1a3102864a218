"""A progress bar with the time left, as this package's commands show it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tuning.tenths import tenths


@contextmanager
def bar(console: Console, what: str, total: int) -> Generator[Callable[[int], None]]:
    """Gone at the end; what is given takes how many more are done. Where nobody looks at a terminal, a line each tenth."""
    if not console.is_terminal:
        yield tenths(console, what, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
