"""starling/rank: rank completion items that the client got elsewhere."""

from __future__ import annotations

from typing import Any

import attrs
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp_server.features.resolve import reasons
from lsp_server.features.server import StarlingServer
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.session.session import Session


@attrs.frozen(kw_only=True)
class RankParams:
    """Params of starling/rank."""

    textDocument: types.TextDocumentIdentifier
    position: types.Position
    items: list[Any]  # CompletionItems. Only `label` is checked

    @classmethod
    def checked(cls, given: Any) -> RankParams:
        """Check decoded JSON and convert it. Raises ValueError, whose text names the wrong member."""
        problem = _problem(given)
        if problem:
            raise ValueError(problem)
        return cls(
            textDocument=types.TextDocumentIdentifier(uri=given["textDocument"]["uri"]),
            position=types.Position(line=given["position"]["line"], character=given["position"]["character"]),
            items=given["items"],
        )


def register(server: StarlingServer) -> None:
    server.custom["starling/rank"] = RankParams
    server.converter.register_structure_hook(RankParams, lambda given, _: RankParams.checked(given))

    @server.feature("starling/rank")
    async def rank(ls: StarlingServer, params: RankParams) -> Json:  # pyright: ignore[reportUnusedFunction]
        """Rank `params.items`. Result, where lists have one entry per item unless said otherwise:

        order: item indices, the best first; scores: probabilities; stars: 0 to 5; why: index (as text) -> one line, for starred
        items; ranker: its name; complete: whether it finished before the deadline; milliseconds.
        """
        return await _rank(ls.session, params)


async def _rank(session: Session, params: RankParams) -> Json:
    ranking = await session.ranker.rank(
        {
            "textDocument": {"uri": params.textDocument.uri},
            "position": {"line": params.position.line, "character": params.position.character},
            "deadline": session.state.settings.deadline,
            "starLimit": session.state.settings.star_limit,
            "result": params.items,
        }
    )
    if ranking is None:
        raise JsonRpcException(
            "there is no ranking: the ranker is off, is still starting, or missed the deadline. "
            "See starling/status, or try again later.",
            code=wire.REQUEST_FAILED,
        )
    return {
        "order": ranking.order,
        "scores": ranking.p,
        "stars": ranking.stars,
        "why": {str(index): reasons(ranking, index) for index, stars in enumerate(ranking.stars) if stars},
        "ranker": ranking.ranker,
        "complete": ranking.complete,
        "milliseconds": ranking.milliseconds,
    }


def _problem(params: object) -> str:
    """What is wrong with the params; "" if nothing is."""
    if not wire.is_object(params):
        return "starling/rank takes {textDocument, position, items}"
    for name, kind in (("textDocument", dict), ("position", dict), ("items", list)):
        if not isinstance(params.get(name), kind):
            return f"starling/rank: '{name}' must be {'an object' if kind is dict else 'an array'}"
    if not isinstance(params["textDocument"].get("uri"), str):
        return "starling/rank: 'textDocument' needs a 'uri' (a string)"
    if not all(isinstance(params["position"].get(name), int) for name in ("line", "character")):
        return "starling/rank: 'position' needs 'line' and 'character' (integers)"
    if not all(wire.is_object(item) and isinstance(item.get("label"), str) for item in params["items"]):
        return "starling/rank: each item needs a 'label' (a string)"
    return ""
