"""starling/rank: rank items that a client got elsewhere. Position, labels and kinds in; order, p and stars out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lsp_server.features.resolve import reasons
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id

if TYPE_CHECKING:
    from lsp_server.session.session import Session


async def rank(session: Session, id: Id, body: bytes, envelope: Envelope) -> bytes:
    """Params: textDocument, position, items ({label, kind?, sortText?, …}). Result: order, scores, stars, why by index, ranker, milliseconds."""
    params = wire.loads(envelope.params) if isinstance(envelope.params, msgspec.Raw) else None
    problem = _problem(params)
    if problem:
        return wire.failure(id, wire.INVALID_PARAMS, problem)
    assert isinstance(params, dict)
    ranking = await session.ranker.rank(
        {
            "textDocument": params["textDocument"],
            "position": params["position"],
            "deadline": session.state.settings.deadline,
            "starLimit": session.state.settings.star_limit,
            "result": params["items"],
        }
    )
    if ranking is None:
        return wire.failure(id, wire.REQUEST_FAILED, "no ranking: the ranker is off, still starting, or was too slow")
    return wire.response(
        id,
        {
            "order": ranking.order,
            "scores": ranking.p,
            "stars": ranking.stars,
            "why": {str(index): reasons(ranking, index) for index, stars in enumerate(ranking.stars) if stars},
            "ranker": ranking.ranker,
            "complete": ranking.complete,
            "milliseconds": ranking.milliseconds,
        },
    )


def _problem(params: object) -> str:
    if not isinstance(params, dict):
        return "starling/rank takes {textDocument, position, items}"
    for name, kind in (("textDocument", dict), ("position", dict), ("items", list)):
        if not isinstance(params.get(name), kind):
            return f"starling/rank: '{name}' is missing or no {kind.__name__}"
    if not isinstance(params["textDocument"].get("uri"), str):
        return "starling/rank: 'textDocument' needs a uri"
    if not all(isinstance(params["position"].get(name), int) for name in ("line", "character")):
        return "starling/rank: 'position' needs a line and a character"
    if not all(isinstance(item, dict) and isinstance(item.get("label"), str) for item in params["items"]):
        return "starling/rank: each item needs a label"
    return ""
