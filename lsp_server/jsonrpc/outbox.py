"""A bounded queue of messages to a process that may read slowly: a wrapped server or the ranker.

While the process reads, messages are written at once. While it does not, they are queued in order. Of a document's changes only
a marker is queued, at the place of the first one; it is sent as one change with the whole text of that moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

LIMIT = 64_000_000  # queued bytes above which we take the process for hung


@dataclass(frozen=True, eq=False)
class _Changed:
    """The marker for all queued changes of a document."""

    uri: str


class Outbox:
    """The queue of one process.

    `write` sends a message at once. `whole` makes the change (a message) that sets a document's whole text; it returns None if
    the document is not open. `on_full` is called once, when more than `limit` bytes are queued.
    """

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
        self.held = False  # whether messages are queued, because the process does not keep up

    def send(self, body: bytes) -> None:
        """Send or queue a message. For a didOpen or didClose, call `forget` too."""
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
        """Send or queue a document's change. `uri` is called only if the change is queued."""
        if not self.held:
            self._write(body)
            return
        document = uri()
        if document not in self._changed:
            self._changed[document] = changed = _Changed(document)
            self._waiting.append(changed)

    def forget(self, uri: str) -> None:
        """Drop the queued changes of a document, because it was opened or closed."""
        self._changed.pop(uri, None)

    def flow(self, held: bool) -> None:
        """`held`: the process does not keep up. Otherwise it does again, and what is queued is sent."""
        self.held = held
        while self._waiting and not self.held:  # `write` may call `flow(True)`
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
