"""One request put to several wrapped servers: their replies as one, without waiting for a tardy one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.routing import provenance
from lsp_server.routing.requests import Requests
from lsp_server.routing.table import For, Route
from lsp_server.servers.server import WrappedServer

log = logging.getLogger(__name__)

SENSELESS = (
    wire.WireError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)  # what merging a malformed answer raises
TARDY = 1.0  # seconds that the others get after the first server that had something to say


async def replies(
    requests: Requests, id: Id, targets: Sequence[WrappedServer], body: bytes, tardy: float = TARDY
) -> list[tuple[WrappedServer, bytes]]:
    """Whole replies in the order of `targets`; those that came too late are left out."""
    asking = {requests.ask(id, server, body): server for server in targets}
    waiting = set(asking)
    try:
        while waiting and not any(reply.done() and says_something(reply.result()) for reply in asking):
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            _, waiting = await asyncio.wait(waiting, timeout=tardy)
    finally:
        for reply in waiting:
            reply.cancel()
            requests.give_up_on(id, asking[reply])
    return [(server, reply.result()) for reply, server in asking.items() if reply.done() and not reply.cancelled()]


def says_something(reply: bytes) -> bool:
    """Whether a reply has a result other than null and []."""
    return bytes(wire.fields(reply).get("result", b"null")) not in (b"null", b"[]")


async def gathered(requests: Requests, id: Id, targets: Sequence[WrappedServer], body: bytes, route: Route) -> bytes:
    """One reply for a request that the route puts to these servers."""
    found = await replies(requests, id, targets, body)
    results: list[msgspec.Raw] = []
    failures: list[bytes] = []
    for server, reply in found:
        result = wire.fields(reply).get("result")
        if result is None:
            failures.append(reply)
        elif says_something(reply):
            results.append(_marked(result, server, route))
    if not results and len(failures) == len(found):
        return failures[0]
    return wire.response(id, _merged(results, route))


def _merged(results: Sequence[msgspec.Raw], route: Route) -> msgspec.Raw:
    """One result of all; without those that make no sense beside others."""
    try:
        return route.merge(results)
    except SENSELESS as error:
        log.warning("an answer of several makes no sense: %r", error)
        return route.merge([result for result in results if _makes_sense(result, route)])


def _makes_sense(result: msgspec.Raw, route: Route) -> bool:
    try:
        route.merge([result, result])
    except SENSELESS:
        return False
    return True


def _marked(result: msgspec.Raw, server: WrappedServer, route: Route) -> msgspec.Raw:
    if route.target is For.MARK:  # a single item that may come back once more
        return provenance.marked_one(result, server.key)
    return provenance.marked(result, server.key) if route.marks else result
