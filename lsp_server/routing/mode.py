"""How messages are routed between the editor and the wrapped servers. `initialize` chooses one mode for the session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from lsp_server.documents.positions import Encoding
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.servers.server import WrappedServer

Read = Callable[[msgspec.Raw], Any]


class Mode(Protocol):
    """`OneCommand` forwards everything to one server. `ManyServers` has one or more servers per language."""

    encodings: Sequence[Encoding]  # position encodings offered to servers; empty: the encodings of the editor
    marks_lists: bool  # whether completion items are marked with the server that made them

    async def initialize(self, id: Id) -> bytes:
        """Return the whole response for the editor."""
        ...

    async def shutdown(self, id: Id, body: bytes) -> bytes: ...

    # Requests

    def request(self, id: Id, method: str, body: bytes, envelope: Envelope) -> None:
        """Handle a request that no feature of Starling answers."""
        ...

    def completion_targets(self, where: Json, context: Json) -> list[WrappedServer]:
        """Return the servers to ask for completion items at a position. `context`: a CompletionContext, or None."""
        ...

    def server_of_item(self, key: str | None) -> WrappedServer | None:
        """Return the server that made an item. `key`: the mark of the item; None if it has no mark."""
        ...

    # Notifications about documents: first `sent_first`, then, once the params are decoded, `text` or `notebook`

    def sent_first(self, method: str, body: bytes, params: msgspec.Raw) -> None: ...
    def initialized(self, body: bytes) -> None: ...
    def opening(self, body: bytes, params: Json) -> tuple[bytes, Json]:
        """Return a didOpen as servers get it."""
        ...

    def text(self, method: str, body: bytes, params: Json, *, cell: bool) -> None:
        """Send a notification about one text. Our own copy is not updated yet."""
        ...

    def followed(self, method: str, params: Json) -> None:
        """Our own copy was updated by this notification."""
        ...

    def notebook(self, body: bytes) -> None: ...
    def tell(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        """Send any other notification."""
        ...

    # From servers

    def from_server(self, server: WrappedServer, body: bytes, envelope: Envelope) -> bytes | None:
        """Return a server's request or notification as the editor gets it; None if the editor does not get it."""
        ...

    def ready(self, server: WrappedServer) -> None: ...
    def lost(self, server: WrappedServer) -> None:
        """A process of the server has ended. Another one may be started."""
        ...

    def failed(self, server: WrappedServer) -> None:
        """The server can't be started or restarted."""
        ...
