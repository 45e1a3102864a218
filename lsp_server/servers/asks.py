"""The editor's requests that one wrapped server has not answered yet. Each gets exactly one reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id


@dataclass(kw_only=True, eq=False)
class Ask:
    """A request at one wrapped server. `on_reply` gets the whole reply, or an error reply that says why there is none.

    `reads`: the request changes nothing, so it is sent once more to a server that crashed or was restarted over it.
    """

    id: Id
    body: bytes
    on_reply: Callable[[bytes], None]
    reads: bool = False
    retried: bool = False
    cancelled: bool = False


class OpenAsks:
    """Requests by their id, oldest first."""

    def __init__(self) -> None:
        self._open: dict[tuple[type, Id], Ask] = {}

    def __iter__(self) -> Iterator[Ask]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, ask: Ask) -> bool:
        return self._open.get(wire.key_of(ask.id)) is ask

    def add(self, ask: Ask) -> None:
        self._open[wire.key_of(ask.id)] = ask

    def remove(self, ask: Ask) -> None:
        del self._open[wire.key_of(ask.id)]

    def reply(self, id: Id, body: bytes) -> bool:
        """Answer the request with this id. False where there is none."""
        ask = self._open.pop(wire.key_of(id), None)
        if ask is not None:
            ask.on_reply(body)
        return ask is not None

    def fail(self, reason: str, *, keep_reads: bool = False) -> None:
        """The process has gone: answer with an error. `keep_reads`: requests that only read wait for the next process, once."""
        for ask in self:
            if keep_reads and ask.reads and not ask.retried and not ask.cancelled:
                ask.retried = True
            else:
                self.reply(ask.id, wire.failure(ask.id, wire.REQUEST_FAILED, reason))
