"""The pygls server of one session. Only features that are registered on it see typed messages; all others stay bytes.

The session reads the messages, keeps the documents and handles initialize and shutdown. Of pygls this uses the table of
features, the converter, and requests and notifications to the editor.
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
from lsp_server.servers.backend import BackendError
from lsp_server.session.session import Session

log = logging.getLogger(__name__)
logging.getLogger("pygls").setLevel(logging.WARNING)  # at INFO it logs each feature that is registered


@dataclass(frozen=True, kw_only=True)
class Request:
    """The request that a feature is answering, as the editor sent it."""

    id: Id
    body: bytes
    envelope: Envelope

    @property
    def params(self) -> dict[str, msgspec.Raw]:
        """The undecoded members of its params."""
        return wire.fields(wire.params_of(self.envelope))


class NotHandled(Exception):
    """A feature does not answer this request: it goes to the wrapped servers."""


_current: ContextVar[Request] = ContextVar("request")


class StarlingServer(LanguageServer):
    """`session` is the editor's session. `request` is the request that the running feature is answering."""

    protocol: TypedProtocol  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, session: Session) -> None:
        self.session = session
        self.custom: dict[str, type[Any]] = {}  # method -> type of its params, for requests that are not in LSP
        self.lenient: set[str] = set()  # methods whose features get None instead of params that are not valid LSP
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            "Starling", __version__, protocol_cls=TypedProtocol, converter_factory=default_converter
        )
        self.protocol.send = session.send

    @property
    def request(self) -> Request:
        return _current.get()

    @property
    def converter(self) -> Converter:
        return self.protocol._converter  # pyright: ignore[reportPrivateUsage]  (pygls has no public access to it)

    def wrapped(self, uri: str) -> LanguageClient | None:
        """The preferred wrapped server of a document as a pygls client; None if there is none. Raises BackendError."""
        servers = self.session.pool.of_document(uri)
        return servers[0].client if servers else None

    async def answer(self, id: Id, body: bytes, envelope: Envelope) -> bytes | None:
        """Answer a request with its feature. Returns the whole response, or None if it was passed to the wrapped servers."""
        method = str(envelope.method)
        _current.set(Request(id=id, body=body, envelope=envelope))
        try:
            result = self.protocol.handlers[method](self._params(method, envelope))
            result = await result if inspect.isawaitable(result) else result
        except NotHandled as error:
            log.info("passing %s to the wrapped servers: %s", method, error)
            assert self.session.mode is not None
            self.session.mode.request(id, method, body, envelope)
            return None
        except BackendError as error:
            return wire.failure(id, wire.REQUEST_FAILED, str(error))
        except JsonRpcException as error:
            return wire.dumps({"jsonrpc": "2.0", "id": id, "error": self.protocol.to_json(error.to_response_error())})
        return result if isinstance(result, bytes) else wire.response(id, self.protocol.to_json(result))

    def _params(self, method: str, envelope: Envelope) -> Any:
        """The typed params of a request. If they are invalid: None (lenient), or raises NotHandled or JsonRpcInvalidParams."""
        try:
            return self.protocol.structured_params(
                method, wire.loads(wire.params_of(envelope)), self.custom.get(method)
            )
        except UnreadableParams as error:
            if method in self.custom:
                raise JsonRpcInvalidParams(str(error.__cause__)) from error
            if method not in self.lenient:
                raise NotHandled(str(error)) from error
            return None

    def notify(self, method: str, params: msgspec.Raw) -> None:
        """Give a notification to the feature that listens to it, if any. Never raises."""
        handler = self.protocol.handlers.get(method)
        if handler is None:
            return
        try:
            handled = handler(self.protocol.structured_params(method, wire.loads(params)))
            if inspect.iscoroutine(handled):
                self.session.requests.background(handled)
        except Exception:  # a defect of one feature must not cost anything else
            log.exception("a feature failed to handle the notification %s", method)
