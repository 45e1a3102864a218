"""How messages go between the editor and the wrapped servers. Two ways, of which `initialize` chooses one for the session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from lsp_server.documents.positions import Encoding
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.servers.server import WrappedServer

Read = Callable[[msgspec.Raw], Any]


class Mode(Protocol):
    """`OneCommand`: all is one server's, as it came. `ManyServers`: a server a language, or several."""

    encodings: Sequence[Encoding]  # that servers are offered; none for those that the editor offers
    marks_lists: bool  # whether items say which server they are of

    async def initialize(self, id: Id) -> bytes:
        """The whole reply to the editor."""
        ...

    async def shutdown(self, id: Id, body: bytes) -> bytes: ...

    # Requests

    def request(self, id: Id, method: str, body: bytes, envelope: Envelope) -> None:
        """One that Starling does not own."""
        ...

    def completion_targets(self, where: Json, context: Json) -> list[WrappedServer]:
        """The servers that are asked for items at a place; `context`: a CompletionContext, or None."""
        ...

    def server_of_item(self, key: str | None) -> WrappedServer | None:
        """The server that made an item, by its mark (None: it has none)."""
        ...

    # What documents' notifications are to servers: `sent_first` and then, once it is read, `text` or `notebook`

    def sent_first(self, method: str, body: bytes, params: msgspec.Raw) -> None: ...
    def initialized(self, body: bytes) -> None: ...
    def opening(self, body: bytes, params: Json) -> tuple[bytes, Json]:
        """A didOpen as servers get it."""
        ...

    def text(self, method: str, body: bytes, params: Json, *, cell: bool) -> None:
        """Of one text, not yet followed."""
        ...

    def followed(self, method: str, params: Json) -> None:
        """Our own copy is as the editor has it."""
        ...

    def notebook(self, body: bytes) -> None: ...
    def tell(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        """Any other notification."""
        ...

    # From servers

    def from_server(self, server: WrappedServer, body: bytes, envelope: Envelope) -> bytes | None:
        """A request or notification of a server, as the editor gets it; None where Starling answers it."""
        ...

    def ready(self, server: WrappedServer) -> None: ...
    def lost(self, server: WrappedServer) -> None:
        """A process of it has gone; another may be started."""
        ...

    def failed(self, server: WrappedServer) -> None:
        """It does not start, or not again."""
        ...
