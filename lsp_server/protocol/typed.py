"""pygls's protocol for what is small and typed, at either end; all that passes is bytes and never comes here.

Loaded late: importing pygls and lsprotocol takes longer than everything else at the start.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

from cattrs.errors import BaseValidationError
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient
from pygls.protocol import LanguageServerProtocol, default_converter

from lsp_server import __version__
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json


class UnreadableParams(Exception):
    """Params that are not what LSP says of this method; says where."""


class TypedProtocol(LanguageServerProtocol):
    """Sends whole bodies with `send`; receives replies to its own requests with `reply`, and nothing else."""

    send: Callable[[bytes], None]

    def _register_builtin_features(self) -> None:
        """None: documents, initialize, shutdown and exit are the session's."""

    # pygls caches these on the class, which would keep every connection's protocol alive.
    def get_message_type(self, method: str) -> type[Any] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return types.METHOD_TO_TYPES.get(method, (None,))[0]

    def get_result_type(self, method: str) -> type[Any] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return types.METHOD_TO_TYPES.get(method, (None, None))[1]

    @property
    def handlers(self) -> Mapping[str, Callable[[Any], Any]]:
        """What is registered, by method."""
        return cast("Mapping[str, Callable[[Any], Any]]", self.fm.features)  # pyright: ignore[reportUnknownMemberType]

    def _send_data(self, data: Any) -> None:
        if data:
            self.send(json.dumps(data, default=self._serialize_message).encode())

    def params(self, method: str, given: Json, wanted: Any = None) -> Any:
        """Params as `wanted`, else as lsprotocol's type of this method, else as they are. Raises UnreadableParams."""
        if wanted is None and (message := self.get_message_type(method)) is not None:
            wanted = typing.get_type_hints(message).get("params")
        if wanted is None:
            return given
        try:
            return self._converter.structure(given, wanted)
        except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableParams(f"{method}: its params are not what they should be ({error})") from error

    def plain(self, value: Any) -> Json:
        """A typed value as JSON."""
        return json.loads(json.dumps(value, default=self._serialize_message))

    def reply(self, body: bytes) -> bool:
        """Take a reply to a request that was sent from here. False where it is to none."""
        message = wire.loads(body)
        id = message.get("id")
        future = self._request_futures.pop(id, None) if isinstance(id, str) else None
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

    def fail(self, reason: str) -> None:
        """Whoever would answer has gone."""
        futures = list(self._request_futures.values())
        self._request_futures.clear()
        for future in futures:
            if not future.done():
                future.set_exception(JsonRpcException(reason, code=wire.REQUEST_FAILED))


class ServerClient(LanguageClient):
    """A wrapped server as pygls shows one: `text_document_hover_async(params)` and all others."""

    protocol: TypedProtocol  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__("Starling", __version__, protocol_cls=TypedProtocol, converter_factory=default_converter)
        self.protocol.send = send
