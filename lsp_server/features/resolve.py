"""completionItem/resolve: the wrapped server resolves its original item; Starling adds its marks and its reasons to the result."""

from __future__ import annotations

from typing import Any

import msgspec
from lsprotocol import types

from lsp_server.features.completion import recent_lists
from lsp_server.features.items import Item, origin, without_marks
from lsp_server.features.server import Request, StarlingServer
from lsp_server.jsonrpc import wire
from lsp_server.protocol.capabilities import at
from lsp_server.ranking.ranker_client import Ranking
from lsp_server.session.session import Session

# Members that Starling may have changed in the list. In the result they keep the value that the client has.
KEPT_MEMBERS = (
    "label",
    "labelDetails",
    "sortText",
    "filterText",
    "insertText",
    "textEditText",
    "preselect",
    "data",
)


def register(server: StarlingServer) -> None:
    @server.feature(types.COMPLETION_ITEM_RESOLVE)
    async def resolve(ls: StarlingServer, params: types.CompletionItem | None) -> bytes:  # pyright: ignore[reportUnusedFunction]
        """The whole response: the resolved item, with the reasons for its rank in its documentation."""
        return await _resolve(ls.session, ls.request)

    server.lenient.add(
        types.COMPLETION_ITEM_RESOLVE
    )  # the wrapped server made the item, and may have put anything into it


async def _resolve(session: Session, request: Request) -> bytes:
    id, body, item = request.id, request.body, request.params
    found = origin(item)
    assert session.mode is not None
    server = session.mode.server_of_item(None if found is None else found.server)
    if found is None:
        return wire.response(id, item) if server is None else await session.requests.ask(id, server, body)
    kept = recent_lists(session).get(found.number)
    if kept is not None and found.index < len(kept.items):
        original = dict(kept.items[found.index])
        if found.data is not None:
            original["data"] = found.data  # it may come from itemDefaults
    else:
        original = without_marks(item, found, session.state.settings.star_text)
    resolved: Item = original
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": id}
    if server is not None and server.announced.resolves:
        reply = wire.fields(
            await session.requests.ask(id, server, wire.dumps({**wire.fields(body), "params": original}))
        )
        if "result" not in reply:
            return wire.dumps(reply)
        message = dict(reply)
        is_object = bytes(memoryview(reply["result"])[:1]) == b"{"
        resolved = wire.fields(reply["result"]) if is_object else original
    result: dict[str, Any] = {**resolved}
    for name in KEPT_MEMBERS:
        if name in item and bytes(item[name]) != bytes(original.get(name, b"")):
            result[name] = item[name]
    if "label" in item:
        result["label"] = item["label"]
    ranking = kept.ranking.get("") if kept is not None else None
    if ranking is not None and found.index < len(ranking.p):
        formats = at(
            session.state.client_capabilities, "textDocument", "completion", "completionItem", "documentationFormat"
        )
        markdown = isinstance(formats, list) and "markdown" in formats
        why = reasons(ranking, found.index)
        result["documentation"] = with_reasons(resolved.get("documentation"), why, markdown=markdown)
    return wire.dumps({**message, "result": result})


def reasons(ranking: Ranking, index: int) -> str:
    """Why an item has its rank, in one line: "60 % likely · used like this 22 times in this file · moved up from 24th"."""
    here, elsewhere = ranking.uses_here[index], ranking.uses_workspace[index]
    found = [f"{ranking.p[index]:.0%}".replace("%", " % likely")]
    if here or elsewhere:
        files = [(here, "in this file"), (elsewhere, "in other files")]
        found.append("used like this " + ", ".join(f"{_times(count)} {where}" for count, where in files if count))
    projects = ranking.projects[index] if ranking.written and ranking.projects else 0
    if projects:
        found.append(f"{ranking.written} in {projects:,} other project{'' if projects == 1 else 's'}")
    found.append(_moved(ranking.places[index] + 1, ranking.order.index(index) + 1))
    return " · ".join(found)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _moved(before: int, now: int) -> str:
    """What ranking did: `before` is the place in the wrapped server's order, from 1."""
    if before == now:
        return f"{_ordinal(now)} in your server's order too"
    return f"moved {'up' if now < before else 'down'} from {_ordinal(before)}"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def with_reasons(documentation: msgspec.Raw | None, why: str, *, markdown: bool) -> Any:
    """Append the reasons to an item's documentation (a string, MarkupContent, or None)."""
    given = None if documentation is None else wire.loads(documentation)
    line = f"★ Starling: {why}"
    if wire.is_object(given) and isinstance(given.get("value"), str):
        value = given["value"]
        rule = "\n\n---\n" if given.get("kind") == "markdown" else "\n\n"
        return {**given, "value": f"{value}{rule}{line}" if value else line}
    if isinstance(given, str) and given:
        return f"{given}\n\n{line}"
    return {"kind": "markdown" if markdown else "plaintext", "value": line}
