"""textDocument/completion: ask the wrapped server, rank what it answered, write order keys and stars.

Changes order keys and marks, never what an item inserts; never adds, drops or moves an item.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from lsp_server import wire
from lsp_server.capabilities import at
from lsp_server.features.items import ItemList, ranked
from lsp_server.wire import Envelope, Id

if TYPE_CHECKING:
    from lsp_server.session import Session

log = logging.getLogger(__name__)

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


async def completion(session: Session, id: Id, body: bytes, envelope: Envelope) -> bytes:
    """The wrapped server's reply, ranked where a ranking was to be had in time."""
    params = wire.fields(envelope.params if isinstance(envelope.params, msgspec.Raw) else b"{}")
    if "partialResultToken" in params:  # a list that comes in parts can't be ordered as one
        del params["partialResultToken"]
        body = wire.dumps({**wire.fields(body), "params": params})
    where: dict[str, Any] = {
        "textDocument": wire.loads(params["textDocument"]),
        "position": wire.loads(params["position"]),
    }
    ranking_on = session.settings.ranker != "off"
    if ranking_on:
        session.ranker.tell("starling/prepare", where)
    reply = await session.ask_backend(id, body)
    if not ranking_on:
        return reply
    message = wire.fields(reply)
    items = ItemList.parse(message.get("result"))
    if items is None:
        return reply
    try:
        return await _reordered(session, items, message, where) or reply
    except Exception:  # a wrong ranker, or items that no editor could show: the list goes on as it came
        log.exception("a list could not be ranked")
        return reply


async def _reordered(
    session: Session, items: ItemList, message: dict[str, msgspec.Raw], where: dict[str, Any]
) -> bytes | None:
    """The reply with a ranking laid over; None where none was to be had."""
    ranking = await session.ranker.rank(
        {
            **where,
            "deadline": session.settings.deadline,
            "starLimit": session.settings.star_limit,
            "result": message["result"],
        }
    )
    if ranking is None or sorted(ranking.order) != list(range(len(items.items))):
        return None
    label_details = bool(
        at(session.client_capabilities, "textDocument", "completion", "completionItem", "labelDetailsSupport")
    )
    number = recent(session).add(items)
    result = ranked(items, ranking, number=number, star_text=session.settings.star_text, label_details=label_details)
    return wire.dumps({**message, "result": result})
