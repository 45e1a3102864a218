"""textDocument/completion: ask the wrapped server, rank what it answered, write order keys and stars.

Changes order keys and marks, never what an item inserts; never adds, drops or moves an item.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from lsprotocol import types

from lsp_server.features.items import ItemList, Marks, joined, ranked
from lsp_server.features.server import NotOurs, StarlingServer
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.protocol.capabilities import at
from lsp_server.ranking.ranker_client import Ranking
from lsp_server.routing import fanout
from lsp_server.servers.server import WrappedServer
from lsp_server.session.session import Session

log = logging.getLogger(__name__)

TARDY = (
    0.1  # seconds that other servers of a language get after the first list; a list without one's items is incomplete
)
PREFERRED = 2.0  # seconds that the preferred one gets
KEPT_LISTS = 4  # whose items can still be resolved as the wrapped server sent them


class RecentLists:
    """The last ranked lists, so that resolve can find an item's original."""

    def __init__(self) -> None:
        self._count = 0
        self._lists: OrderedDict[int, ItemList] = OrderedDict()

    def add(self, items: ItemList) -> int:
        self._count += 1
        self._lists[self._count] = items
        while len(self._lists) > KEPT_LISTS:
            self._lists.popitem(last=False)
        return self._count

    def get(self, number: int) -> ItemList | None:
        return self._lists.get(number)


def recent(session: Session) -> RecentLists:
    if session.lists is None:
        session.lists = RecentLists()
    return session.lists


class _Document(msgspec.Struct):
    uri: str


class _Place(msgspec.Struct, rename="camel"):
    """What is read of CompletionParams; the rest is for the wrapped server to judge."""

    text_document: _Document
    position: dict[str, Any]


def register(server: StarlingServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_COMPLETION)
    async def completion(ls: StarlingServer, params: types.CompletionParams | None) -> bytes:  # pyright: ignore[reportUnusedFunction]
        """The wrapped servers' list, ranked where a ranking was to be had in time."""
        return await _completion(ls)

    server.lenient.add(types.TEXT_DOCUMENT_COMPLETION)  # an editor's odd context is the wrapped server's to judge


async def _completion(ls: StarlingServer) -> bytes:
    session, id, body = ls.session, ls.request.id, ls.request.body
    members = ls.request.params
    if "partialResultToken" in members:  # a list that comes in parts can't be ordered as one
        del members["partialResultToken"]
        body = wire.dumps({**wire.fields(body), "params": members})
    try:
        place = wire.read(wire.params_of(ls.request.envelope), _Place)
    except wire.Malformed as error:
        raise NotOurs(str(error)) from error
    where = {"textDocument": {"uri": place.text_document.uri}, "position": place.position}
    ranking_on = session.state.settings.ranks(session.state.language_of(place.text_document.uri))
    mode = session.mode
    assert mode is not None
    targets = mode.completion_targets(where, wire.loads(members["context"]) if "context" in members else None)
    if not targets:
        return wire.response(id, None)
    if ranking_on:
        session.ranker.prepare(where)
    reply, read = await _asked(session, id, body, targets)
    message = wire.fields(reply)
    result = message.get("result")
    if result is None or bytes(memoryview(result)[:5]) == b"null" or not (ranking_on or mode.marks_lists):
        return reply
    asked = _ranking(session, result, where) if ranking_on else None
    items = read(result)  # while the ranker works
    try:
        ranking = await asked if asked is not None else None
        if items is None:
            return reply
        return _reordered(session, items, ranking, message) or reply
    except wire.WireError as error:
        log.warning("a list of the wrapped server is malformed and goes on as it came: %s", error)
    except Exception:  # a defect of ours costs the ranking, never the list
        log.exception("a defect in Starling: a list could not be ranked")
    return reply if items is None else _reordered(session, items, None, message) or reply


async def _asked(
    session: Session, id: Id, body: bytes, targets: list[WrappedServer]
) -> tuple[bytes, Callable[[msgspec.Raw], ItemList | None]]:
    """The reply, and how to read the list that is its result. Several servers' lists become one."""
    if len(targets) == 1:
        reply = await session.requests.ask(id, targets[0], body)
        return reply, lambda result: ItemList.parse(result, server=targets[0].key)
    asking = {server: session.requests.ask(id, server, body) for server in targets}
    try:
        answers = await fanout.with_grace(asking, tardy=TARDY, preferred=PREFERRED)
    finally:
        for server, answer in asking.items():
            if not answer.done():
                session.requests.give_up(server, answer)
    found = [(server, wire.fields(reply).get("result"), reply) for server, reply in answers.found]
    parsed = [ItemList.parse(result, server=server.key) for server, result, _ in found]
    lists = [items for items in parsed if items is not None]
    if not lists:
        whole = [reply for _, result, reply in found if result is not None] or [reply for *_, reply in found]
        return whole[0] if whole else wire.response(id, None), lambda _: None
    merged = lists[0] if len(lists) == 1 and not answers.late else joined(lists, incomplete=bool(answers.late))
    return wire.response(id, merged.result()), lambda _: merged


def _ranking(session: Session, result: msgspec.Raw, where: dict[str, Any]) -> Awaitable[Ranking | None]:
    """Ask for a ranking at once; awaited, it is there or it is None."""
    limits = {"deadline": session.state.settings.deadline, "starLimit": session.state.settings.star_limit}
    return session.ranker.rank({**where, **limits, "result": result})


def _reordered(
    session: Session, items: ItemList, ranking: Ranking | None, message: dict[str, msgspec.Raw]
) -> bytes | None:
    """The reply with a ranking laid over. Without one, with whose each item is among several servers; else None."""
    if ranking is not None and not ranking.fits(len(items.items)):
        ranking = None
    if ranking is None and not (session.mode is not None and session.mode.marks_lists):
        return None
    capabilities = at(session.state.client_capabilities, "textDocument", "completion", "completionItem")
    marks = Marks(
        star=session.state.settings.star_text,
        place=session.state.settings.star_in,
        ratings=bool(at(capabilities, "labelDetailsSupport")),
    )
    result = ranked(items, ranking, number=recent(session).add(items), marks=marks)
    return wire.dumps({**message, "result": result})
