"""Lists that no server gave: what the repository's own code uses at such a place. For volume, and marked as such.

At a member: what is used after the same receiver anywhere in the repository, and after any receiver in the same file. At
any other place: the names of the same file. What stands at the position itself is taken away first, so a list has the
truth only where it is used elsewhere too.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from corpus.lists.candidates import Asked, Project, recorded
from corpus.lists.list_files import Recorded
from corpus.lists.positions import Position
from corpus.syntax.candidate import Candidate

NAME = re.compile(rb"[A-Za-z_$\x80-\xff][\w$\x80-\xff]*")
OPERATOR = rb"(?:\?\.|\.|->|::)"
# Overlapping, so that each link of a chain counts; what begins with a digit is a number.
MEMBER = re.compile(rb"(?=((?<![\w$\x80-\xff])" + NAME.pattern + rb"|\))" + OPERATOR + rb"(" + NAME.pattern + rb"))")
RECEIVER = re.compile(rb"([\w$\x80-\xff]+|\))" + OPERATOR + rb"\Z")
MOST = 400  # names of a list
Uses = Mapping[bytes, Counter[bytes]]


def pseudo_lists(projects: Iterable[Project]) -> Iterator[Recorded]:
    """A row for every position of the projects, with `server` ""."""
    for project in projects:
        uses: dict[bytes, Counter[bytes]] = defaultdict(Counter)
        for file in project.files:
            for receiver, member in MEMBER.findall(file.data):
                uses[receiver][member] += 1
        for file in project.files:
            for position in file.positions:
                row = recorded(project, file, position, _candidates(file, position, uses))
                yield msgspec.structs.replace(row, server="")


def _candidates(file: Asked, position: Position, uses: Uses) -> Sequence[Candidate]:
    truth = file.data[position.start : position.end]
    names: Counter[bytes] = Counter()
    if position.kind == "member":
        receiver = _receiver(file.data, position.start)
        names.update(uses.get(receiver, {}))
        names.update(member for _, member in MEMBER.findall(file.data))
        names[truth] -= 2  # its own use, in both counts
    else:
        names.update(NAME.findall(file.data))
        names[truth] -= 1
    known = [name for name, count in names.most_common(MOST) if count > 0]
    known.sort(key=lambda name: hashlib.blake2b(name, digest_size=8).digest())  # an order that says nothing
    return [
        Candidate(label=text, name=text, kind=0, place=place, detail="", deprecated=False, edits_elsewhere=False)
        for place, text in enumerate(name.decode("utf-8", "replace") for name in known)
    ]


def _receiver(data: bytes, start: int) -> bytes:
    """The name (or closing bracket) before the operator that stands before `start`."""
    found = RECEIVER.search(data, max(0, start - 120), start)
    return found[1] if found is not None else b""
