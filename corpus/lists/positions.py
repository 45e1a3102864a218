"""A place where completion is asked for: what stands before the cursor, what after it, and what its author wrote.

Three forms of it. `line`: the rest of the identifier and of its line are removed, as while a line is typed. `name`: only
the rest of the identifier is, as in a line that is changed. `written`: the text as it was when a commit's lines
were being written, from its parent's text and the lines added so far. Asks no server and runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corpus.mining.sites import Site

if TYPE_CHECKING:
    from corpus.syntax.site import CompletionSite

FORMS = ("line", "name", "written")
# How many letters of an identifier are typed when completion is asked for, by what it is: taken in turn.
TYPED = {"member": (0, 0, 0, 1, 0, 2), "name": (1, 2, 3), "import": (0,), "keyword": (1,), "decorator": (0, 1)}
CLASSES = (
    "member", "member, 1 letter", "member, 2 letters", "name, 1 letter", "name, 2 letters", "name, 3 letters",
    "import", "keyword", "decorator",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Position:
    """A cursor in a file. Offsets are bytes: `start` to `end` is the identifier, the cursor is at `offset`; the text from
    `offset` to `tail` is not there yet. Of form `written`, `tail` is an offset in the parent's file."""

    path: str
    start: int
    end: int
    offset: int
    tail: int
    kind: str  # one of sites.KINDS
    form: str  # one of FORMS

    @property
    def named(self) -> str:
        """The class that figures are given by: one of CLASSES."""
        return class_of(self.kind, self.offset - self.start)


@dataclass(frozen=True, kw_only=True)
class Example:
    """What a ranker is given at a position, and the identifier that was written there."""

    before: bytes  # ends at the cursor
    after: bytes
    truth: str
    kind: str  # one of CLASSES
    site: CompletionSite


def class_of(kind: str, letters: int) -> str:
    """The class of a position of this kind, so many letters (or bytes of them) after the identifier's start."""
    if kind not in ("member", "name"):
        return kind
    count = min(max(letters, 1 if kind == "name" else 0), 2 if kind == "member" else 3)
    return kind if not count else f"{kind}, {count} letter{'s' if count > 1 else ''}"


def positions(path: str, data: bytes, sites: Sequence[Site], *, turn: int = 0, form: str = "line") -> list[Position]:
    """A position for each site of a file; `turn` says where in TYPED to begin."""
    found: list[Position] = []
    for number, site in enumerate(sites):
        name = data[site.start : site.end].decode("utf-8", "replace")
        choices = TYPED[site.kind]
        letters = min(choices[(turn + number) % len(choices)], len(name) - 1)
        if site.kind == "decorator" and not letters and data[site.start - 1 : site.start] != b".":
            letters = min(1, len(name) - 1)
        offset = site.start + len(name[:letters].encode())
        offset = offset if offset < site.end else site.start  # what is no UTF-8 counts no letters
        tail = site.end if form == "name" else line_end(data, site.start)
        found.append(
            Position(
                path=path,
                start=site.start,
                end=site.end,
                offset=offset,
                tail=tail,
                kind=site.kind,
                form=form,
            )
        )
    return found


def example(data: bytes, position: Position, parent: bytes | None = None) -> Example:
    """The example at a position of the file `data`; `parent` is the file that `tail` is an offset of, where another.

    What syntax says of the cursor is what it says live: the same code reads the same text.
    """
    from corpus.mining.filters import language_of
    from corpus.syntax.parse import SyntaxDocument
    from corpus.syntax.site import site_at

    before, after = cut(data, position, parent)
    return Example(
        before=before,
        after=after,
        truth=data[position.start : position.end].decode("utf-8", "replace"),
        kind=position.named,
        site=site_at(SyntaxDocument(before + after, language_of(position.path, data)), position.offset),
    )


def cut(data: bytes, position: Position, parent: bytes | None = None) -> tuple[bytes, bytes]:
    """What stands before the cursor and after it."""
    return data[: position.offset], (data if parent is None else parent)[position.tail :]


def line_end(data: bytes, start: int) -> int:
    """The offset of the line's end, before its line feed and a carriage return."""
    end = data.find(b"\n", start)
    end = len(data) if end < 0 else end
    return end - 1 if data[end - 1 : end] == b"\r" and end > start else end
