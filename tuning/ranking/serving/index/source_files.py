"""Which files of a workspace are source that its author writes. Lists; reads nothing but .gitignore files.

A workspace may be anything, `/` too: the walk follows no link, has a bound in folders, files and seconds, and
goes breadth first, so that what it leaves out lies far from the roots.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from tuning.ranking.serving.index.ignore import FILE_BYTES, IgnorePatterns
from tuning.ranking.serving.index.regular_files import read_regular

log = logging.getLogger(__name__)

SKIPPED = frozenset((".git", ".hg", ".svn", "node_modules", "__pycache__", ".tox", ".nox", ".mypy_cache", ".venv"))
LONG_LINES = 500  # bytes a line on average: minified
HEAD = 1024
IGNORE_FILE = ".gitignore"
ENVIRONMENT = "pyvenv.cfg"  # stands in the root of a Python environment


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much of a tree is looked at."""

    entries: int = 1_000_000  # of folders; a large monorepo has 500,000, a home folder some millions
    files: int = 200_000  # sources that are found, 0.3 kB each; the Linux kernel has 65,000
    seconds: float = 30.0  # a million entries of a local disk take about ten: what takes longer is a slow network
    depth: int = 100  # folders below a root; projects have twenty
    patterns: int = 4_000  # of all .gitignore files that apply to one entry
    all_patterns: int = 50_000  # of all .gitignore files together, up to 1 kB each


USUAL = Bounds()


@dataclass(frozen=True, slots=True)
class SourceFile:
    path: str
    size: int  # bytes
    modified: int  # ns


_Rules = tuple[tuple[str, IgnorePatterns], ...]  # folders with a .gitignore file, outermost first


def source_files(
    roots: Sequence[Path],
    suffixes: Collection[str],
    max_file_bytes: int,
    *,
    stop: threading.Event | None = None,
    bounds: Bounds = USUAL,
) -> list[SourceFile]:
    """Files with one of the suffixes (".x") that no .gitignore excludes, each once, those near the roots first.

    What is left out because of a bound is logged once. Ends soon after `stop` is set, with what was found by then.
    """
    walk = _Walk(tuple(suffixes), max_file_bytes, stop or threading.Event(), bounds)
    walk.through(roots)
    if walk.left_out:
        log.warning(
            "index: left out of %s, after %d entries and %d files: %s",
            ", ".join(map(str, roots)),
            walk.entries,
            len(walk.found),
            "; ".join(f"{reason} ({where})" for reason, where in walk.left_out.items()),
        )
    return walk.found


@final
class Tree:
    """Whether single files below `roots` are such sources. Keeps what it reads of .gitignore files, so use it briefly."""

    def __init__(self, roots: Sequence[Path], suffixes: Collection[str], bounds: Bounds = USUAL) -> None:
        self._roots = [str(root) for root in roots]
        self._suffixes = tuple(suffixes)
        self._bounds = bounds
        self._known: dict[str, dict[str, _Rules | None]] = {}

    def has(self, path: str) -> bool:
        """Whether the walk would find a (resolved) path, if it is a file there. Looks at folders only."""
        if not path.endswith(self._suffixes):
            return False
        folder = os.path.dirname(path)  # noqa: PTH120 - called for each file
        return any(
            (rules := self._rules(folder, root)) is not None and not is_ignored(path, rules, folder=False)
            for root in self._roots
            if _is_below(path, root)
        )

    def _rules(self, folder: str, root: str) -> _Rules | None:
        """What applies in a folder; None where the walk would not go."""
        below = Path(folder).relative_to(root).parts
        if len(below) > self._bounds.depth or not SKIPPED.isdisjoint(below):
            return None
        known = self._known.setdefault(root, {})  # by root: a root in another has rules of its own
        if root not in known:
            known[root] = self._read(root, ())
        at, rules = root, known[root]
        for part in below:
            if rules is None:
                return None
            at = os.path.join(at, part)  # noqa: PTH118
            if at not in known:
                known[at] = None if is_ignored(at, rules, folder=True) else self._read(at, rules)
            rules = known[at]
        return rules

    def _read(self, folder: str, rules: _Rules) -> _Rules | None:
        if os.path.lexists(os.path.join(folder, ENVIRONMENT)):  # noqa: PTH118
            return None
        try:
            patterns = _ignore_file(folder)
        except OSError:  # most folders have none; the walk says which one is unreadable
            return rules
        return (*rules, (folder, patterns)) if _allowed(patterns, rules, self._bounds) else rules


def is_ignored(path: str, rules: _Rules, *, folder: bool) -> bool:
    """Whether .gitignore files (their folder, patterns), outermost first, exclude a path; the innermost verdict counts."""
    for place, patterns in reversed(rules):
        below = path[len(place) :].lstrip(os.sep)
        verdict = patterns.verdict(below.replace(os.sep, "/") if os.sep != "/" else below, folder=folder)
        if verdict is not None:
            return verdict
    return False


def looks_written(data: bytes) -> bool:
    """False for binary and minified content."""
    return b"\0" not in data[:HEAD] and len(data) < LONG_LINES * (data.count(b"\n") + 2)


