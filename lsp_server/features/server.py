"""The pygls server of one editor's connection. What is registered on it is typed; all else passes it by as bytes.

The session reads the messages, keeps the documents, and begins and ends itself: of pygls's own protocol what is used is the
table of features, the converter, and requests and notifications to the editor.
"""

from __future__ import annotations

import inspect
import json
import logging
import typing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import msgspec
from cattrs import Converter
from cattrs.errors import BaseValidationError
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, default_converter

from lsp_server import __version__
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.servers.server import WrappedServer
from lsp_server.session.session import Session

log = logging.getLogger(__name__)


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


_current: ContextVar[Request] = ContextVar("request")


class UnreadableParams(Exception):
    """Params that are not what LSP says of this method; says where."""


class EditorProtocol(LanguageServerProtocol):
    """Sends through the session; receives nothing but replies to requests that a feature made."""

    _server: StarlingServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def _register_builtin_features(self) -> None:
        """None: documents, initialize, shutdown and exit are the session's."""

    # pygls caches these on the class, which would keep every connection's protocol alive.
    def get_message_type(self, method: str) -> type[Any] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return types.METHOD_TO_TYPES.get(method, (None,))[0]

    def get_result_type(self, method: str) -> type[Any] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return types.METHOD_TO_TYPES.get(method, (None, None))[1]

    def _send_data(self, data: Any) -> None:
        if data:
            self._server.session.send(json.dumps(data, default=self._serialize_message).encode())

    def params(self, method: str, given: Json) -> Any:
        """Params as lsprotocol's type of this method, as a custom request's own, or as they are. Raises UnreadableParams."""
        wanted = self._server.custom.get(method)
        if wanted is None and (message := self.get_message_type(method)) is not None:
            wanted = typing.get_type_hints(message).get("params")
        if wanted is None:
            return given
        try:
            return self._converter.structure(given, wanted)
        except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableParams(f"{method}: its params are not what they should be ({error})") from error

    def reply(self, body: bytes) -> bool:
        """Take a reply of the editor to a request that a feature made. False where it is to none."""
        message = wire.loads(body)
        future = self._request_futures.pop(message.get("id"), None) if isinstance(message.get("id"), str) else None
        if future is None:
            return False
        try:
            structured = self.structure_message(message)
        except JsonRpcException as error:  # pygls would leave the future waiting
            future.set_exception(error)
            return True
        error = getattr(structured, "error", None)
        if error is not None:
            future.set_exception(JsonRpcException.from_error(error))
        else:
            future.set_result(getattr(structured, "result", None))
        return True


class StarlingServer(LanguageServer):
    """`session` is the editor's; `request` the message that a feature is answering now."""

    protocol: EditorProtocol  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, session: Session) -> None:
        self.session = session
        self.custom: dict[str, type[Any]] = {}  # the params' type of requests that LSP does not have
        self.lenient: set[str] = set()  # methods whose features take None for params that are not LSP's
        super().__init__("Starling", __version__, protocol_cls=EditorProtocol, converter_factory=default_converter)

    @property
    def request(self) -> Request:
        return _current.get()

    @property
    def converter(self) -> Converter:
        return self.protocol._converter  # pyright: ignore[reportPrivateUsage]  (pygls has no other way to it)

    async def forward(self, server: WrappedServer, body: bytes | None = None) -> bytes:
        """Put the request, or `body` in its place, to a wrapped server: its whole reply."""
        request = self.request
        return await self.session.requests.ask(request.id, server, request.body if body is None else body)

    async def answer(self, id: Id, body: bytes, envelope: Envelope) -> bytes | None:
        """The whole reply to a request that is owned; None where it was left to the wrapped servers, unranked."""
        method = str(envelope.method)
        _current.set(Request(id=id, body=body, envelope=envelope))
        handler = self.protocol.fm.features[method]
        try:
            params = self.protocol.params(method, wire.loads(wire.params_of(envelope)))
        except UnreadableParams as error:
            if method in self.custom:
                return wire.failure(id, wire.INVALID_PARAMS, str(error.__cause__))
            log.info("%s", error)
            if method not in self.lenient:
                assert self.session.mode is not None
                self.session.mode.request(id, method, body, envelope)
                return None
            params = None
        try:
            result = handler(params)
            result = await result if inspect.isawaitable(result) else result
        except JsonRpcException as error:
            return wire.dumps({"jsonrpc": "2.0", "id": id, "error": self._plain(error.to_response_error())})
        return result if isinstance(result, bytes) else wire.response(id, self._plain(result))

    def hear(self, method: str, params: msgspec.Raw) -> None:
        """A notification that was passed on, for a feature that listens to it. Never raises."""
        handler = self.protocol.fm.features.get(method)
        if handler is None:
            return
        try:
            handled = handler(self.protocol.params(method, wire.loads(params)))
            if inspect.iscoroutine(handled):
                self.session.requests.background(handled)
        except Exception:  # a feature's own defect costs itself
            log.exception("%s could not be heard by a feature", method)

    def _plain(self, value: Any) -> Json:
        """A result of a feature as JSON."""
        return json.loads(json.dumps(value, default=self.protocol._serialize_message))  # pyright: ignore[reportPrivateUsage]
