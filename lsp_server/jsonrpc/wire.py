"""Reads and writes JSON-RPC 2.0 messages.

Decodes only the members of a message that routing needs (id, method). The other members stay the bytes that were received.
Knows no method of LSP.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, TypeGuard, TypeVar

import msgspec

Json = Any
T = TypeVar("T")
Id = int | str | float | None

EDGE = 1024  # bytes of each end of a message in which `guess` looks

# JSON-RPC 2.0 and LSP 3.17 error codes.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_NOT_INITIALIZED = -32002
REQUEST_FAILED = -32803
REQUEST_CANCELLED = -32800


class WireError(Exception):
    """Bytes that are not a message. The text says why."""


class Malformed(WireError):
    """A message that does not have the structure that its method requires. The text says which member is wrong."""


class Envelope(msgspec.Struct, frozen=True):
    """A message of which only id and method are decoded. Absent members are UNSET."""

    id: Id | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_request(self) -> bool:
        return self.method is not msgspec.UNSET and self.id is not msgspec.UNSET

    @property
    def is_notification(self) -> bool:
        return self.method is not msgspec.UNSET and self.id is msgspec.UNSET

    @property
    def is_response(self) -> bool:
        return self.method is msgspec.UNSET and self.id is not msgspec.UNSET


_envelope = msgspec.json.Decoder(Envelope)
_encoder = msgspec.json.Encoder()
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the last: JSON nested a thousand levels deep
_SCALAR = rb'("(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"|-?(?:0|[1-9]\d*)(?:\.\d+)?|null)'
_member = re.compile(rb'"\w+"\s*:\s*' + _SCALAR + rb"\s*[,}]")
_last_member = re.compile(rb',\s*"id"\s*:\s*' + _SCALAR + rb"\s*\}\s*$")
_token = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]:,]', re.DOTALL)


def peek(body: bytes) -> Envelope:
    """Decode the id and method of one message. Raises WireError if the body is not a JSON-RPC message."""
    try:
        envelope = _envelope.decode(body)
    except _REFUSED as error:
        envelope = _slow_envelope(body, error)
    if envelope.method is msgspec.UNSET and envelope.id is msgspec.UNSET:
        raise WireError("neither method nor id")
    return envelope


def key_of(id: Id) -> tuple[type, Id]:
    """A dictionary key for an id. 1 and "1" differ; 1.0 and 1 are the same number in JSON, and a reply may contain either."""
    if isinstance(id, float) and id.is_integer():
        id = int(id)
    return type(id), id


def id_of(envelope: Envelope) -> Id:
    """The id of a request or response. The envelope must have one."""
    assert not isinstance(envelope.id, msgspec.UnsetType)
    return envelope.id


def params_of(envelope: Envelope) -> msgspec.Raw:
    """The undecoded params, or an empty object if the message has none."""
    return envelope.params if isinstance(envelope.params, msgspec.Raw) else msgspec.Raw(b"{}")


def loads(raw: bytes | msgspec.Raw) -> Json:
    """Decode JSON. Raises WireError. Falls back to the slower `json` for lone surrogates, which some editors send."""
    try:
        return msgspec.json.decode(raw)
    except _REFUSED:
        try:
            return json.loads(bytes(raw))
        except (ValueError, RecursionError) as error:
            raise WireError(str(error)) from error


def read(raw: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Decode JSON as a type that msgspec supports (a Struct, say). Members that the type does not have are skipped. Raises Malformed."""
    try:
        return _decoder(kind).decode(raw)
    except _REFUSED:
        try:
            return msgspec.convert(loads(raw), kind)
        except (msgspec.ValidationError, UnicodeEncodeError, WireError) as error:
            raise Malformed(str(error)) from error


@cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind)