@dataclass
class _Walk:
    suffixes: tuple[str, ...]
    max_file_bytes: int
    stop: threading.Event
    bounds: Bounds
    found: list[SourceFile] = field(default_factory=list)
    entries: int = 0
    patterns: int = 0
    left_out: dict[str, str] = field(default_factory=dict)  # reasons, with the first place of each

    def through(self, roots: Iterable[Path]) -> None:
        self._until = time.monotonic() + self.bounds.seconds
        queue: deque[tuple[str, int, _Rules, int | None]] = deque((str(root), 0, (), _device(root)) for root in roots)
        seen: set[str] = set()
        while queue and not self._is_over(queue[0][0]):
            folder, depth, rules, device = queue.popleft()
            if folder in seen:
                continue
            seen.add(folder)
            if self.entries >= self.bounds.entries:
                self._leave_out(f"more than {self.bounds.entries} entries", folder)
                return
            listed = self._listed(folder)
            if ENVIRONMENT in listed.special:
                continue
            if IGNORE_FILE in listed.special:
                rules = self._with_ignore_file(folder, rules)
            for entry in listed.files:
                if self._is_over(folder):
                    return
                self._take(entry, rules)
            if depth == self.bounds.depth and listed.folders:
                self._leave_out(f"more than {depth} folders deep", folder)
                continue
            for entry in listed.folders:
                if self._is_over(folder):
                    return
                if self._enters(entry, rules, device):
                    queue.append((entry.path, depth + 1, rules, device))

    def _listed(self, folder: str) -> _Listed:
        """What may matter of the entries of a folder, as far as they may still be looked at."""
        listed = _Listed()
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if self._is_over(folder):
                        break
                    if self.entries >= self.bounds.entries:
                        self._leave_out(f"more than {self.bounds.entries} entries", folder)
                        break
                    self.entries += 1
                    name = entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if name not in SKIPPED:
                            listed.folders.append(entry)
                    elif name.endswith(self.suffixes):
                        listed.files.append(entry)
                    elif name in (ENVIRONMENT, IGNORE_FILE):
                        listed.special.add(name)
        except OSError as error:
            self._leave_out(f"unreadable: {error.strerror}", folder)
        return listed

    def _take(self, entry: os.DirEntry[str], rules: _Rules) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            self._leave_out(f"unreadable: {error.strerror}", entry.path)
            return
        kept = stat.S_ISREG(status.st_mode) and status.st_size <= self.max_file_bytes
        if kept and not is_ignored(entry.path, rules, folder=False):
            self.found.append(SourceFile(entry.path, status.st_size, status.st_mtime_ns))

    def _enters(self, entry: os.DirEntry[str], rules: _Rules, device: int | None) -> bool:
        if is_ignored(entry.path, rules, folder=True):
            return False
        if device is None:
            return True
        try:
            same = entry.stat(follow_symlinks=False).st_dev == device
        except OSError as error:
            self._leave_out(f"unreadable: {error.strerror}", entry.path)
            return False
        if not same:
            self._leave_out("other file systems", entry.path)
        return same

    def _is_over(self, where: str) -> bool:
        if self.stop.is_set():
            return True
        if len(self.found) >= self.bounds.files:
            self._leave_out(f"more than {self.bounds.files} files", where)
            return True
        if time.monotonic() > self._until:
            self._leave_out(f"more than {self.bounds.seconds:.0f} s of looking", where)
            return True
        return False

    def _with_ignore_file(self, folder: str, rules: _Rules) -> _Rules:
        try:
            patterns = _ignore_file(folder)
        except OSError as error:
            self._leave_out(f"patterns of an unreadable {IGNORE_FILE}", f"{folder}: {error}")
            return rules
        if patterns.refused:
            self._leave_out(f"some patterns of a {IGNORE_FILE}: {patterns.refused}", folder)
        if not len(patterns):
            return rules
        self.patterns += len(patterns)
        if self.patterns > self.bounds.all_patterns or not _allowed(patterns, rules, self.bounds):
            self._leave_out(f"patterns of a {IGNORE_FILE}: too many in all", folder)
            return rules
        return (*rules, (folder, patterns))

    def _leave_out(self, reason: str, where: str) -> None:
        self.left_out.setdefault(reason, where)


@dataclass
class _Listed:
    """Of a folder's entries: folders, files with one of the suffixes, and which of two special names there are."""

    folders: list[os.DirEntry[str]] = field(default_factory=list)
    files: list[os.DirEntry[str]] = field(default_factory=list)
    special: set[str] = field(default_factory=set)


def _allowed(patterns: IgnorePatterns, rules: _Rules, bounds: Bounds) -> bool:
    """Whether these may apply beside those of the folders around."""
    return sum(len(each) for _, each in rules) + len(patterns) <= bounds.patterns


def _ignore_file(folder: str) -> IgnorePatterns:
    """The patterns of a folder's .gitignore file. Raises OSError."""
    data = read_regular(os.path.join(folder, IGNORE_FILE), FILE_BYTES)  # noqa: PTH118
    return IgnorePatterns(data.decode("utf-8", "replace"))


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root if root.endswith(os.sep) else root + os.sep)


def _device(root: Path) -> int | None:
    """The file system to stay on: that of `/` or a home folder, which hold mounts of everything; None for a project."""
    try:
        home = Path("~").expanduser().resolve()
        return root.stat().st_dev if home.is_relative_to(root) or root.parent == root else None
    except (OSError, RuntimeError):  # no home, a root that is gone
        return None
