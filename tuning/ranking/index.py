"""The workspace index: how often each name follows each context in the workspace's files, and in this one.

A nested cache n-gram: the workspace's estimate is the prior of this file's. Built in a background thread, kept fresh
a file at a time, bounded in memory, persisted in a private cache folder. Keeps hashes, no text.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpus.syntax.tokens import I64, U32, U64, name_ids, tokenize
from tuning.ranking.context import FileContext, Floats, LocalCounts, interpolated
from tuning.ranking.counts import CountTable
from tuning.ranking.files import SourceFile, looks_written, source_files
from tuning.ranking.grams import CONTEXT, gram_keys, query_keys
from tuning.ranking.repeats import Nearby, nearest

__all__ = ["FileContext", "IndexScores", "WorkspaceIndex"]

log = logging.getLogger(__name__)

VERSION = 1
BATCH_BYTES = 1 << 19
SLOTS_PER_BYTE = 0.35  # Python source has 0.15 distinct keys a byte: a table less than half full
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


@dataclass(slots=True)
class _File:
    modified: int
    size: int
    ids: U32


class WorkspaceIndex:
    """Counts over the files below `roots`. Safe to query while another thread builds or refreshes."""

    def __init__(
        self,
        roots: Sequence[Path],
        suffixes: Collection[str],
        *,
        cache_dir: Path | None = None,
        max_bytes: int = 64_000_000,
        max_file_bytes: int = 1_000_000,
    ) -> None:
        self.ready = False
        self._roots = [root.resolve() for root in roots]
        self._suffixes = frozenset(suffixes)
        self._max_bytes, self._max_file_bytes = max_bytes, max_file_bytes
        self._table = CountTable(1 << 12)
        self._files: dict[str, _File] = {}
        self._hidden: set[str] = set()
        self._names = 0
        self._lock = threading.RLock()
        self._dirty = False
        key = hashlib.sha256("\0".join(map(str, self._roots)).encode()).hexdigest()[:24]
        self._cache = cache_dir / key if cache_dir is not None and roots else None

    @property
    def files(self) -> int:
        return len(self._files)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self._files.values())

    @property
    def memory_bytes(self) -> int:
        """Of arrays held in memory; ids in the mapped cache file do not count."""
        own = sum(file.ids.nbytes for file in self._files.values() if file.ids.base is None)
        return self._table.words.nbytes + own

    def build(self, *, progress: Callable[[int, int], None] | None = None, stop: threading.Event | None = None) -> None:
        """Load what was kept, bring it up to date. For a background thread; yields to others between batches."""
        found = sorted(source_files(self._roots, self._suffixes, self._max_file_bytes), key=lambda file: -file.modified)
        found = self._within_budget(found)
        with self._lock:
            self._load(sum(file.size for file in found))
        present = {str(file.path): file for file in found}
        for gone in [path for path in self._files if path not in present]:
            self._forget(gone)
        known = self._files
        todo = [
            file
            for path, file in present.items()
            if path not in known or (known[path].modified, known[path].size) != (file.modified, file.size)
        ]
        done = total = 0
        total = sum(file.size for file in todo)
        batch: list[SourceFile] = []
        for number, file in enumerate(todo):
            batch.append(file)
            if sum(each.size for each in batch) >= BATCH_BYTES or number == len(todo) - 1:
                if stop is not None and stop.is_set():
                    return
                self._add(batch)
                done += sum(each.size for each in batch)
                batch = []
                if progress is not None:
                    progress(done, total)
                time.sleep(0)
        self.ready = True
        if todo:
            self.save()

    def refresh(self, path: Path) -> None:
        """Read one file again: it was changed, created or deleted on disk."""
        path = _real(path)
        name = str(path)
        if name in self._hidden or not name.endswith(tuple(self._suffixes)):
            return
        if not any(path.is_relative_to(root) for root in self._roots):
            return
        self._forget(name)
        with contextlib.suppress(OSError):
            status = path.stat()
            if status.st_size <= self._max_file_bytes and not path.is_symlink():
                self._add([SourceFile(path, status.st_size, status.st_mtime_ns)])

    def hide(self, path: Path) -> None:
        """Leave a file out from now on: it is open, and its text in the editor counts instead."""
        name = str(_real(path))
        with self._lock:
            self._hidden.add(name)
            self._forget(name)

    def show(self, path: Path) -> None:
        """Take a file that is no longer open in again, as it is on disk."""
        self._hidden.discard(str(_real(path)))
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
        return Nearby(nearest(folder, {path: file.ids for path, file in list(self._files.items())}))

    def save(self) -> None:
        """Keep it for the next start. What can't be written costs only that."""
        with self._lock:
            if self._cache is None or not self._dirty:
                return
            try:
                self._write(self._cache)
                self._dirty = False
            except OSError as error:
                log.warning("the index is not kept for the next start: %s", error)

    def _within_budget(self, found: list[SourceFile]) -> list[SourceFile]:
        sizes = np.cumsum([file.size for file in found]) if found else np.zeros(0)
        kept = int(np.searchsorted(sizes, self._max_bytes, side="right"))
        if kept < len(found):
            log.info("index: the %d files changed last of %d fit the budget", kept, len(found))
        return found[:kept]

    def _add(self, batch: Sequence[SourceFile]) -> None:
        texts: list[tuple[SourceFile, U32]] = []
        for file in batch:
            try:
                data = file.path.read_bytes()
            except OSError as error:
                log.info("skipped %s: %s", file.path, error)
                continue
            texts.append((file, tokenize(data).ids() if looks_written(data) else np.zeros(0, np.uint32)))
        with self._lock:
            texts = [(file, ids) for file, ids in texts if str(file.path) not in self._hidden]
            for file, ids in texts:
                self._files[str(file.path)] = _File(file.modified, file.size, ids)
                self._names += int(np.count_nonzero(ids & 1))
            self._table.add(gram_keys([ids for _, ids in texts]))
            self._dirty = True

    def _forget(self, name: str) -> None:
        with self._lock:
            file = self._files.pop(name, None)
            if file is not None and len(file.ids):
                self._table.add(gram_keys([np.asarray(file.ids)]), sign=-1)
                self._names -= int(np.count_nonzero(file.ids & 1))
                self._dirty = True

    def _load(self, expected_bytes: int) -> None:
        slots = max(1 << 14, int(expected_bytes * SLOTS_PER_BYTE))
        loaded = False
        if self._cache is not None:
            try:
                loaded = self._read(self._cache, slots)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.info("no index kept from before: %s", error)
        if not loaded:
            self._table, self._files, self._names = CountTable(slots), {}, 0

    def _read(self, cache: Path, slots: int) -> bool:
        manifest = json.loads((cache / "manifest.json").read_bytes())
        if manifest["version"] != VERSION or not 0.5 * slots <= manifest["slots"] <= 3 * slots:
            return False
        words = np.load(cache / f"words-{manifest['id']}.npy", allow_pickle=False)
        ids = np.load(cache / f"ids-{manifest['id']}.npy", allow_pickle=False, mmap_mode="r")
        if words.dtype != np.uint32 or ids.dtype != np.uint32 or words.size != manifest["slots"]:
            raise ValueError("not what the manifest says")
        table = CountTable(manifest["slots"])
        table.words = words
        table.overflow = {int(slot): int(count) for slot, count in manifest["overflow"]}
        self._files = {
            path: _File(modified, size, ids[start:end]) for path, modified, size, start, end in manifest["files"]
        }
        self._table, self._names = table, int(manifest["names"])
        for name in [name for name in self._hidden if name in self._files]:
            self._forget(name)
        return True

    def _write(self, cache: Path) -> None:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        id = uuid.uuid4().hex[:12]
        ends = np.cumsum([0] + [len(file.ids) for file in self._files.values()])
        ids = np.concatenate([np.zeros(0, np.uint32), *(file.ids for file in self._files.values())])
        manifest = {
            "version": VERSION,
            "id": id,
            "slots": self._table.slots,
            "names": self._names,
            "overflow": list(self._table.overflow.items()),
            "files": [
                [path, file.modified, file.size, int(start), int(end)]
                for (path, file), start, end in zip(self._files.items(), ends[:-1], ends[1:], strict=True)
            ],
        }
        np.save(cache / f"words-{id}.npy", self._table.words, allow_pickle=False)
        np.save(cache / f"ids-{id}.npy", ids, allow_pickle=False)
        temporary = cache / f"manifest-{id}.json"
        temporary.write_text(json.dumps(manifest))
        temporary.replace(cache / "manifest.json")
        for old in (*cache.glob("words-*.npy"), *cache.glob("ids-*.npy")):
            if id not in old.name:
                with contextlib.suppress(OSError):
                    old.unlink()
        mapped = np.load(cache / f"ids-{id}.npy", allow_pickle=False, mmap_mode="r")
        for file, start, end in zip(self._files.values(), ends[:-1], ends[1:], strict=True):
            file.ids = mapped[start:end]  # from here on the file holds them, not our memory


def _real(path: Path) -> Path:
    """The path below the resolved roots: a folder on the way may be a link, the file itself stays what it is."""
    return path.parent.resolve() / path.name
