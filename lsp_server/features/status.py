"""starling/status: what is loaded and ready. For the command line, health checks and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id

if TYPE_CHECKING:
    from lsp_server.session.session import Session

PATIENCE = 5.0


async def status(session: Session, id: Id, body: bytes, envelope: Envelope) -> bytes:
    """Result: pids of the parts, the settings in force, and the ranker's own state (null while it is not there)."""
    answer = await session.ranker.ask("starling/status", {}, PATIENCE)
    return wire.response(
        id,
        {
            "servers": [
                {
                    "name": server.key,
                    "command": list(server.plan.command),
                    "languages": sorted(server.plan.language_ids),
                    "state": server.state.value,
                    "pid": server.pid,
                }
                for server in session.pool
            ],
            "rankerPid": session.ranker.pid,
            "settings": {"ranker": session.state.settings.ranker, "deadline": session.state.settings.deadline},
            "ranker": None if answer is None else msgspec.Raw(answer),
        },
    )