def fields(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of a JSON object; each value stays undecoded. Raises WireError if it is not an object."""
    try:
        return _fields.decode(raw)
    except RecursionError:
        return _shallow(bytes(raw))
    except _REFUSED as error:
        value = loads(raw)
        if not is_object(value):
            raise WireError(f"not a JSON object: {error}") from error
        return {name: msgspec.Raw(dumps(member)) for name, member in value.items()}


def _slow_envelope(body: bytes, error: Exception) -> Envelope:
    """Decode an envelope that msgspec refuses even though it only skips most of it: lone surrogates, or deep nesting."""
    members = fields(body)
    id, method = (loads(members[name]) if name in members else msgspec.UNSET for name in ("id", "method"))
    if not isinstance(method, str | msgspec.UnsetType) or isinstance(id, dict | list | bool):
        raise WireError(f"not a JSON-RPC message: {error}")
    rest = {name: members[name] for name in ("params", "result", "error") if name in members}
    return Envelope(id=id, method=method, **rest)


def _shallow(raw: bytes) -> dict[str, msgspec.Raw]:
    """The members of an object that is nested too deeply for a JSON decoder, found by counting brackets. Raises WireError.

    Selection ranges are nested so: each range has a parent range, as deep as the syntax tree.
    """
    found: dict[str, msgspec.Raw] = {}
    raw = raw.strip()
    depth, start, name = 0, 1, None
    for token in _token.finditer(raw) if raw.startswith(b"{") else ():
        kind = token.group()
        depth += (kind in (b"{", b"[")) - (kind in (b"}", b"]"))
        if depth == 1 and kind == b":":
            name, start = loads(raw[start : token.start()]), token.end()
        elif depth == 0 or (depth == 1 and kind == b","):
            if name is None:
                break
            found[str(name)], start = msgspec.Raw(raw[start : token.start()].strip()), token.end()
            name = None
        if depth == 0:
            break
    if depth or not found or start != len(raw):
        raise WireError("nested too deeply, and not a JSON object")
    return found


def dumps(value: Json) -> bytes:
    """Encode JSON. `msgspec.Raw` values are written unchanged."""
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, msgspec.EncodeError):
        return json.dumps(_plain(value), separators=(",", ":")).encode()


def _plain(value: Json) -> Json:
    if isinstance(value, msgspec.Raw):
        return loads(value)
    if is_object(value):
        return {key: _plain(item) for key, item in value.items()}
    if is_array(value):
        return [_plain(item) for item in value]
    return value


def raw(value: Json) -> msgspec.Raw:
    """Encode a value, to put it among undecoded members."""
    return msgspec.Raw(dumps(value))


def is_object(value: Json) -> TypeGuard[dict[str, Any]]:
    """Whether a decoded value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: Json) -> TypeGuard[list[Any]]:
    """Whether a decoded value is a JSON array."""
    return isinstance(value, list)


def as_object(value: Json) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if is_object(value) else {}


def as_array(value: Json) -> list[Any]:
    """A JSON array; an empty one for anything else."""
    return value if is_array(value) else []


def request(id: Id, method: str, params: Json) -> bytes:
    """Encode a request. `params=None` leaves the member out: JSON-RPC 2.0 allows no null there, and some servers refuse it."""
    return dumps({"jsonrpc": "2.0", "id": id, "method": method, **({} if params is None else {"params": params})})


def notification(method: str, params: Json) -> bytes:
    return dumps({"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})})


def response(id: Id, result: Json) -> bytes:
    return dumps({"jsonrpc": "2.0", "id": id, "result": result})


def failure(id: Id, code: int, message: str) -> bytes:
    return dumps({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})


def guess(body: bytes) -> tuple[Id | msgspec.UnsetType, str]:
    """Find id and method of a message that can't be decoded, or of which only the edges are left.

    Returns UNSET and "" for what can't be found. Members inside params or result are ignored.
    """
    members: dict[bytes, Json] = {}
    depth = 0
    for token in _token.finditer(body[:EDGE]):
        kind = token.group()
        depth += (kind in (b"{", b"[")) - (kind in (b"}", b"]"))
        member = _member.match(body, token.start()) if depth == 1 and kind in (b'"id"', b'"method"') else None
        if member is not None:
            members.setdefault(kind, json.loads(member[1].decode("utf-8", "replace")))
    last = _last_member.search(body[-EDGE:])
    if b'"id"' not in members and last is not None:
        members[b'"id"'] = json.loads(last[1].decode("utf-8", "replace"))
    method = members.get(b'"method"')
    return members.get(b'"id"', msgspec.UNSET), method if isinstance(method, str) else ""


def with_id(body: bytes, id: Id) -> bytes:
    """The same message with another id. Every other member keeps its bytes."""
    return dumps({**fields(body), "id": id})
