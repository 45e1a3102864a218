"""starling/status: the state of every part of Starling, for the command line, health checks and tests."""

from __future__ import annotations

from typing import Any

from lsp_server.features.server import StarlingServer
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

PATIENCE = 5.0  # seconds for the ranker to answer


def register(server: StarlingServer) -> None:
    @server.feature("starling/status")
    async def status(ls: StarlingServer, params: Any) -> Json:  # pyright: ignore[reportUnusedFunction]
        """Result: wrapped servers (name, command, languages, state, pid), the ranker's pid, the settings in force, and the
        ranker's own state (null while it does not run).
        """
        session = ls.session
        answer = await session.ranker.ask("starling/status", {}, PATIENCE)
        return {
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
            "ranker": None if answer is None else wire.loads(answer),
        }
