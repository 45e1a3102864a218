"""What Starling changes of an initialize exchange and of registrations. Pure functions; all else stays raw."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec

from lsp_server import __version__
from lsp_server.documents.positions import ENCODINGS, Encoding
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

COMPLETION = "textDocument/completion"
KEY = "starling"


def server_params(params: msgspec.Raw, *, encodings: Sequence[Encoding] = ()) -> dict[str, msgspec.Raw]:
    """The client's initialize params as a wrapped server gets them, undecoded but for what Starling changes.

    Starling's own key is gone from initializationOptions. `processId` is ours: the wrapped server watches that process and ends
    with it, also where its stdin stays open. A null stays: there, processes of either side can't see the other's (containers).
    `encodings` replaces the client's offer.
    """
    given = wire.fields(params)
    if bytes(given.get("processId", b"")).strip() != b"null":
        given["processId"] = wire.raw(os.getpid())
    if "initializationOptions" in given:
        options = wire.loads(given["initializationOptions"])
        if isinstance(options, dict) and KEY in options:
            del options[KEY]
            given["initializationOptions"] = wire.raw(options)
    if encodings:
        offered = dict(wire.loads(given.get("capabilities", msgspec.Raw(b"{}"))) or {})
        offered["general"] = {**(offered.get("general") or {}), "positionEncodings": list(encodings)}
        offered.pop("offsetEncoding", None)
        given["capabilities"] = wire.raw(offered)
    return given


def announced(result: Json) -> Json:
    """The wrapped server's initialize result with what Starling adds."""
    result = dict(wire.as_object(result))
    capabilities = dict(wire.as_object(result.get("capabilities")))
    if "completionProvider" in capabilities:
        capabilities["completionProvider"] = with_resolve(capabilities["completionProvider"])
    experimental = capabilities.get("experimental")
    if experimental is None or wire.is_object(experimental):
        capabilities["experimental"] = {**wire.as_object(experimental), KEY: {"version": __version__, "rank": True}}
    return {**result, "capabilities": capabilities}


def with_resolve(provider: Json) -> Json:
    """Completion options with resolve announced: Starling answers it even where the wrapped server can't."""
    return {**wire.as_object(provider), "resolveProvider": True}


def resolves(provider: Json) -> bool:
    return bool(wire.as_object(provider).get("resolveProvider"))


def encoding_of(result: Json) -> Encoding:
    """The position encoding that the wrapped server chose (LSP 3.17: utf-16 when it says nothing)."""
    chosen = at(result, "capabilities", "positionEncoding")
    return chosen if chosen in ENCODINGS else "utf-16"


def at(value: Json, *path: str) -> Any:
    """A value deep inside JSON, or None where the path breaks off."""
    found = value
    for key in path:
        if not wire.is_object(found):
            return None
        found = found.get(key)
    return found


def document_of(params: Json) -> str | None:
    """The document that a request's params name: `textDocument`, or a hierarchy item's own."""
    for path in (("textDocument", "uri"), ("item", "uri"), ("uri",)):
        uri = at(params, *path)
        if isinstance(uri, str):
            return uri
    return None
