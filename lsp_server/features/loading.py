"""Features from the session's side: pygls is loaded in a thread, once the wrapped server has been started."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lsp_server.features import OWNED
from lsp_server.jsonrpc.wire import Envelope, Id

if TYPE_CHECKING:
    from lsp_server.features.server import StarlingServer
    from lsp_server.session.session import Session

log = logging.getLogger(__name__)

REGISTRY = "lsp_server.features.registry"


class LazyFeatures:
    """One connection's. What needs them before they are there waits."""

    def __init__(self, session: Session, extensions: Sequence[Path] = ()) -> None:
        self._session, self._extensions = session, tuple(extensions)
        self._server: StarlingServer | None = None
        self._loading: asyncio.Task[StarlingServer | None] | None = None

    def load(self) -> None:
        """Begin; returns at once."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load())

    async def ready(self) -> None:
        """Before initialize is answered: features of the user's own may own any method."""
        if self._extensions:
            await self._loaded()

    def owns(self, method: str) -> bool:
        return method in OWNED or (self._server is not None and method in self._server.protocol.handlers)

    async def answer(self, id: Id, body: bytes, envelope: Envelope) -> bytes | None:
        """The whole reply to a request that is owned; None where it was left to the wrapped servers."""
        server = await self._loaded()
        if server is not None:
            return await server.answer(id, body, envelope)
        assert self._session.mode is not None
        self._session.mode.request(id, str(envelope.method), body, envelope)
        return None

    def hear(self, method: str, params: msgspec.Raw) -> None:
        """A notification of the editor that was passed on."""
        if self._server is not None:
            self._server.hear(method, params)

    def reply(self, body: bytes) -> bool:
        """A reply of the editor; whether it is to a request that a feature made."""
        return self._server is not None and self._server.protocol.reply(body)

    async def _loaded(self) -> StarlingServer | None:
        if self._server is not None:
            return self._server
        self.load()
        assert self._loading is not None
        return await asyncio.shield(self._loading)

    async def _load(self) -> StarlingServer | None:
        """None where a library is missing or broken: that costs the ranking, and nothing else."""
        try:
            registry = await asyncio.to_thread(importlib.import_module, REGISTRY)
        except Exception as error:
            log.exception("Starling's own features can't be loaded")
            self._session.show(
                f"Starling ranks nothing: its own features can't be loaded ({error!r}). Install it anew."
            )
            return None
        server = self._server = registry.build(self._session, self._extensions)
        return server
