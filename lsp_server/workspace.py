"""The files around what is being edited: the workspace's index, and the files nearest to each open document.

Read and refreshed in the background, in the order of events. What the editor has open counts as its text, not as its file.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from corpus.syntax.language import languages
from lsp_server.model_worker import yield_to_others
from lsp_server.uris import path_of
from tuning.ranking.index import WorkspaceIndex
from tuning.ranking.repeats import Nearby

log = logging.getLogger(__name__)

FOLDERS = 4  # whose nearest files are held, 4 MB each
NOTHING = Nearby(())


class Workspace:
    """The index (None before `open`), and what lies near a document's folder. Used from one event loop."""

    def __init__(self, cache_dir: Path | None) -> None:
        self.index: WorkspaceIndex | None = None
        self._cache_dir = cache_dir
        self._roots: list[str] = []
        self._open: dict[str, Path] = {}  # by URI, those documents that are files
        self._stop = threading.Event()
        self._upkeep = ThreadPoolExecutor(1, "index upkeep", initializer=yield_to_others)  # in the order of events
        self._nearby: dict[str, Nearby] = {}  # by folder, the one asked for last at the end

    def open(self, roots: Iterable[str]) -> None:
        """Where the workspace is, as URIs; the index is built from here on, in the background."""
        self._roots = list(roots)
        self.index = self._new_index()
        self._build_in_background(self.index)

    def change_folders(self, gone: Collection[str], come: Iterable[str]) -> None:
        """Folders came and went: the index of the new ones is built beside the old one, and takes its place."""
        self._roots = [uri for uri in self._roots if uri not in gone] + list(come)
        self._stop.set()
        self._stop = threading.Event()
        self._build_in_background(self._new_index())

    def opened(self, uri: str) -> str:
        """A document was opened. Returns its folder, resolved; "" where it is no file."""
        path = path_of(uri)
        if path is None:
            return ""
        self._open[uri] = path
        folder = str(path.parent.resolve())
        if self.index is not None:
            self.later(self.index.hide, path)
            self._look_around(folder)
        return folder

    def closed(self, uri: str) -> None:
        path = self._open.pop(uri, None)
        if self.index is not None and path is not None:
            self.later(self.index.show, path)
            self._look_around(*self._nearby)

    def changed(self, uris: Iterable[str]) -> None:
        """Files were written, made or removed."""
        for uri in uris:
            path = path_of(uri)
            if self.index is not None and path is not None and uri not in self._open:
                self.later(self.index.refresh, path)
        self._look_around(*self._nearby)

    def nearby(self, folder: str) -> Nearby:
        """The files nearest to a folder as they were read last; nothing where they are only now being read."""
        found = self._nearby.pop(folder, None)
        if found is None:
            self._look_around(folder)
            return NOTHING
        return self._nearby.setdefault(folder, found)

    def later(self, work: Callable[..., object], *arguments: object) -> None:
        """Have upkeep do it after what it was asked for before; what fails is logged, and costs only itself."""
        self._upkeep.submit(work, *arguments).add_done_callback(_log_failure)

    def close(self, *, finish: bool) -> None:
        """Keep the index for the next start; `finish`: not before upkeep has done what it was asked for."""
        self._stop.set()
        self._upkeep.shutdown(wait=finish, cancel_futures=not finish)
        if self.index is not None and self.index.ready:
            self.index.save()

    def _new_index(self) -> WorkspaceIndex:
        roots = [path for uri in self._roots if (path := path_of(uri)) is not None and path.is_dir()]
        suffixes = {suffix for language in languages().values() for suffix in language.extensions}
        return WorkspaceIndex(roots, suffixes, cache_dir=self._cache_dir)

    def _build_in_background(self, index: WorkspaceIndex) -> None:
        threading.Thread(target=self._build, args=(index, self._stop), name="index", daemon=True).start()

    def _build(self, index: WorkspaceIndex, stop: threading.Event) -> None:
        started = time.monotonic()
        yield_to_others()
        try:
            self._hide_open(index)
            index.build(stop=stop)
        except Exception:  # the thread's last line of defence: without an index, this file still counts
            log.exception("the workspace index could not be built")
            return
        if stop.is_set():
            return
        self.index = index
        self._hide_open(index)  # those that were opened meanwhile
        self._look_around(*self._nearby)
        log.info("index: %d files, %d bytes, %.1f s", index.files, index.bytes, time.monotonic() - started)

    def _hide_open(self, index: WorkspaceIndex) -> None:
        for path in list(self._open.values()):
            index.hide(path)

    def _look_around(self, *folders: str) -> None:
        """Read the files nearest to each folder again, after what upkeep was asked for before."""
        if self.index is not None:
            for folder in filter(None, folders):
                self.later(self._read_around, self.index, folder)

    def _read_around(self, index: WorkspaceIndex, folder: str) -> None:
        self._nearby[folder] = index.nearby(folder)
        while len(self._nearby) > FOLDERS:
            self._nearby.pop(next(iter(self._nearby)), None)


def _log_failure(done: Future[object]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.error("upkeep failed", exc_info=error)
