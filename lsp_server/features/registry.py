"""Builds a connection's pygls server with everything that is registered on it: Starling's features, and the user's own."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

from lsp_server.features import completion, rank, resolve, restart, status
from lsp_server.features.server import StarlingServer
from lsp_server.protocol.editor_link import ERROR
from lsp_server.session.session import Session

log = logging.getLogger(__name__)

FEATURES = (completion, resolve, rank, restart, status)


def build(session: Session, extensions: Sequence[Path] = ()) -> StarlingServer:
    """The server of one connection. A file of `extensions` that fails is named to the user, and costs itself."""
    server = StarlingServer(session)
    for feature in FEATURES:
        feature.register(server)
    for path in extensions:
        try:
            _extend(server, path)
        except Exception as error:  # it is the user's own code
            log.exception("%s can't be loaded", path)
            session.show(f"The feature {path} can't be loaded: {error!r}", kind=ERROR)
    return server


def _extend(server: StarlingServer, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"starling_feature_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.register(server)
