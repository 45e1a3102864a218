"""List a workspace's source files. Opens nothing but .gitignore files, follows no link, writes nothing.

Honours nested .gitignore files as git does: the deepest file with a matching pattern decides, and nothing below
an ignored folder comes back. Skips version control, dependencies and virtual environments in any case.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

log = logging.getLogger(__name__)

SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".nox"})
ENVIRONMENT_MARK = "pyvenv.cfg"
IGNORE_FILE = ".gitignore"
MAX_IGNORE_BYTES = 1 << 20
LONG_LINE = 500  # mean bytes a line above which a file counts as minified
HOUR_NS = 3_600 * 10**9


@dataclass(frozen=True, slots=True)
class Found:
    """A file as listed: mtime in nanoseconds, size in bytes, folders below its root."""

    path: str
    mtime_ns: int
    size: int
    depth: int


@dataclass(frozen=True, slots=True)
class _Rules:
    """The ignore files that hold for a folder, outermost first: (length of the folder's path + 1, patterns)."""

    specs: tuple[tuple[int, GitIgnoreSpec], ...] = ()

    def within(self, folder: str, names: Collection[str]) -> _Rules:
        """The rules for what lies in `folder`, whose entries are `names`."""
        if IGNORE_FILE not in names:
            return self
        spec = _read_spec(Path(folder, IGNORE_FILE))
        return self if spec is None else _Rules((*self.specs, (len(folder.rstrip(os.sep)) + 1, spec)))

    def ignore(self, path: str, *, folder: bool) -> bool:
        for cut, spec in reversed(self.specs):
            relative = path[cut:].replace(os.sep, "/") + ("/" if folder else "")
            verdict = spec.check_file(relative).include
            if verdict is not None:
                return verdict
        return False


def list_files(
    roots: Sequence[Path], suffixes: Collection[str], *, max_bytes: int, max_file_bytes: int
) -> list[Found]:
    """Source files below `roots`, the most recently changed first (within an hour: the shallowest), up to `max_bytes`."""
    unique: dict[str, Found] = {}
    for root in roots:
        for found in _walk(os.path.realpath(root), tuple(suffixes), max_file_bytes):
            unique.setdefault(found.path, found)
    ranked = sorted(unique.values(), key=lambda f: (-(f.mtime_ns // HOUR_NS), f.depth, f.path))
    kept: list[Found] = []
    total = 0
    for found in ranked:
        if total + found.size <= max_bytes:
            total += found.size
            kept.append(found)
    if len(kept) < len(ranked):
        log.info("index: %d of %d files fit into %d bytes", len(kept), len(ranked), max_bytes)
    return kept


def find_file(
    path: str, roots: Sequence[Path], suffixes: Collection[str], *, max_file_bytes: int
) -> Found | None:
    """`path` (absolute, links resolved) as `list_files` would list it, or None where it would not."""
    if not path.endswith(tuple(suffixes)):
        return None
    for root in map(os.path.realpath, roots):
        prefix = root.rstrip(os.sep) + os.sep
        if path.startswith(prefix):
            parts = path[len(prefix) :].split(os.sep)
            if _reachable(root, parts):
                return _stat(path, len(parts) - 1, max_file_bytes)
    return None


def is_source(data: bytes) -> bool:
    """Whether the content is worth indexing: neither binary nor minified."""
    return b"\0" not in data[:1024] and len(data) <= LONG_LINE * (data.count(b"\n") + 1)


def _walk(root: str, suffixes: tuple[str, ...], max_file_bytes: int) -> Iterator[Found]:
    pending = [(root, _Rules(), 0)]
    while pending:
        folder, rules, depth = pending.pop()
        try:
            with os.scandir(folder) as scan:
                entries = {entry.name: entry for entry in scan}
        except OSError as error:
            log.warning("index: skipping folder %s: %s", folder, error)
            continue
        if ENVIRONMENT_MARK in entries and depth:
            continue
        rules = rules.within(folder, entries)
        for name, entry in entries.items():
            try:
                if entry.is_dir(follow_symlinks=False):
                    if name not in SKIPPED and not rules.ignore(entry.path, folder=True):
                        pending.append((entry.path, rules, depth + 1))
                elif name.endswith(suffixes) and entry.is_file(follow_symlinks=False):
                    info = entry.stat(follow_symlinks=False)
                    if info.st_size <= max_file_bytes and not rules.ignore(entry.path, folder=False):
                        yield Found(entry.path, info.st_mtime_ns, info.st_size, depth)
            except OSError as error:
                log.warning("index: skipping %s: %s", entry.path, error)


def _reachable(root: str, parts: Sequence[str]) -> bool:
    """Whether a walk from `root` would come by the file at `parts`."""
    folder, rules = root, _Rules()
    for depth, name in enumerate(parts):
        if depth and Path(folder, ENVIRONMENT_MARK).exists():
            return False
        rules = rules.within(folder, (IGNORE_FILE,))
        last = depth == len(parts) - 1
        folder = os.path.join(folder, name)  # noqa: PTH118 (strings are what the rules cut)
        if (not last and name in SKIPPED) or rules.ignore(folder, folder=not last):
            return False
    return True


def _stat(path: str, depth: int, max_file_bytes: int) -> Found | None:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(info.st_mode) or info.st_size > max_file_bytes:
        return None
    return Found(path, info.st_mtime_ns, info.st_size, depth)


def _read_spec(path: Path) -> GitIgnoreSpec | None:
    try:
        info = os.lstat(path)
        if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_IGNORE_BYTES:
            return None
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("index: cannot read %s: %s", path, error)
        return None
    patterns: list[str] = []
    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError as error:  # git skips a pattern that it cannot parse, and so do the others of its file
            log.warning("index: %s: %s", path, error)
        else:
            patterns.append(line)
    return GitIgnoreSpec.from_lines(patterns)
