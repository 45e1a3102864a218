"""Handles events about the files of a workspace in the background. Repeated events for a file are handled once.

Thousands of events may come at once (a branch is switched, packages are installed). A thread handles them in slices, so
that a document that is opened meanwhile does not wait for all of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

SLICE = 200  # changed files that are read before other work gets its turn
MOST_CHANGED = 100_000  # maximum number of waiting paths (10 MB); the next start reads the other changed files


class Files(Protocol):
    """The work on files. Called in the executor's thread, one call at a time, in this order."""

    def hide(self, path: Path) -> None: ...

    def show(self, path: Path) -> None: ...

    def refresh(self, *paths: Path) -> None: ...

    def look_around(self, folder: str) -> None: ...


class Upkeep:
    """Collects work and does it in `executor`. A failure is logged and affects no other work."""

    def __init__(self, executor: ThreadPoolExecutor, files: Files) -> None:
        self._executor, self._files = executor, files
        self._lock = threading.Lock()
        self._queued = False
        self._closed = False
        self._hidden: dict[Path, bool] = {}
        self._changed: dict[str, None] = {}
        self._full = False  # MOST_CHANGED paths wait, and others were skipped
        self._folders: dict[str, None] = {}

    def hide(self, path: Path, hidden: bool) -> None:
        """Hide a file from the index, or show it again. The last call for a file counts."""
        with self._lock:
            self._hidden.pop(path, None)
            self._hidden[path] = hidden
        self._ask()

    def refresh(self, paths: Iterable[Path]) -> None:
        """Read files again."""
        with self._lock:
            for path in paths:
                if len(self._changed) >= MOST_CHANGED:
                    if not self._full:
                        log.warning("more than %d files changed at once: the next start reads the rest", MOST_CHANGED)
                    self._full = True
                    break
                self._changed[str(path)] = None
        self._ask()

    def look_around(self, folders: Collection[str]) -> None:
        """Read the files near these folders, after the work that was requested before."""
        with self._lock:
            self._folders |= dict.fromkeys(folders)
        self._ask()

    def later(self, work: Callable[..., object], *arguments: object) -> Future[object] | None:
        """Do `work` after what was requested before. After `close`, does nothing and returns None."""
        try:
            future: Future[object] = self._executor.submit(work, *arguments)
        except RuntimeError:  # the executor is shut down
            return None
        future.add_done_callback(_log_failure)
        return future

    def close(self, *, finish: float) -> None:
        """Drop the work on files. Wait up to `finish` seconds for the other work."""
        with self._lock:
            self._closed = True
        done = self.later(_nothing) if finish else None
        if done is not None:
            try:
                done.result(finish)
            except TimeoutError:
                log.warning("background work was not finished within %.1f s", finish)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> None:
        with self._lock:
            if self._queued or self._closed:
                return
            self._queued = True
        self.later(self._catch_up)

    def _catch_up(self) -> None:
        with self._lock:
            self._queued = False
            if self._closed:
                return
            hidden, self._hidden = self._hidden, {}
            changed = [path for path, _ in zip(self._changed, range(SLICE), strict=False)]
            for path in changed:
                del self._changed[path]
            rest = bool(self._changed)
            self._full = self._full and rest
            folders: Collection[str] = ()
            if hidden or not rest:  # while many files wait, only if a document was opened or closed
                folders, self._folders = self._folders, {}
        for path, hide in hidden.items():
            self._attempt(self._files.hide if hide else self._files.show, path)
        if changed:
            self._attempt(self._files.refresh, *map(Path, changed))
        for folder in folders:
            self._attempt(self._files.look_around, folder)
        if rest:
            self._ask()

    def _attempt(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        except Exception:  # a failure must not affect other files
            log.exception("upkeep failed")


def _nothing() -> None:
    """Do nothing. Its result shows that the work before it is done."""


def _log_failure(done: Future[object]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.error("upkeep failed", exc_info=error)
