"""Builds a connection's pygls server with everything that is registered on it. A feature of one's own is a line here."""

from __future__ import annotations

from lsp_server.features import completion, rank, resolve, status
from lsp_server.features.server import StarlingServer
from lsp_server.session.session import Session

FEATURES = (completion, resolve, rank, status)


def build(session: Session) -> StarlingServer:
    """The server of one connection."""
    server = StarlingServer(session)
    for feature in FEATURES:
        feature.register(server)
    return server
