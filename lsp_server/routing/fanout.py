"""Sends one request to several wrapped servers: decides which answers to wait for, and how long. Knows no method.

A cancel of the editor goes to every server that was asked. When Starling stops waiting for a server, it tells that
server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.routing.requests import Requests
from lsp_server.servers.server import WrappedServer

log = logging.getLogger(__name__)

TARDY = 1.0  # seconds that the other servers get after the first answer that is not empty
PREFERRED = 5.0  # seconds that the preferred server gets after that answer: the user prefers its answers
WHOLE = 60.0  # seconds to wait for an answer that must be complete
SHORT = 256  # bytes; a longer object is not checked for an empty `items`
# RequestCancelled, ContentModified, ServerCancelled (LSP 3.18, ErrorCodes). These errors go to the editor, which
# decides whether to ask again. No other server is asked.
STANDS = (wire.REQUEST_CANCELLED, -32801, -32802)

BodyFor = Callable[[WrappedServer], bytes]


@dataclass
class Answers:
    """Whole responses in order of preference, and the pending responses of the servers that have not answered yet."""

    found: list[tuple[WrappedServer, bytes]] = field(default_factory=list[tuple[WrappedServer, bytes]])
    late: dict[WrappedServer, asyncio.Future[bytes]] = field(default_factory=dict[WrappedServer, asyncio.Future[bytes]])


class _Items(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


def says_something(reply: bytes) -> bool:
    """Whether a response has a result that is not null, [] or an object with empty `items`."""
    result = bytes(wire.fields(reply).get("result", b"null")).strip()
    if result in (b"null", b"[]"):
        return False
    if len(result) < SHORT and result.startswith(b"{"):
        try:
            return wire.read(result, _Items).items != []
        except wire.Malformed:  # not a list of items, so not empty
            return True
    return True


async def in_order(
    requests: Requests, id: Id, targets: Sequence[WrappedServer], body_for: BodyFor
) -> tuple[WrappedServer, bytes]:
    """Ask one server after the other, the preferred one first, until one returns a result that is not null.

    If none does, returns the first null result, or else the first error. Stops at an error with a code in STANDS, and
    after a cancel.
    """
    answers: list[tuple[WrappedServer, bytes]] = []
    for server in targets:
        reply = await requests.ask(id, server, body_for(server))
        if _is_final(reply):
            return server, reply
        answers.append((server, reply))
        if requests.is_cancelled(id):
            break
    without_error = [answer for answer in answers if "error" not in wire.fields(answer[1])]
    return (without_error or answers)[0]


def _is_final(reply: bytes) -> bool:
    members = wire.fields(reply)
    if "error" in members:
        return _code(members["error"]) in STANDS
    return bytes(members.get("result", b"null")).strip() != b"null"


class _Error(msgspec.Struct):
    code: int = 0


def _code(error: msgspec.Raw) -> int:
    try:
        return wire.read(error, _Error).code
    except wire.Malformed:
        return 0


async def together(asking: dict[WrappedServer, asyncio.Future[bytes]], seconds: float) -> Answers:
    """Wait for the responses of all servers, at most `seconds`."""
    if asking:
        await asyncio.wait(asking.values(), timeout=seconds)
    return _answers(asking)


async def with_grace(
    asking: dict[WrappedServer, asyncio.Future[bytes]], *, tardy: float = TARDY, preferred: float = PREFERRED
) -> Answers:
    """Wait until one response is not empty.

    Then wait `tardy` seconds for the others, and `preferred` for the first server.
    """
    waiting = set(asking.values())
    while waiting and not any(reply.done() and says_something(reply.result()) for reply in asking.values()):
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if waiting:
        _, waiting = await asyncio.wait(waiting, timeout=tardy)
    first = next(iter(asking.values()), None)
    if first in waiting:
        await asyncio.wait([first], timeout=max(0.0, preferred - tardy))
    return _answers(asking)


def _answers(asking: dict[WrappedServer, asyncio.Future[bytes]]) -> Answers:
    done = [(server, reply.result()) for server, reply in asking.items() if reply.done()]
    return Answers(found=done, late={server: reply for server, reply in asking.items() if not reply.done()})
