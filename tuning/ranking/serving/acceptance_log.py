"""The log of what was written where a list was shown, for `train --from-accepted`. Only kept where the user asked for it.

One line of JSON a name, in a file that its owner alone can read: it holds code, some 1,400 characters before the cursor each time.
One server at a time writes: another one that finds the log too long must not replace the old one again. Needs no torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import platformdirs

from tuning.ranking.serving.model.file_lock import alone

LARGEST = 32_000_000  # bytes; then it becomes the old one, and the old one before goes


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A name that was written where a list was shown, with what the ranker knew then."""

    path: str  # of the document
    language: str
    kind: str  # of the site
    text: str  # the prompt
    tail: str
    names: Sequence[str]  # what the model is asked about, likeliest by signals first
    beside: Sequence[float]  # the signals' log-odds of each
    truth: str
    place: int | None = (
        None  # of the truth in the first list that was shown for it, from 0; None where that is not known
    )
    server_place: int | None = None  # of the truth in the wrapped server's own order
    at: float = 0.0  # seconds since 1970


def file() -> Path:
    """The file that is written to."""
    return Path(platformdirs.user_data_dir("starling", appauthor=False)) / "accepted.jsonl"


def keep(entry: Accepted) -> None:
    """Write it down. Raises OSError."""
    old, path = files()
    line = msgspec.json.encode(msgspec.structs.replace(entry, at=round(time.time(), 1))) + b"\n"
    with alone(path.with_suffix(".lock")):
        if path.is_file() and path.stat().st_size > LARGEST:
            path.replace(old)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)


def files() -> tuple[Path, Path]:
    """The files of the log, oldest first: the old one and the one that is written to. Either may be missing."""
    return file().with_suffix(".old.jsonl"), file()


def everything() -> Iterator[Accepted]:
    """All that is in the log, oldest first; lines that are not whole are left out."""
    decoder = msgspec.json.Decoder(Accepted)
    for path in files():
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):  # cut off by a full disk or a crash
                continue


def read(folders: Sequence[Path], languages: Sequence[str]) -> Iterator[Accepted]:
    """What was written in these folders and languages, oldest first."""
    for entry in everything():
        if entry.language in languages and any(Path(entry.path).is_relative_to(folder) for folder in folders):
            yield entry
