"""textDocument/completion: get the wrapped server's list, rank it, and write order keys (`sortText`) and stars on its items.

Never changes what an item inserts. Never adds, drops or moves an item.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from lsprotocol import types

from lsp_server.features.items import ItemList, Marks, joined, ranked
from lsp_server.features.server import NotHandled, StarlingServer
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.protocol.capabilities import at
from lsp_server.ranking.ranker_client import Ranking
from lsp_server.routing import fanout
from lsp_server.servers.server import WrappedServer
from lsp_server.session.session import Session

log = logging.getLogger(__name__)

# Seconds to wait, once the first list has come, for the lists of other servers and of the preferred server. If one comes later,
# the joined list is incomplete.
TARDY, PREFERRED = 0.1, 2.0
KEPT_LISTS = 4  # recent lists whose original items are kept for completionItem/resolve


class RecentLists:
    """The last KEPT_LISTS lists by number, so that completionItem/resolve can find an original item."""

    def __init__(self) -> None:
        self._count = 0
        self._lists: OrderedDict[int, ItemList] = OrderedDict()

    def add(self, items: ItemList) -> int:
        """Keep a list. Returns its number."""
        self._count += 1
        self._lists[self._count] = items
        while len(self._lists) > KEPT_LISTS:
            self._lists.popitem(last=False)
        return self._count

    def get(self, number: int) -> ItemList | None:
        """The list with this number, or None if it is not kept any more."""
        return self._lists.get(number)


def recent_lists(session: Session) -> RecentLists:
    """The recent lists of a session."""
    if session.lists is None:
        session.lists = RecentLists()
    return session.lists


class _Document(msgspec.Struct):
    uri: str


class _Params(msgspec.Struct, rename="camel"):
    """The members of CompletionParams that Starling reads. The wrapped server checks the others."""

    text_document: _Document
    position: dict[str, Any]


def register(server: StarlingServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_COMPLETION)
    async def completion(ls: StarlingServer, params: types.CompletionParams | None) -> bytes:  # pyright: ignore[reportUnusedFunction]
        """The whole response: the wrapped servers' list, ranked if the ranker answered in time."""
        return await _completion(ls)

    server.lenient.add(types.TEXT_DOCUMENT_COMPLETION)  # the wrapped server decides what to do with odd params


async def _completion(ls: StarlingServer) -> bytes:
    session, id, body = ls.session, ls.request.id, ls.request.body
    members = ls.request.params
    if "partialResultToken" in members:  # a list that arrives in parts can't be ranked as a whole
        del members["partialResultToken"]
        body = wire.dumps({**wire.fields(body), "params": members})
    try:
        params = wire.read(wire.params_of(ls.request.envelope), _Params)
    except wire.Malformed as error:
        raise NotHandled(str(error)) from error
    where = {"textDocument": {"uri": params.text_document.uri}, "position": params.position}
    ranking_on = session.state.settings.ranks(session.state.language_of(params.text_document.uri))
    mode = session.mode
    assert mode is not None
    targets = mode.completion_targets(where, wire.loads(members["context"]) if "context" in members else None)
    if not targets:
        return wire.response(id, None)
    if ranking_on:
        session.ranker.prepare(where)
    reply, read = await _request_list(session, id, body, targets)
    message = wire.fields(reply)
    result = message.get("result")
    if result is None or bytes(memoryview(result)[:5]) == b"null" or not (ranking_on or mode.marks_lists):
        return reply
    ranking_task = _request_ranking(session, result, where) if ranking_on else None
    items = read(result)  # meanwhile the ranker works
    try:
        ranking = await ranking_task if ranking_task is not None else None
        if items is None:
            return reply
        return _ranked_reply(session, items, ranking, message) or reply
    except wire.WireError as error:
        log.warning("a list of the wrapped server is malformed and is sent to the editor unchanged: %s", error)
    except Exception:  # a defect in Starling must not cost the list
        log.exception("a defect in Starling: a list could not be ranked")
    return reply if items is None else _ranked_reply(session, items, None, message) or reply


async def _request_list(
    session: Session, id: Id, body: bytes, targets: list[WrappedServer]
) -> tuple[bytes, Callable[[msgspec.Raw], ItemList | None]]:
    """Ask the wrapped servers and join their lists. Returns the response and a function that parses its result."""
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


def _request_ranking(session: Session, result: msgspec.Raw, where: dict[str, Any]) -> Awaitable[Ranking | None]:
    """Send the list to the ranker at once. Awaiting the result gives None if there is no ranking in time."""
    limits = {"deadline": session.state.settings.deadline, "starLimit": session.state.settings.star_limit}
    return session.ranker.rank({**where, **limits, "result": result})


def _ranked_reply(
    session: Session, items: ItemList, ranking: Ranking | None, message: dict[str, msgspec.Raw]
) -> bytes | None:
    """The response with the ranking written on its items, or None if nothing is to be changed.

    Without a ranking, items of several servers still get a note of their server, for completionItem/resolve.
    """
    if ranking is not None and not ranking.fits(len(items.items)):
        ranking = None
    if ranking is None and not (session.mode is not None and session.mode.marks_lists):
        return None
    capabilities = at(session.state.client_capabilities, "textDocument", "completion", "completionItem")
    marks = Marks(
        star=session.state.settings.star_text,
        place=session.state.settings.star_in,
        ratings=bool(at(capabilities, "labelDetailsSupport")),
        rate_all=session.state.settings.rate_all,
    )
    result = ranked(items, ranking, number=recent_lists(session).add(items), marks=marks)
    return wire.dumps({**message, "result": result})
