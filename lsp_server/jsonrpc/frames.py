"""Splits a byte stream into messages, by the headers of LSP's base protocol ("Base Protocol", LSP 3.17). Decodes no message."""

from __future__ import annotations

from collections.abc import Iterator

from lsp_server.jsonrpc.wire import EDGE, WireError

MAX_HEADER = 8 * 1024
MAX_BODY = 512 * 1024 * 1024  # bytes of a message from an editor
MAX_REPLY = 1024 * 1024 * 1024  # bytes of a message from a wrapped server: all symbols of a large project, say
LENGTH = b"content-length:"
HEADER_PREFIX = b"content-"  # every header of LSP's base protocol starts so


class Oversized(WireError):
    """A message over the size limit, which was discarded. `edges` has its first and last bytes, which usually contain its id."""

    def __init__(self, size: int, limit: int, edges: bytes) -> None:
        super().__init__(f"message of {size} bytes is over the limit of {limit}")
        self.size, self.limit, self.edges = size, limit, edges


class NotFrames(WireError):
    """The client on a socket does not speak LSP's base protocol. The caller must close the connection."""


def frame(body: bytes) -> bytes:
    """A body with its header."""
    return header(body) + body


def header(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % len(body)


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
