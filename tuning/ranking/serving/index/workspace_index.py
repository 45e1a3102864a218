"""The workspace index: how often each name follows each context in the workspace's files, and in this one.

A nested cache n-gram: the workspace's estimate is the prior of this file's. Built in a background thread, kept fresh
a file at a time, bounded in memory, persisted in a private cache folder. Keeps hashes, no text.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from corpus.syntax.tokens import I64, U64, name_ids
from tuning.ranking.serving.index import index_cache
from tuning.ranking.serving.index.context import FileContext, Floats, LocalCounts, interpolated
from tuning.ranking.serving.index.counts import CountTable
from tuning.ranking.serving.index.grams import CONTEXT, gram_keys, query_keys
from tuning.ranking.serving.index.index_cache import IndexedFile, Kept
from tuning.ranking.serving.index.regular_files import read_regular
from tuning.ranking.serving.index.repeats import Nearby, nearest
from tuning.ranking.serving.index.source_files import USUAL, SourceFile, Tree, looks_written, source_files
from tuning.ranking.serving.index.token_ids import ids_of

__all__ = ["FileContext", "IndexScores", "WorkspaceIndex"]

log = logging.getLogger(__name__)

BATCH_BYTES = 1 << 19
BATCH_FILES = 1000
FIRST_SHARE = 0.8  # of the budget that the first reading may fill; files that are made or grow later have the rest
PATH_MARGIN = 60  # bytes of a kept file's entry beside its path
SLOTS_PER_BYTE = 0.35  # Python source has 0.15 distinct keys a byte: a table less than half full
CROWDED = 1.5  # times as many slots needed as a table has, and a larger one takes its place
AFTER_SEP = chr(ord(os.sep) + 1)  # sorts behind all that is in a folder
WORKSPACE_WEIGHT = 4.0
FILE_WEIGHT = 4.0
VOCABULARY = 50_000  # names taken to exist: what an unseen one shares


@dataclass(frozen=True, kw_only=True)
class IndexScores:
    """What the index knows of n names in a context. Probabilities are not normalised over the list."""

    probability: Floats
    workspace: Floats
    file: Floats
    local: LocalCounts
    workspace_uses: I64
    receiver_file: I64  # after the same two tokens, in this file
    receiver_workspace: I64


class WorkspaceIndex:
    """Counts over the files below `roots`. Safe to query while another thread builds or refreshes."""

    def __init__(
        self,
        roots: Sequence[Path],
        suffixes: Collection[str],
        *,
        cache_dir: Path | None = None,
        max_bytes: int = 80_000_000,
        max_file_bytes: int = 1_000_000,
    ) -> None:
        self.ready = False
        self._roots = [Path(os.path.realpath(root)) for root in roots]  # unlike resolve, raises at no loop of links
        self._suffixes = tuple(suffixes)
        self._max_bytes, self._max_file_bytes = max_bytes, max_file_bytes
        self._table = CountTable(1 << 12)
        self._files: dict[str, IndexedFile] = {}
        self._bytes = 0
        self._hidden: set[str] = set()
        self._names = 0
        self._lock = threading.RLock()
        self._dirty = False
        self._full = False
        key = hashlib.sha256(b"\0".join(map(os.fsencode, self._roots))).hexdigest()[:24]
        self._cache = cache_dir / key if cache_dir is not None and roots else None

    @property
    def files(self) -> int:
        return len(self._files)

    @property
    def bytes(self) -> int:
        """Of the files that are counted, on disk."""
        return self._bytes

    @property
    def memory_bytes(self) -> int:
        """Of arrays held in memory; ids in the mapped cache file do not count."""
        with self._lock:
            own = sum(file.ids.nbytes for file in self._files.values() if file.ids.base is None)
        return self._table.words.nbytes + own

    def build(self, *, progress: Callable[[int, int], None] | None = None, stop: threading.Event | None = None) -> None:
        """Load what was kept, bring it up to date. For a background thread; yields to others between batches.

        Once `stop` is set it ends soon, and the index is not ready.
        """
        stop = stop or threading.Event()
        found = source_files(self._roots, self._suffixes, self._max_file_bytes, stop=stop)
        if stop.is_set():
            return
        found = self._within_budget(sorted(found, key=lambda file: -file.modified))
        with self._lock:
            self._load(found)
            present = {file.path for file in found}
            self._forget([path for path in self._files if path not in present])
            todo = [file for file in found if not self._knows(file)]
        done, total = 0, sum(file.size for file in todo)
        for batch in _batches(todo):
            self._add(batch, stop)
            if stop.is_set():
                return
            done += sum(file.size for file in batch)
            if progress is not None:
                progress(done, total)
            time.sleep(0)
        self.ready = True
        if todo:
            self.save()

    def refresh(self, *paths: Path) -> None:
        """Read files again: they were changed, created or deleted on disk. Of a folder that was deleted, all that is known."""
        tree = Tree(self._roots, self._suffixes)
        names = [_real(path) for path in paths]
        names += self._below([name for name in names if not os.path.isfile(name)])  # noqa: PTH113 - does not raise
        known: list[str] = []
        there: list[SourceFile] = []
        for name in dict.fromkeys(names):
            if name in self._hidden or not name.endswith(self._suffixes):
                continue
            known.append(name)
            if not tree.has(name):
                continue
            with contextlib.suppress(OSError, ValueError):  # gone, or no name that a file can have
                status = os.lstat(name)
                if stat.S_ISREG(status.st_mode) and status.st_size <= self._max_file_bytes:
                    there.append(SourceFile(name, status.st_size, status.st_mtime_ns))
        with self._lock:
            there = self._with_room(there)
        self._forget(known)
        for batch in _batches(there):
            self._add(batch)

    def hide(self, path: Path) -> None:
        """Leave a file out from now on: it is open, and its text in the editor counts instead."""
        name = _real(path)
        with self._lock:
            self._hidden.add(name)
            self._forget([name])

    def show(self, path: Path) -> None:
        """Take a file that is no longer open in again, as it is on disk."""
        self._hidden.discard(_real(path))
        self.refresh(path)

    def score(self, context: FileContext, names: U64) -> IndexScores:
        """Scores of names (hashes uint64 [n]) where the context ends."""
        ids = name_ids(names)
        local = context.counts(ids)
        totals, grams = query_keys(context.tail, ids)
        table = self._table
        counts = table.count(grams.reshape(-1)).reshape(CONTEXT + 1, -1)
        all_totals = np.concatenate([[self._names], table.count(totals)])
        nothing = np.full(len(names), 1 / VOCABULARY)
        workspace = interpolated(counts, all_totals, nothing, WORKSPACE_WEIGHT)
        return IndexScores(
            probability=interpolated(local.orders, local.totals, workspace, FILE_WEIGHT),
            workspace=workspace,
            file=interpolated(local.orders, local.totals, nothing, FILE_WEIGHT),
            local=local,
            workspace_uses=counts[0],
            receiver_file=local.orders[2],
            receiver_workspace=counts[2],
        )

    def nearby(self, folder: str) -> Nearby:
        """The files nearest to a (resolved) folder, as they are known now. Some milliseconds: not for a request."""
        with self._lock:
            ids = {path: file.ids for path, file in self._files.items()}
        return Nearby(nearest(folder, ids))

    def save(self) -> None:
        """Keep it for the next start. What can't be written costs only that."""
        with self._lock:
            if self._cache is None or not self._dirty:
                return
            try:
                index_cache.write(self._cache, Kept(self._table, self._files, self._names))
                self._dirty = False
            except OSError as error:
                log.warning("the index is not kept for the next start: %s", error)

    def _below(self, folders: Sequence[str]) -> list[str]:
        """The known files in folders."""
        with self._lock:
            known = sorted(self._files) if folders else []
        ranges = ((bisect_left(known, folder + os.sep), bisect_left(known, folder + AFTER_SEP)) for folder in folders)
        return [name for start, end in ranges for name in known[start:end]]

    def _with_room(self, files: Sequence[SourceFile]) -> list[SourceFile]:
        """Those of changed files that the budget has room for: of what is known, its growth counts."""
        room, places = self._max_bytes - self._bytes, USUAL.files - len(self._files)
        taken: list[SourceFile] = []
        for file in files:
            known = self._files.get(file.path)
            growth = file.size - (0 if known is None else known.size)
            if growth > room or (known is None and places <= 0):
                if not self._full:
                    log.warning("index: full; what is added from now on does not count before the next start")
                self._full = True
                continue
            room, places = room - growth, places - (known is None)
            taken.append(file)
        return taken

    def _within_budget(self, found: list[SourceFile]) -> list[SourceFile]:
        sizes = np.cumsum([file.size for file in found]) if found else np.zeros(0)
        kept = int(np.searchsorted(sizes, int(self._max_bytes * FIRST_SHARE), side="right"))
        if kept < len(found):
            log.info("index: the %d files changed last of %d fit the budget", kept, len(found))
        return found[:kept]

    def _knows(self, file: SourceFile) -> bool:
        known = self._files.get(file.path)
        return known is not None and (known.modified, known.size) == (file.modified, file.size)

    def _add(self, batch: Sequence[SourceFile], stop: threading.Event | None = None) -> None:
        """Count files, in the place of what was known of them. Leaves out the rest once `stop` is set."""
        read: list[SourceFile] = []
        texts: list[bytes] = []
        unread: list[OSError] = []
        for file in batch:
            if stop is not None and stop.is_set():
                break
            try:
                data = read_regular(file.path, self._max_file_bytes)
            except OSError as error:
                unread.append(error)
                continue
            read.append(file)
            texts.append(data if looks_written(data) else b"")
        if unread:
            log.info("index: %d files could not be read, the first: %s", len(unread), unread[0])
        counted = list(zip(read, ids_of(texts), strict=True))
        with self._lock:
            counted = [(file, ids) for file, ids in counted if file.path not in self._hidden]
            self._forget([file.path for file, _ in counted])
            self._make_room(sum(file.size for file, _ in counted))
            self._table.add(gram_keys([ids for _, ids in counted]))
            for file, ids in counted:
                self._files[file.path] = IndexedFile(file.modified, file.size, ids)
                self._names += int(np.count_nonzero(ids & 1))
                self._bytes += file.size
            self._dirty = True

    def _make_room(self, size: int) -> None:
        """Count all files again in a larger table, if this one has too few slots for so many bytes more."""
        needed = int((self._bytes + size) * SLOTS_PER_BYTE)
        if needed <= CROWDED * self._table.slots:
            return
        larger = CountTable(min(2 * needed, max(needed, int(self._max_bytes * SLOTS_PER_BYTE))))
        for batch in _batches(self._files.values()):
            larger.add(gram_keys([file.ids for file in batch]))
        self._table = larger

    def _forget(self, names: Sequence[str]) -> None:
        """Take what was counted of files away again."""
        for start in range(0, len(names), BATCH_FILES):
            with self._lock:
                gone = [file for name in names[start : start + BATCH_FILES] if (file := self._files.pop(name, None))]
                self._bytes -= sum(file.size for file in gone)
                for batch in _batches(gone):
                    self._table.add(gram_keys([file.ids for file in batch]), sign=-1)
                    self._names -= sum(int(np.count_nonzero(file.ids & 1)) for file in batch)
                    self._dirty = True

    def _load(self, found: Sequence[SourceFile]) -> None:
        """Begin with what was kept, or with nothing."""
        slots = max(1 << 14, int(sum(file.size for file in found) * SLOTS_PER_BYTE))
        path_bytes = sum(len(file.path) + PATH_MARGIN for file in found)
        kept = None
        if self._cache is not None:
            kept = index_cache.read(self._cache, index_cache.Expected(slots=slots, path_bytes=path_bytes))
        if kept is None:
            kept = Kept(CountTable(slots), {}, 0)
        self._table, self._files, self._names = kept.table, kept.files, kept.names
        self._bytes = sum(file.size for file in kept.files.values())
        self._forget([name for name in self._hidden if name in self._files])


_Sized = TypeVar("_Sized", SourceFile, IndexedFile)


def _batches(files: Iterable[_Sized]) -> Iterator[list[_Sized]]:
    """Files together, as many as are read and counted at once."""
    batch: list[_Sized] = []
    size = 0
    for file in files:
        batch.append(file)
        size += file.size
        if size >= BATCH_BYTES or len(batch) >= BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _real(path: Path) -> str:
    """The path below the resolved roots: a folder on the way may be a link, the file itself stays what it is."""
    try:
        return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118
    except (OSError, ValueError):  # no path that a file can have
        return str(path)
