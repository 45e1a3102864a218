"""starling/rank: rank items that a client got elsewhere. Position, labels and kinds in; order, p and stars out."""

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
    """Params of starling/rank, and what its request says of them."""

    textDocument: types.TextDocumentIdentifier
    position: types.Position
    items: list[Any]  # CompletionItems; what ranking does not read of one may be anything

    @classmethod
    def checked(cls, given: Any) -> RankParams:
        """Raises ValueError, which says what is wrong."""
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
        """Result: order, scores, stars, why by index, ranker, milliseconds."""
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
            "no ranking: the ranker is off, still starting, or was too slow", code=wire.REQUEST_FAILED
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
    if not wire.is_object(params):
        return "starling/rank takes {textDocument, position, items}"
    for name, kind in (("textDocument", dict), ("position", dict), ("items", list)):
        if not isinstance(params.get(name), kind):
            return f"starling/rank: '{name}' is missing or no {kind.__name__}"
    if not isinstance(params["textDocument"].get("uri"), str):
        return "starling/rank: 'textDocument' needs a uri"
    if not all(isinstance(params["position"].get(name), int) for name in ("line", "character")):
        return "starling/rank: 'position' needs a line and a character"
    if not all(wire.is_object(item) and isinstance(item.get("label"), str) for item in params["items"]):
        return "starling/rank: each item needs a label"
    return ""
