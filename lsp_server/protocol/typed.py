"""pygls's protocol, for the few messages that are typed: those of features, to and from the editor and wrapped servers.

Messages that only pass through stay bytes and never come here. Import this late: pygls and lsprotocol are slow to load.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

from cattrs.errors import BaseValidationError
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient
from pygls.protocol import LanguageServerProtocol, default_converter

from lsp_server import __version__
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id, Json


class UnreadableParams(Exception):
    """Params that are not valid for their method. The text says which member is wrong."""


class TypedProtocol(LanguageServerProtocol):
    """Sends message bodies with `send`. Receives only the responses to its own requests, through `response`."""

    send: Callable[[bytes], None]

    def _register_builtin_features(self) -> None:
        """Register none: the session handles documents, initialize, shutdown and exit."""

    # pygls's own versions are cached on the class, and the cache would keep the protocol of every session alive.
    def get_message_type(self, method: str) -> type[Any] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return types.METHOD_TO_TYPES.get(method, (None,))[0]

    def get_result_type(self, method: str) -> type[Any] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return types.METHOD_TO_TYPES.get(method, (None, None))[1]

    @property
    def handlers(self) -> Mapping[str, Callable[[Any], Any]]:
        """The registered features by method."""
        return cast("Mapping[str, Callable[[Any], Any]]", self.fm.features)  # pyright: ignore[reportUnknownMemberType]

    def _send_data(self, data: Any) -> None:
        if data:
            self.send(json.dumps(data, default=self._serialize_message).encode())

    def structured_params(self, method: str, given: Json, wanted: Any = None) -> Any:
        """Convert decoded params to the type `wanted`, by default lsprotocol's type for the method.

        Returns them unchanged if there is no type. Raises UnreadableParams.
        """
        if wanted is None:
            wanted = _params_type(method)
        if wanted is None:
            return given
        try:
            return self._converter.structure(given, wanted)
        except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableParams(f"{method}: its params are not valid ({error})") from error

    def to_json(self, value: Any) -> Json:
        """Convert a typed value to plain JSON values."""
        return json.loads(json.dumps(value, default=self._serialize_message))

    def response(self, id: Id, body: bytes) -> bool:
        """Take a response. Returns False if no request of this protocol has its id."""
        future = self._request_futures.pop(id, None) if isinstance(id, str) else None
        if future is None:
            return False
        if future.cancelled():  # nobody waits for it any more
            self._result_types.pop(str(id), None)
            return True
        try:
            structured = self.structure_message(wire.loads(body))
        except (JsonRpcException, wire.WireError) as error:  # pygls would never complete the future
            future.set_exception(error)
            return True
        error = getattr(structured, "error", None)
        if error is not None:
            future.set_exception(JsonRpcException.from_error(error))
        else:
            future.set_result(getattr(structured, "result", None))
        return True

    def fail_pending(self, reason: str) -> None:
        """Fail every request that is not answered yet, because the other end has gone."""
        futures = list(self._request_futures.values())
        self._request_futures.clear()
        for future in futures:
            if not future.done():
                future.set_exception(JsonRpcException(reason, code=wire.REQUEST_FAILED))


class ServerClient(LanguageClient):
    """A wrapped server as a pygls client, with `text_document_hover_async(params)` and all other methods of LSP."""

    protocol: TypedProtocol  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__("Starling", __version__, protocol_cls=TypedProtocol, converter_factory=default_converter)
        self.protocol.send = send


@cache
def _params_type(method: str) -> Any:
    """lsprotocol's type for the params of a method, or None. Cached: reading the annotations takes longer than a request."""
    message = types.METHOD_TO_TYPES.get(method, (None,))[0]
    return None if message is None else typing.get_type_hints(message).get("params")
