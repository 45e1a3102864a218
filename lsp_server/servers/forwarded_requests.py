"""The editor's requests that were forwarded to one wrapped server and are not answered yet. Each gets exactly one response."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id


@dataclass(kw_only=True, eq=False)
class ForwardedRequest:
    """A request that was forwarded to one wrapped server. `on_reply` gets the whole response; if there is none, an error response.

    `reads`: the request changes nothing. It is sent once more if the server crashes or is restarted before it answers.
    """

    id: Id
    body: bytes
    on_reply: Callable[[bytes], None]
    reads: bool = False
    retried: bool = False
    cancelled: bool = False


class ForwardedRequests:
    """The forwarded requests of one wrapped server by id, the oldest first."""

    def __init__(self) -> None:
        self._open: dict[tuple[type, Id], ForwardedRequest] = {}

    def __iter__(self) -> Iterator[ForwardedRequest]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, request: ForwardedRequest) -> bool:
        return self._open.get(wire.key_of(request.id)) is request

    def add(self, request: ForwardedRequest) -> None:
        self._open[wire.key_of(request.id)] = request

    def remove(self, request: ForwardedRequest) -> None:
        del self._open[wire.key_of(request.id)]

    def reply(self, id: Id, body: bytes) -> bool:
        """Give a response to the request with this id. Returns False if there is none."""
        request = self._open.pop(wire.key_of(id), None)
        if request is not None:
            request.on_reply(body)
        return request is not None

    def fail(self, reason: str, *, keep_reads: bool = False) -> None:
        """Answer every request with an error, because the process has ended.

        `keep_reads`: requests that only read are kept for the next process, unless they were kept before.
        """
        for request in self:
            if keep_reads and request.reads and not request.retried and not request.cancelled:
                request.retried = True
            else:
                self.reply(request.id, wire.failure(request.id, wire.REQUEST_FAILED, reason))
