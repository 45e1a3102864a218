"""The pygls server of one editor's connection. What is registered on it is typed; all else passes it by as bytes.

The session reads the messages, keeps the documents, and begins and ends itself: of pygls's own protocol what is used is the
table of features, the converter, and requests and notifications to the editor.
"""

from __future__ import annotations

import inspect
import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import msgspec
from cattrs import Converter
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.lsp.client import LanguageClient
from pygls.lsp.server import LanguageServer
from pygls.protocol import default_converter

from lsp_server import __version__
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id
from lsp_server.protocol.typed import TypedProtocol, UnreadableParams
from lsp_server.session.session import Session

log = logging.getLogger(__name__)
logging.getLogger("pygls").setLevel(logging.WARNING)  # it tells of each feature that is registered


@dataclass(frozen=True, kw_only=True)
class Request:
    """The request that a feature is answering, as it came."""

    id: Id
    body: bytes
    envelope: Envelope

    @property
    def params(self) -> dict[str, msgspec.Raw]:
        """The members of its params, undecoded."""
        return wire.fields(wire.params_of(self.envelope))


class NotOurs(Exception):
    """A feature leaves the request to the wrapped servers."""


_current: ContextVar[Request] = ContextVar("request")


class StarlingServer(LanguageServer):
    """`session` is the editor's; `request` the message that a feature is answering now."""

    protocol: TypedProtocol  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, session: Session) -> None:
        self.session = session
        self.custom: dict[str, type[Any]] = {}  # the params' type of requests that LSP does not have
        self.lenient: set[str] = set()  # methods whose features take None for params that are not LSP's
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            "Starling", __version__, protocol_cls=TypedProtocol, converter_factory=default_converter
        )
        self.protocol.send = session.send

    @property
    def request(self) -> Request:
        return _current.get()

    @property
    def converter(self) -> Converter:
        return self.protocol._converter  # pyright: ignore[reportPrivateUsage]  (pygls has no other way to it)

    def wrapped(self, uri: str) -> LanguageClient | None:
        """The preferred wrapped server of a document, to ask as pygls's clients are asked; None where there is none."""
        servers = self.session.pool.of_document(uri)
        return servers[0].client if servers else None

    async def answer(self, id: Id, body: bytes, envelope: Envelope) -> bytes | None:
        """The whole reply to a request that is owned; None where it was left to the wrapped servers, unranked."""
        method = str(envelope.method)
        _current.set(Request(id=id, body=body, envelope=envelope))
        try:
            result = self.protocol.handlers[method](self._params(method, envelope))
            result = await result if inspect.isawaitable(result) else result
        except NotOurs as error:
            log.info("%s is left to the wrapped servers: %s", method, error)
            assert self.session.mode is not None
            self.session.mode.request(id, method, body, envelope)
            return None
        except JsonRpcException as error:
            return wire.dumps({"jsonrpc": "2.0", "id": id, "error": self.protocol.plain(error.to_response_error())})
        return result if isinstance(result, bytes) else wire.response(id, self.protocol.plain(result))

    def _params(self, method: str, envelope: Envelope) -> Any:
        """Typed params of a request. Raises NotOurs or JsonRpcInvalidParams where they are not what they should be."""
        try:
            return self.protocol.params(method, wire.loads(wire.params_of(envelope)), self.custom.get(method))
        except UnreadableParams as error:
            if method in self.custom:
                raise JsonRpcInvalidParams(str(error.__cause__)) from error
            if method not in self.lenient:
                raise NotOurs(str(error)) from error
            return None

    def hear(self, method: str, params: msgspec.Raw) -> None:
        """A notification that was passed on, for a feature that listens to it. Never raises."""
        handler = self.protocol.handlers.get(method)
        if handler is None:
            return
        try:
            handled = handler(self.protocol.params(method, wire.loads(params)))
            if inspect.iscoroutine(handled):
                self.session.requests.background(handled)
        except Exception:  # a feature's own defect costs itself
            log.exception("%s could not be heard by a feature", method)
