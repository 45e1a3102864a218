"""starling/restart: restart wrapped servers, even those that have failed too often."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
from pygls.exceptions import JsonRpcException

from lsp_server.features.server import StarlingServer
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.servers.server import State


@attrs.frozen(kw_only=True)
class RestartParams:
    """Params of starling/restart. `server`: a name from starling/status; None restarts every server that is not idle."""

    server: str | None = None


def register(server: StarlingServer) -> None:
    server.custom["starling/restart"] = RestartParams
    server.converter.register_structure_hook(RestartParams, _checked)

    @server.feature("starling/restart")
    async def restart(ls: StarlingServer, params: RestartParams) -> Json:  # pyright: ignore[reportUnusedFunction]
        """Restart servers. Result: {"servers": [name, …]}, those that are being restarted."""
        pool = ls.session.pool
        wanted = [one for one in pool if one.key == params.server] if params.server is not None else list(pool)
        if params.server is not None and not wanted:
            names = ", ".join(one.key for one in pool)
            raise JsonRpcException(
                f"there is no wrapped server {params.server!r}; use one of: {names}", code=wire.INVALID_PARAMS
            )
        chosen = [one for one in wanted if one.state is not State.IDLE]
        await asyncio.gather(*(one.restart() for one in chosen))
        return {"servers": [one.key for one in chosen]}


def _checked(given: Any, _: object) -> RestartParams:
    name = given.get("server") if wire.is_object(given) else None
    if not (given is None or wire.is_object(given)) or not isinstance(name, str | None):
        raise ValueError("starling/restart takes {server?: string}")
    return RestartParams(server=name)
