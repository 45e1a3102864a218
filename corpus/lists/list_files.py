"""Recorded completion lists on disk: a row a position, in Parquet, without any source.

A row holds where the position is, what was written there, and what the wrapped server offered, in its own order and as
ranking sees it. What was asked and had no answer, or an answer without the truth, is a row too: that is the coverage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from corpus.lists.positions import Position, class_of
from corpus.mining.shards import CorpusError, replacing
from corpus.syntax.candidate import Candidate

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
VERSION_KEY = b"starling.lists"
ROWS = 1_000  # a row group
LAST_KIND = 25  # CompletionItemKind.TypeParameter, LSP 3.17


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One position and its list; `server` is "" for a list that no server gave (a pseudo-list).

    `names`, `kinds`, `details` and `flags` are the candidates' that fit what was typed, in the server's order; a flag is 1 for
    deprecated, plus 2 for one that edits elsewhere. They are empty where the truth is not among them.
    """

    repository: str
    revision: str
    written: str = ""  # of form `written`: the commit whose lines were being written; `revision` is its parent
    path: str
    language: str
    sha256: str  # of the file that the offsets are of
    form: str
    kind: str
    start: int
    end: int
    offset: int
    tail: int
    truth: str
    server: str
    offered: int  # how many items the server's list had, -1 where it gave none in time
    names: Sequence[str] = ()
    kinds: Sequence[int] = ()
    details: Sequence[str] = ()
    flags: Sequence[int] = ()

    @property
    def has_truth(self) -> bool:
        return self.truth in self.names

    @property
    def named(self) -> str:
        """The class that figures are given by."""
        return class_of(self.kind, self.offset - self.start)

    @property
    def position(self) -> Position:
        return Position(
            path=self.path,
            start=self.start,
            end=self.end,
            offset=self.offset,
            tail=self.tail,
            kind=self.kind,
            form=self.form,
        )

    def candidates(self) -> list[Candidate]:
        """The candidates in the server's order."""
        return [
            Candidate(
                label=name,
                name=name,
                kind=kind,
                place=place,
                detail=detail,
                deprecated=bool(flag & 1),
                edits_elsewhere=bool(flag & 2),
            )
            for place, (name, kind, detail, flag) in enumerate(
                zip(self.names, self.kinds, self.details or [""] * len(self.names), self.flags, strict=True)
            )
        ]


def listed(found: Sequence[Candidate]) -> dict[str, Sequence[Any]]:
    """The four columns of a list, in the server's order."""
    ordered = sorted(found, key=lambda candidate: candidate.place)
    details = [_whole(candidate.detail) for candidate in ordered]
    return {
        "names": [_whole(candidate.name) for candidate in ordered],
        "kinds": [candidate.kind if 0 <= candidate.kind <= LAST_KIND else 0 for candidate in ordered],
        "details": details if any(details) else [],
        "flags": [candidate.deprecated + 2 * candidate.edits_elsewhere for candidate in ordered],
    }


def _whole(text: str) -> str:
    """A text that UTF-8 can hold: half a character, which a server may cut one to, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def schema() -> pa.Schema:
    """The columns of a file of lists."""
    import pyarrow as pa

    types = {int: pa.int32(), str: pa.string()}
    texts = ("repository", "revision", "written", "path", "language", "sha256", "form", "kind", "truth", "server")
    numbers = ("start", "end", "offset", "tail", "offered")
    columns = [(name, types[str] if name in texts else types[int]) for name in Recorded.__struct_fields__[:15]]
    assert {name for name, _ in columns} == {*texts, *numbers}
    several = [("names", pa.string()), ("kinds", pa.int8()), ("details", pa.string()), ("flags", pa.int8())]
    return pa.schema(
        [*columns, *((name, pa.list_(type)) for name, type in several)],
        metadata={VERSION_KEY: str(SCHEMA_VERSION)},
    )


def write_lists(path: Path, rows: Iterable[Recorded]) -> int:
    """Write a file of lists, whole or not at all; returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema(), compression="zstd", compression_level=12) as out,
    ):
        waiting: list[Recorded] = []
        for row in rows:
            waiting.append(row)
            if len(waiting) == ROWS:
                out.write_table(pa.Table.from_pylist(list(map(msgspec.structs.asdict, waiting)), schema()))
                count, waiting = count + len(waiting), []
        out.write_table(pa.Table.from_pylist(list(map(msgspec.structs.asdict, waiting)), schema()))
    return count + len(waiting)


def read_lists(path: Path) -> Iterator[Recorded]:
    """Every row of a file of lists. Raises CorpusError for a file of another version or of something else."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    version = (file.schema_arrow.metadata or {}).get(VERSION_KEY, b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise CorpusError(
            path, f"holds lists of version {version}, this Starling reads {SCHEMA_VERSION}.", "Record them again."
        )
    for batch in file.iter_batches(batch_size=ROWS):
        for values in batch.to_pylist():
            yield Recorded(**values)
