"""The files around the edited documents: the workspace index, and the files nearest to each open document.

Files are read in the background, in the order of events. The file of an open document is ignored: its text counts.
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

FOLDERS = 4  # maximum number of folders with their nearest files in memory, 4 MB each
FINISH = 0.3  # seconds to finish writing the acceptance log at the end; the server process waits 0.5 s
NOTHING = Nearby(())


class Workspace:
    """The index (None before `open`), and the files near the folders of documents. Used from one event loop.

    Threads: one thread builds an index, once for each set of folders. The executor does everything else, so only the
    executor changes the list of indexes. Every index gets every event, even an index that is being built. A build may
    undo what an event changed: once its index is in use, it reads the files of the events since then again.
    """

    def __init__(self, cache_dir: Path | None) -> None:
        self.index: WorkspaceIndex | None = None
        self._cache_dir = cache_dir
        self._suffixes = tuple({suffix for language in languages().values() for suffix in language.extensions})
        self._roots: list[str] = []
        self._open: dict[str, Path] = {}  # by URI: the open documents that are files
        self._stop = threading.Event()
        self._upkeep = ThreadPoolExecutor(1, "index upkeep", initializer=yield_to_others)  # one thread keeps the order
        self._asked = Upkeep(self._upkeep, self)
        self._live: list[WorkspaceIndex] = []  # the one in use, then those that are being built
        self._used: threading.Event | None = None  # the `stop` of the build whose index is in use
        self._meanwhile: dict[Path, None] = {}  # files of the events since the last build began, until it is in use
        self._nearby: dict[str, Nearby] = {}  # by folder; the last requested is at the end
        self._nearby_lock = threading.Lock()

    def open(self, roots: Iterable[str]) -> None:
        """Set the URIs of the workspace folders, and start to build the index in the background."""
        self._roots = list(roots)
        self.index = WorkspaceIndex((), self._suffixes)
        self._build_in_background()

    def change_folders(self, gone: Collection[str], come: Iterable[str]) -> None:
        """Apply a change of the folders. A new index is built while the old one is used, and then replaces it."""
        self._roots = [uri for uri in self._roots if uri not in gone] + list(come)
        self._stop.set()
        self._stop = threading.Event()
        self._build_in_background()

    def opened(self, uri: str) -> str:
        """Handle a document that was opened. Returns its resolved folder; "" if the document is not a file."""
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

    def changed(self, uris: Iterable[str], deleted: Collection[str] = ()) -> None:
        """Handle files that were written, created or removed. `deleted`: those that are gone, folders among them."""
        if self.index is None:
            return
        found = ((uri, _path(uri)) for uri in uris if uri not in self._open)
        paths = [
            path for uri, path in found if path is not None and (uri in deleted or path.name.endswith(self._suffixes))
        ]
        if paths:
            self._asked.refresh(paths)
            self._look_around(*self._folders())

    def nearby(self, folder: str) -> Nearby:
        """Return the files nearest to a folder, as they were last read. Returns nothing if they are not read yet."""
        with self._nearby_lock:
            found = self._nearby.pop(folder, None)
            if found is not None:
                self._nearby[folder] = found
                return found
        self._look_around(folder)
        return NOTHING

    def later(self, work: Callable[..., object], *arguments: object) -> None:
        """Do `work` in the background after earlier work. A failure is logged and affects no other work."""
        self._asked.later(work, *arguments)

    def close(self, *, finish: bool) -> None:
        """Save the index for the next start. `finish`: first wait for the work of `later`, at most FINISH seconds."""
        self._stop.set()
        self._asked.close(finish=FINISH if finish else 0)
        if self.index is not None and self.index.ready:
            self.index.save()

    # Called by upkeep, in its thread

    def hide(self, path: Path) -> None:
        for index in self._live:
            index.hide(path)

    def show(self, path: Path) -> None:
        if path not in list(self._open.values()):  # under another URI, it may still be open
            self._note(path)
            for index in self._live:
                index.show(path)

    def refresh(self, *paths: Path) -> None:
        self._note(*paths)
        for index in self._live:
            index.refresh(*paths)

    def look_around(self, folder: str) -> None:
        """Read the files nearest to a folder again."""
        found = NOTHING  # stored if reading fails too, so that not every key press tries again
        try:
            if self.index is not None:
                found = self.index.nearby(folder)
        finally:
            with self._nearby_lock:
                self._nearby[folder] = found
                while len(self._nearby) > FOLDERS:
                    self._nearby.pop(next(iter(self._nearby)))

    def _note(self, *paths: Path) -> None:
        """Remember files for the index that is being built: it may have read them before, and not be there yet."""
        if self._used is not self._stop:
            self._meanwhile |= dict.fromkeys(paths)

    def _adopt(self, index: WorkspaceIndex) -> None:
        """Send events to an index that is being built, from now on."""
        if not self._live:
            self.index = index  # an incomplete index is better than none
        self._live.append(index)
        for path in list(self._open.values()):
            index.hide(path)

    def _use(self, index: WorkspaceIndex, stop: threading.Event) -> None:
        """Use an index that has been built instead of older ones, unless the folders have changed meanwhile."""
        if stop.is_set():
            self._drop(index)
            return
        self._live = self._live[self._live.index(index) :]
        self.index, self._used = index, stop
        self._asked.refresh(self._meanwhile)
        self._meanwhile.clear()
        self._look_around(*self._folders())

    def _drop(self, index: WorkspaceIndex) -> None:
        """Forget an index that will not be built, unless it is in use: then another one will replace it."""
        if index in self._live and index is not self.index:
            self._live.remove(index)

    # Building, in a separate thread

    def _build_in_background(self) -> None:
        threading.Thread(target=self._build, args=(list(self._roots), self._stop), name="index", daemon=True).start()

    def _build(self, uris: list[str], stop: threading.Event) -> None:
        started = time.monotonic()
        yield_to_others()
        index: WorkspaceIndex | None = None
        for cache_dir in (self._cache_dir, None):  # if it fails with the saved index, it may work without
            try:
                index = self._built(uris, stop, cache_dir)
                break
            except Exception:  # ranking works without an index: it then uses the open file only
                log.exception("the workspace index could not be built")
        if index is None:
            index = WorkspaceIndex((), self._suffixes)
            index.ready = True  # nothing more will be read: nobody should wait for it
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
        """Let upkeep read the files nearest to each folder again, after earlier work."""
        if self.index is not None:
            self._asked.look_around([folder for folder in folders if folder])

    def _folders(self) -> list[str]:
        with self._nearby_lock:
            return list(self._nearby)


def _path(uri: str) -> Path | None:
    """Return the path of a file URI; None for other schemes, and for a string that is not a URI."""
    try:
        return path_of(uri)
    except ValueError:
        return None


def _folder(path: Path) -> str:
    """Return the folder of a document, resolved as far as possible."""
    try:
        return os.path.realpath(path.parent)
    except (OSError, ValueError):  # not a valid path of a file
        return str(path.parent)
