"""What is on its way to a process that may read slowly, bounded: the wrapped servers and the ranker.

While the process reads, messages go straight on. While it does not, they wait here in their order, and of a document's
changes only that there were some: at its place goes one change with the whole text as it is when it is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

LIMIT = 64_000_000  # bytes that may wait: what does not read for so long hangs


@dataclass(frozen=True, eq=False)
class _Changed:
    """Stands where the first change that was held back would have stood."""

    uri: str


class Outbox:
    """`write` sends at once; `whole` gives the change that makes a document what it is now (None: it is not open);
    `on_full` hears, once, that more than `limit` bytes wait."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        whole: Callable[[str], bytes | None],
        on_full: Callable[[], None],
        limit: int = LIMIT,
    ) -> None:
        self._write, self._whole, self._on_full, self._limit = write, whole, on_full, limit
        self._waiting: deque[bytes | _Changed] = deque()
        self._changed: dict[str, _Changed] = {}
        self._bytes = 0
        self._full = False
        self.held = False  # the process does not keep up

    def send(self, body: bytes) -> None:
        """A message; a closed document's is `forget` as well."""
        if not self.held:
            self._write(body)
        elif not self._full:
            self._waiting.append(body)
            self._bytes += len(body)
            if self._bytes > self._limit:
                self._full = True
                self._waiting.clear()
                self._on_full()

    def change(self, uri: Callable[[], str], body: bytes) -> None:
        """A document's change. `uri` is asked for only where it is held back."""
        if not self.held:
            self._write(body)
            return
        of = uri()
        if of not in self._changed:
            self._changed[of] = changed = _Changed(of)
            self._waiting.append(changed)

    def forget(self, uri: str) -> None:
        """The document was opened or closed: changes that were held back before are void."""
        self._changed.pop(uri, None)

    def flow(self, held: bool) -> None:
        """The process does not keep up, or does again."""
        self.held = held
        while self._waiting and not self.held:  # writing may hold it again
            message = self._waiting.popleft()
            if isinstance(message, _Changed):
                if self._changed.get(message.uri) is not message:
                    continue
                del self._changed[message.uri]
                body = self._whole(message.uri)
            else:
                self._bytes -= len(message)
                body = message
            if body is not None:
                self._write(body)
