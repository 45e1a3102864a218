"""Which files of a workspace are source that its author writes. Lists; reads nothing but .gitignore files and heads.

Follows no link, so it ends on any tree and never leaves a root.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

log = logging.getLogger(__name__)

SKIPPED = frozenset((".git", ".hg", ".svn", "node_modules", "__pycache__", ".tox", ".nox", ".mypy_cache", ".venv"))
LONG_LINES = 500  # bytes a line on average: minified
HEAD = 1024


@dataclass(frozen=True, slots=True)
class SourceFile:
    path: Path
    size: int  # bytes
    modified: int  # ns


def source_files(roots: Sequence[Path], suffixes: Collection[str], max_file_bytes: int) -> Iterator[SourceFile]:
    """Files with one of the suffixes (".x") that no .gitignore excludes, unsorted, each once."""
    wanted = tuple(suffixes)
    seen: set[str] = set()
    for root in roots:
        stack: list[tuple[str, list[tuple[str, GitIgnoreSpec]]]] = [(str(root), [])]
        while stack:
            folder, ignored = stack.pop()
            if folder in seen:
                continue
            seen.add(folder)
            entries = _entries(folder)
            names = {entry.name for entry in entries}
            if "pyvenv.cfg" in names:
                continue
            if ".gitignore" in names and (spec := _ignore_file(Path(folder, ".gitignore"))) is not None:
                ignored = [*ignored, (folder, spec)]
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in SKIPPED and not is_ignored(entry.path + "/", ignored):
                            stack.append((entry.path, ignored))
                    elif entry.name.endswith(wanted) and entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        if status.st_size <= max_file_bytes and not is_ignored(entry.path, ignored):
                            yield SourceFile(Path(entry.path), status.st_size, status.st_mtime_ns)
                except OSError as error:
                    log.info("skipped %s: %s", entry.path, error)


def is_ignored(path: str, specs: Sequence[tuple[str, GitIgnoreSpec]]) -> bool:
    """Whether .gitignore files (folder, patterns), outermost first, exclude a path; the innermost verdict counts."""
    verdict = False
    for folder, spec in specs:
        result = spec.check_file(os.path.relpath(path, folder) + ("/" if path.endswith("/") else ""))
        if result.include is not None:
            verdict = result.include
    return verdict


def looks_written(data: bytes) -> bool:
    """False for binary and minified content."""
    return b"\0" not in data[:HEAD] and len(data) < LONG_LINES * (data.count(b"\n") + 2)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        log.info("skipped %s: %s", folder, error)
        return []


def _ignore_file(path: Path) -> GitIgnoreSpec | None:
    try:
        return GitIgnoreSpec.from_lines(path.read_text("utf-8", "replace").splitlines())
    except (OSError, ValueError) as error:
        log.info("unread %s: %s", path, error)
        return None
