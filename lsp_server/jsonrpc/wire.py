"""Reads and writes JSON-RPC 2.0 messages and the frames of LSP's base protocol ("Base Protocol", LSP 3.17).

Decodes only the members of a message that routing needs (id, method). The other members stay the bytes that were received.
Knows no method of LSP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeGuard, TypeVar

import msgspec

Json = Any
T = TypeVar("T")
Id = int | str | float | None

MAX_HEADER = 8 * 1024
MAX_BODY = 512 * 1024 * 1024  # bytes of a message from an editor
MAX_REPLY = 1024 * 1024 * 1024  # bytes of a message from a wrapped server: all symbols of a large project, say
LENGTH = b"content-length:"
HEADER_PREFIX = b"content-"  # every header of LSP's base protocol starts so
EDGE = 1024  # bytes kept of the beginning and of the end of an oversized message

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


class Oversized(WireError):
    """A message over the size limit, which was discarded. `edges` has its first and last bytes, which usually contain its id."""

    def __init__(self, size: int, limit: int, edges: bytes) -> None:
        super().__init__(f"message of {size} bytes is over the limit of {limit}")
        self.size, self.limit, self.edges = size, limit, edges


class NotFrames(WireError):
    """The client on a socket does not speak LSP's base protocol. The caller must close the connection."""


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


def frame(body: bytes) -> bytes:
    """A body with its header."""
    return header(body) + body


def header(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % len(body)


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


class Frames:
    """Splits a byte stream into message bodies.

    Bytes between frames that are not a header are reported and skipped, so that a server may print a line to stdout. On a
    socket (`is_socket`) reading stops there instead: the client is not an editor (it may be a web page that sends a POST).
    """

    def __init__(self, max_body: int = MAX_BODY, *, is_socket: bool = False) -> None:
        self.max_body = max_body
        self._is_socket = is_socket
        self._refused = False
        self._buffer = bytearray()
        self._want = -1  # length of the body that is being read, or -1 while reading a header
        self._size = 0  # length of an oversized body
        self._skip = 0  # bytes of it that are still to be discarded
        self._head, self._tail = b"", b""  # its first and last bytes

    @property
    def torn(self) -> bool:
        """Whether the stream so far ends in the middle of a frame."""
        return bool(self._buffer) or self._want >= 0 or self._skip > 0

    def feed(self, data: bytes) -> Iterator[bytes | WireError]:
        """Yield complete bodies in order, and a WireError for each stretch that is not a frame. NotFrames is the last one."""
        if self._refused:
            return
        buffer = self._buffer
        buffer += data
        while True:
            if self._skip:
                if not self._skipped():
                    return
                yield Oversized(self._size, self.max_body, self._head + self._tail)
            if self._want < 0:
                found = self._header()
                if found is None:
                    return
                if self._is_socket and not isinstance(found, WireError) and found > self.max_body:
                    found = Oversized(found, self.max_body, b"")
                if isinstance(found, WireError):
                    if self._is_socket:
                        self._refused = True
                        buffer.clear()
                        yield NotFrames(str(found))
                        return
                    yield found
                    continue
                if found > self.max_body:
                    self._size = self._skip = found
                    self._head, self._tail = b"", b""
                    continue
                self._want = found
            if len(buffer) < self._want:
                return
            body = bytes(memoryview(buffer)[: self._want])
            del buffer[: self._want]
            self._want = -1
            yield body

    def _skipped(self) -> bool:
        """Discard the received part of an oversized body, except its edges. Returns whether the body is complete."""
        gone = bytes(self._buffer[: self._skip])
        del self._buffer[: self._skip]
        self._skip -= len(gone)
        self._head += gone[: EDGE - len(self._head)]
        self._tail = (self._tail + gone)[-EDGE:]
        return self._skip == 0

    def _header(self) -> int | WireError | None:
        """Read the next header. Returns the length of its body, or None if the header is not complete yet."""
        buffer = self._buffer
        if self._is_socket and not bytes(buffer[: len(HEADER_PREFIX)]).lower().startswith(HEADER_PREFIX[: len(buffer)]):
            return WireError(f"{bytes(buffer[:40])!r} is not a header of LSP's base protocol")
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) <= MAX_HEADER:
                return None
            return self._resynchronise("header without an end")
        if end > MAX_HEADER:
            return self._resynchronise("header too long")
        lines = bytes(buffer[:end]).split(b"\r\n")
        for line in lines:
            if line.lower().startswith(LENGTH):
                try:
                    length = int(line[len(LENGTH) :])
                except ValueError:
                    length = -1
                if length < 0:
                    return self._resynchronise("bad Content-Length")
                if line is not lines[0] and not all(b":" in other for other in lines):
                    return self._resynchronise("bytes before the header")
                del buffer[: end + 4]
                return length
        return self._resynchronise("header without Content-Length")

    def _resynchronise(self, why: str) -> WireError:
        """Discard bytes up to what looks like the next header. Keeps a tail that may be the beginning of one."""
        buffer = self._buffer
        lowered = bytes(buffer).lower()
        at = lowered.find(LENGTH, 1)
        keep = at if at > 0 else max(1, len(buffer) - len(LENGTH) + 1)
        dropped = bytes(buffer[: min(keep, 60)])
        del buffer[:keep]
        return WireError(f"{why}: {keep} bytes discarded, starting with {dropped!r}")
