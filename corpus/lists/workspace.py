"""A snapshot laid out as a folder, for a language server to read. Nothing in it is run.

Links, tools' own folders and anything whose path leads elsewhere stay out; so do large files, which no server needs.
"""

from __future__ import annotations

import errno
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from corpus.mining.limits import is_utf8
from corpus.mining.snapshots import Snapshot

LARGEST = 2_000_000  # bytes a file
MOST = 400_000_000  # bytes in all
# What would tell a server to load code that came with the sources, and what the sources brought along of others'.
LEFT_OUT = frozenset(
    (".git", ".hg", "node_modules", ".yarn", ".pnp.cjs", ".pnp.loader.mjs", ".venv", "venv", ".vscode")
)
_ENDINGS_LEFT_OUT = (
    ".png",
    ".jpg",
    ".gif",
    ".mp4",
    ".zip",
    ".gz",
    ".jar",
    ".so",
    ".dll",
    ".exe",
    ".bin",
    ".pdf",
    ".svg",
)


def unfold(snapshot: Snapshot, folder: Path, left_out: Collection[str] = ()) -> Path:
    """Write a snapshot's files below `folder`, those of the names `left_out` not; returns the sources' own root there.

    Raises SourceError and OSError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    total = 0
    tops: set[str] = set()
    for entry in snapshot.entries():
        parts = _parts(entry.path)
        if (
            not parts
            or parts[-1] in left_out
            or not 0 <= entry.size <= LARGEST
            or entry.path.lower().endswith(_ENDINGS_LEFT_OUT)
        ):
            continue
        total += entry.size
        if total > MOST:
            break
        tops.add(parts[0] if len(parts) > 1 else "")
        file = folder.joinpath(*parts)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(entry.read())
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            continue  # an archive may list a path both as a file and as a folder: the first stands
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
                raise
            continue  # a name that this disk can't have
    return folder / next(iter(tops)) if len(tops) == 1 else folder


def _parts(path: str) -> tuple[str, ...]:
    """The path's parts, or () where it does not belong into the folder."""
    pure = PurePosixPath(path.replace("\\", "/"))
    if (
        pure.is_absolute()
        or "\0" in path
        or ".." in pure.parts
        or LEFT_OUT.intersection(pure.parts)
        or not is_utf8(path)  # a server is told of files by URIs, which are text
    ):
        return ()
    return pure.parts
