"""Finds out which name the user wrote where a completion list was shown.

It is known when the user continues elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from tuning.ranking.serving.acceptance_log import Accepted

CONTEXT = 64  # bytes before an identifier that must be unchanged, to find its place again
LONGEST = 400  # maximum bytes of an identifier
NAME = re.compile(r"[\w$]+")


@dataclass(kw_only=True)
class Shown:
    """A completion list for an identifier that starts at the byte offset `start`. `entry` has no truth yet.

    `server_places`: the index of each name in the wrapped server's order. `order`: the names in the order that was
    shown; empty until the list is shown.
    """

    start: int
    before: bytes  # the CONTEXT bytes before `start`
    entry: Accepted
    server_places: Mapping[str, int]
    order: Sequence[str] = ()


class Accepting:
    """Holds the last list of each document until it is known what was written there.

    Then calls `keep` with the entry.
    """

    def __init__(self, keep: Callable[[Accepted], object]) -> None:
        self._keep = keep
        self._shown: dict[str, Shown] = {}

    def is_new(self, uri: str, start: int) -> bool:
        """Whether this place differs from that of the last list.

        Only the first list at a place counts: it has the most names.
        """
        last = self._shown.get(uri)
        return last is None or last.start != start

    def shown(self, uri: str, data: bytes, start: int, entry: Accepted, server_places: Mapping[str, int]) -> None:
        """Record a list. `data`: the text of the document. The list before it is settled first."""
        self.settle(uri, data)
        before = data[max(0, start - CONTEXT) : start]
        self._shown[uri] = Shown(start=start, before=before, entry=entry, server_places=server_places)

    def ordered(self, uri: str, start: int, order: Sequence[str]) -> None:
        """Record the order in which the names are shown. Only the first order at a place counts."""
        last = self._shown.get(uri)
        if last is not None and last.start == start and not last.order:
            last.order = order

    def settle(self, uri: str, data: bytes) -> None:
        """Keep the identifier that this text has at the place of the last list, if the list contained it."""
        last = self._shown.pop(uri, None)
        if last is None or data[max(0, last.start - CONTEXT) : last.start] != last.before:
            return
        found = NAME.match(data[last.start : last.start + LONGEST].decode("utf-8", "ignore"))
        if found is not None and found.group() in last.entry.names:
            truth = found.group()
            place = last.order.index(truth) if truth in last.order else None
            server_place = last.server_places.get(truth)
            self._keep(msgspec.structs.replace(last.entry, truth=truth, place=place, server_place=server_place))
