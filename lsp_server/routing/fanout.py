"""One request put to several wrapped servers: whom to wait for, and how long. Knows no method.

An editor's cancel reaches every server that was asked; a server that is not waited for any more is told so, too.
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

TARDY = 1.0  # seconds that other servers get after the first one that had something to say
PREFERRED = 5.0  # seconds that the preferred server gets after another one: its answer is what the user chose it for
WHOLE = 60.0  # seconds for an answer that must be whole
SHORT = 256  # bytes of a list of items that may be empty
STANDS = (
    wire.REQUEST_CANCELLED,
    -32801,
    -32802,
)  # error codes with which the editor asks again, or not (LSP 3.18, ErrorCodes)

BodyFor = Callable[[WrappedServer], bytes]


@dataclass
class Answers:
    """Whole replies in the order of preference, and the servers that have not answered yet, with what they will answer."""

    found: list[tuple[WrappedServer, bytes]] = field(default_factory=list[tuple[WrappedServer, bytes]])
    late: dict[WrappedServer, asyncio.Future[bytes]] = field(default_factory=dict[WrappedServer, asyncio.Future[bytes]])


class _Items(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


def says_something(reply: bytes) -> bool:
    """Whether a reply has a result other than null, [] and a list without items."""
    result = bytes(wire.fields(reply).get("result", b"null")).strip()
    if result in (b"null", b"[]"):
        return False
    if len(result) < SHORT and result.startswith(b"{"):
        try:
            return wire.read(result, _Items).items != []
        except wire.Malformed:  # whatever it is, it is not empty
            return True
    return True


async def in_order(
    requests: Requests, id: Id, targets: Sequence[WrappedServer], body_for: BodyFor
) -> tuple[WrappedServer, bytes]:
    """The preferred server's reply; where it has none (null, or an error), that of the next."""
    answers: list[tuple[WrappedServer, bytes]] = []
    for server in targets:
        reply = await requests.ask(id, server, body_for(server))
        if _stands(reply):
            return server, reply
        answers.append((server, reply))
        if requests.is_cancelled(id):
            break
    without_error = [answer for answer in answers if "error" not in wire.fields(answer[1])]
    return (without_error or answers)[0]


def _stands(reply: bytes) -> bool:
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
    """Every server's reply, as far as it comes in so many seconds."""
    if asking:
        await asyncio.wait(asking.values(), timeout=seconds)
    return _answers(asking)


async def with_grace(
    asking: dict[WrappedServer, asyncio.Future[bytes]], *, tardy: float = TARDY, preferred: float = PREFERRED
) -> Answers:
    """The replies until one says something, and then a moment longer: so many seconds for the first server, and for the others."""
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
