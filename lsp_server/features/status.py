"""starling/status: what is loaded and ready. For the command line, health checks and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lsp_server import wire
from lsp_server.wire import Envelope, Id

if TYPE_CHECKING:
    from lsp_server.session import Session

PATIENCE = 5.0


async def status(session: Session, id: Id, body: bytes, envelope: Envelope) -> bytes:
    """Result: pids of the parts, the settings in force, and the ranker's own state (null while it is not there)."""
    answer = await session.ranker.ask("starling/status", {}, PATIENCE)
    backend = session.backend
    return wire.response(
        id,
        {
            "wrapped": list(backend.command) if backend is not None else None,
            "wrappedPid": backend.pid if backend is not None and backend.alive else None,
            "rankerPid": session.ranker.pid,
            "settings": {"ranker": session.settings.ranker, "deadline": session.settings.deadline},
            "ranker": None if answer is None else msgspec.Raw(answer),
        },
    )
