"""What has to be done about the files of a workspace, in the background, each thing once however often it is asked for.

Thousands of events may come at once (a branch is switched, packages are installed); a thread takes them in slices, so that
a document that is opened meanwhile does not wait for all of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

SLICE = 200  # changed files that are read before anything else gets its turn
MOST_CHANGED = 100_000  # paths that wait at once, 10 MB; beyond that, the next start reads what has changed


class Files(Protocol):
    """What is done. Each is called in the thread of the executor, one at a time, in this order."""

    def hide(self, path: Path) -> None: ...

    def show(self, path: Path) -> None: ...

    def refresh(self, *paths: Path) -> None: ...

    def look_around(self, folder: str) -> None: ...


class Upkeep:
    """Collects what is asked for, and does it in `executor`. What fails is logged, and costs only itself."""

    def __init__(self, executor: ThreadPoolExecutor, files: Files) -> None:
        self._executor, self._files = executor, files
        self._lock = threading.Lock()
        self._queued = False
        self._closed = False
        self._hidden: dict[Path, bool] = {}
        self._changed: dict[str, None] = {}
        self._full = False  # and some were left out
        self._folders: dict[str, None] = {}

    def hide(self, path: Path, hidden: bool) -> None:
        """Leave a file out, or take it in again: what was asked for last counts."""
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
        """Look at what is near these folders, after what was asked for before."""
        with self._lock:
            self._folders |= dict.fromkeys(folders)
        self._ask()

    def later(self, work: Callable[..., object], *arguments: object) -> Future[object] | None:
        """Do something after what was asked for before. None, and nothing is done, once `close` was called."""
        try:
            future: Future[object] = self._executor.submit(work, *arguments)
        except RuntimeError:  # the executor takes no more
            return None
        future.add_done_callback(_log_failure)
        return future

    def close(self, *, finish: float) -> None:
        """Drop what was asked for of files; wait up to `finish` seconds for the other work."""
        with self._lock:
            self._closed = True
        done = self.later(_nothing) if finish else None
        if done is not None:
            try:
                done.result(finish)
            except TimeoutError:
                log.warning("not all of the work in the background was done within %.1f s", finish)
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
            if hidden or not rest:  # during a flood only for the document that was opened or closed
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
        except Exception:  # the thread's last line of defence: one file must not cost the others
            log.exception("upkeep failed")


def _nothing() -> None:
    """Something to wait for."""


def _log_failure(done: Future[object]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.error("upkeep failed", exc_info=error)
