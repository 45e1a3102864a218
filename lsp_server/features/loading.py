"""Loads the features of a session. pygls is slow to import, so a thread imports it after the wrapped server was started."""

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
    """The features of one session. A request for one waits until they are loaded."""

    def __init__(self, session: Session, extensions: Sequence[Path] = ()) -> None:
        self._session, self._extensions = session, tuple(extensions)
        self._server: StarlingServer | None = None
        self._loading: asyncio.Task[StarlingServer | None] | None = None

    def load(self) -> None:
        """Start loading. Returns at once."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load())

    async def ready(self) -> None:
        """Wait, before initialize is answered, until the user's own features are loaded: they may handle any method."""
        if self._extensions:
            await self._loaded()

    def owns(self, method: str) -> bool:
        """Whether a feature answers requests of this method."""
        return method in OWNED or (self._server is not None and method in self._server.protocol.handlers)

    async def answer(self, id: Id, body: bytes, envelope: Envelope) -> bytes | None:
        """Answer a request whose method is owned. Returns the whole response, or None if it was passed to the wrapped servers."""
        server = await self._loaded()
        if server is not None:
            return await server.answer(id, body, envelope)
        assert self._session.mode is not None
        self._session.mode.request(id, str(envelope.method), body, envelope)
        return None

    def notify(self, method: str, params: msgspec.Raw) -> None:
        """Give a notification of the editor to the feature that listens to it. It was passed to the wrapped servers before."""
        if self._server is not None:
            self._server.notify(method, params)

    def response(self, id: Id, body: bytes) -> bool:
        """Take a response of the editor. Returns False if no feature sent the request."""
        return self._server is not None and self._server.protocol.response(id, body)

    async def _loaded(self) -> StarlingServer | None:
        if self._server is not None:
            return self._server
        self.load()
        assert self._loading is not None
        return await asyncio.shield(self._loading)

    async def _load(self) -> StarlingServer | None:
        """Import and build them. Returns None if a library is missing or broken: only the ranking is lost then."""
        try:
            registry = await asyncio.to_thread(importlib.import_module, REGISTRY)
        except Exception as error:
            log.exception("Starling's own features can't be loaded")
            self._session.show(
                f"Starling can't rank completions, because its own features can't be loaded ({error!r}). Reinstall Starling."
            )
            return None
        server = self._server = registry.build(self._session, self._extensions)
        return server
