"""What the author wrote where a list was shown: known once the author goes on elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from tuning.ranking.serving.acceptance_log import Accepted

CONTEXT = 64  # bytes before the identifier by which its place is known again
LONGEST = 400  # bytes of an identifier
NAME = re.compile(r"[\w$]+")


@dataclass(kw_only=True)
class Shown:
    """A list that was shown for an identifier that starts at a byte offset. `entry` has no truth yet.

    `server_places`: each name's place in the wrapped server's order. `order`: names as they were shown, once they were.
    """

    start: int
    before: bytes  # CONTEXT bytes before it
    entry: Accepted
    server_places: Mapping[str, int]
    order: Sequence[str] = ()


class Accepting:
    """The last list of each document, until it is known what was written there. `keep` gets what was."""

    def __init__(self, keep: Callable[[Accepted], object]) -> None:
        self._keep = keep
        self._shown: dict[str, Shown] = {}

    def is_new(self, uri: str, start: int) -> bool:
        """Whether a list at this place is another than the last: the first one has most names."""
        last = self._shown.get(uri)
        return last is None or last.start != start

    def shown(self, uri: str, data: bytes, start: int, entry: Accepted, server_places: Mapping[str, int]) -> None:
        """A list of a document with this text; what was written at the place before is settled."""
        self.settle(uri, data)
        before = data[max(0, start - CONTEXT) : start]
        self._shown[uri] = Shown(start=start, before=before, entry=entry, server_places=server_places)

    def ordered(self, uri: str, start: int, order: Sequence[str]) -> None:
        """The names of a list at this place as they are shown; of several lists there the first counts."""
        last = self._shown.get(uri)
        if last is not None and last.start == start and not last.order:
            last.order = order

    def settle(self, uri: str, data: bytes) -> None:
        """Keep what stands at the last place in this text, if it was in the list."""
        last = self._shown.pop(uri, None)
        if last is None or data[max(0, last.start - CONTEXT) : last.start] != last.before:
            return
        found = NAME.match(data[last.start : last.start + LONGEST].decode("utf-8", "ignore"))
        if found is not None and found.group() in last.entry.names:
            truth = found.group()
            place = last.order.index(truth) if truth in last.order else None
            server_place = last.server_places.get(truth)
            self._keep(msgspec.structs.replace(last.entry, truth=truth, place=place, server_place=server_place))
