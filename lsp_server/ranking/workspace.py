"""The files around what is being edited: the workspace's index, and the files nearest to each open document.

Read and refreshed in the background, in the order of events. What the editor has open counts as its text, not as its file.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corpus.syntax.language import languages
from lsp_server.documents.uris import path_of
from lsp_server.ranking.model_worker import yield_to_others
from lsp_server.ranking.upkeep import Upkeep
from tuning.ranking.serving.index.repeats import Nearby
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex

log = logging.getLogger(__name__)

FOLDERS = 4  # whose nearest files are held, 4 MB each
FINISH = 0.3  # seconds that the log of what was written may take at the end: the server process waits 0.5
NOTHING = Nearby(())


class Workspace:
    """The index (None before `open`), and what lies near a document's folder. Used from one event loop.

    Threads: one builds an index, once for each set of folders; the executor does all else, so only it changes which
    indexes there are. Each of them hears of every event, the one that is being built too.
    """

    def __init__(self, cache_dir: Path | None) -> None:
        self.index: WorkspaceIndex | None = None
        self._cache_dir = cache_dir
        self._suffixes = tuple({suffix for language in languages().values() for suffix in language.extensions})
        self._roots: list[str] = []
        self._open: dict[str, Path] = {}  # by URI, those documents that are files
        self._stop = threading.Event()
        self._upkeep = ThreadPoolExecutor(1, "index upkeep", initializer=yield_to_others)  # in the order of events
        self._asked = Upkeep(self._upkeep, self)
        self._live: list[WorkspaceIndex] = []  # the one in use, then those that are being built
        self._nearby: dict[str, Nearby] = {}  # by folder, the one asked for last at the end
        self._nearby_lock = threading.Lock()

    def open(self, roots: Iterable[str]) -> None:
        """Where the workspace is, as URIs; the index is built from here on, in the background."""
        self._roots = list(roots)
        self.index = WorkspaceIndex((), self._suffixes)
        self._build_in_background()

    def change_folders(self, gone: Collection[str], come: Iterable[str]) -> None:
        """Folders came and went: the index of the new ones is built beside the old one, and takes its place."""
        self._roots = [uri for uri in self._roots if uri not in gone] + list(come)
        self._stop.set()
        self._stop = threading.Event()
        self._build_in_background()

    def opened(self, uri: str) -> str:
        """A document was opened. Returns its folder, resolved; "" where it is no file."""
        path = _path(uri)
        if path is None:
            return ""
        self._open[uri] = path
        folder = _folder(path)
        if self.index is not None:
            self._asked.hide(path, True)
            self._look_around(folder)
        return folder

    def closed(self, uri: str) -> None:
        path = self._open.pop(uri, None)
        if self.index is not None and path is not None:
            self._asked.hide(path, False)
            self._look_around(*self._folders())

    def changed(self, uris: Iterable[str]) -> None:
        """Files were written, made or removed."""
        if self.index is None:
            return
        found = (_path(uri) for uri in uris if uri not in self._open)
        paths = [path for path in found if path is not None and path.name.endswith(self._suffixes)]
        if paths:
            self._asked.refresh(paths)
            self._look_around(*self._folders())

    def nearby(self, folder: str) -> Nearby:
        """The files nearest to a folder as they were read last; nothing where they are only now being read."""
        with self._nearby_lock:
            found = self._nearby.pop(folder, None)
            if found is not None:
                self._nearby[folder] = found
                return found
        self._look_around(folder)
        return NOTHING

    def later(self, work: Callable[..., object], *arguments: object) -> None:
        """Have upkeep do it after what it was asked for before; what fails is logged, and costs only itself."""
        self._asked.later(work, *arguments)

    def close(self, *, finish: bool) -> None:
        """Keep the index for the next start; `finish`: after what `later` was asked for, if it takes no longer than FINISH."""
        self._stop.set()
        self._asked.close(finish=FINISH if finish else 0)
        if self.index is not None and self.index.ready:
            self.index.save()

    # Done by upkeep, in its thread

    def hide(self, path: Path) -> None:
        for index in self._live:
            index.hide(path)

    def show(self, path: Path) -> None:
        if path not in list(self._open.values()):  # under another URI, it may still be open
            for index in self._live:
                index.show(path)

    def refresh(self, *paths: Path) -> None:
        for index in self._live:
            index.refresh(*paths)

    def look_around(self, folder: str) -> None:
        """Read the files nearest to a folder again."""
        found = NOTHING  # where looking fails, too: not to try again at each key
        try:
            if self.index is not None:
                found = self.index.nearby(folder)
        finally:
            with self._nearby_lock:
                self._nearby[folder] = found
                while len(self._nearby) > FOLDERS:
                    self._nearby.pop(next(iter(self._nearby)))

    def _adopt(self, index: WorkspaceIndex) -> None:
        """From now on an index that is being built hears of events."""
        if not self._live:
            self.index = index  # what it has counted so far is better than nothing
        self._live.append(index)
        for path in list(self._open.values()):
            index.hide(path)

    def _use(self, index: WorkspaceIndex, stop: threading.Event) -> None:
        """An index is built: it takes the place of those before it, unless the folders have changed meanwhile."""
        if stop.is_set():
            self._drop(index)
            return
        self._live = self._live[self._live.index(index) :]
        self.index = index
        self._look_around(*self._folders())

    def _drop(self, index: WorkspaceIndex) -> None:
        """An index will not be built."""
        if index in self._live:
            self._live.remove(index)

    # Building, in a thread of its own

    def _build_in_background(self) -> None:
        threading.Thread(target=self._build, args=(list(self._roots), self._stop), name="index", daemon=True).start()

    def _build(self, uris: list[str], stop: threading.Event) -> None:
        started = time.monotonic()
        yield_to_others()
        index: WorkspaceIndex | None = None
        for cache_dir in (self._cache_dir, None):  # what fails with what was kept may do without
            try:
                index = self._built(uris, stop, cache_dir)
                break
            except Exception:  # the thread's last line of defence: without an index, this file still counts
                log.exception("the workspace index could not be built")
        if index is None:
            index = WorkspaceIndex((), self._suffixes)
            index.ready = True  # as far as it will ever be: nobody waits for more
            self.later(self._adopt, index)
        self.later(self._use, index, stop)
        log.info("index: %d files, %d bytes, %.1f s", index.files, index.bytes, time.monotonic() - started)

    def _built(self, uris: list[str], stop: threading.Event, cache_dir: Path | None) -> WorkspaceIndex:
        roots = [path for uri in uris if (path := _path(uri)) is not None and os.path.isdir(path)]  # noqa: PTH112 - does not raise
        index = WorkspaceIndex(roots, self._suffixes, cache_dir=cache_dir)
        self.later(self._adopt, index)
        try:
            index.build(stop=stop)
        finally:
            if not index.ready:
                self.later(self._drop, index)
        return index

    def _look_around(self, *folders: str) -> None:
        """Have the files nearest to each folder read again, after what upkeep was asked for before."""
        if self.index is not None:
            self._asked.look_around([folder for folder in folders if folder])

    def _folders(self) -> list[str]:
        with self._nearby_lock:
            return list(self._nearby)


def _path(uri: str) -> Path | None:
    """The file of a file: URI; None for other schemes, and for what is no URI."""
    try:
        return path_of(uri)
    except ValueError:
        return None


def _folder(path: Path) -> str:
    """The folder of a document, resolved as far as it can be."""
    try:
        return os.path.realpath(path.parent)
    except (OSError, ValueError):  # no path that a file can have
        return str(path.parent)
