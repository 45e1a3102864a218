"""Builds the pygls server of a session and registers the features on it: Starling's, and the user's own."""

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
    """The server of one session. `extensions`: Python files with the user's features. One that fails is shown and skipped."""
    server = StarlingServer(session)
    for feature in FEATURES:
        feature.register(server)
    for path in extensions:
        try:
            _load_extension(server, path)
        except Exception as error:  # the user's code may raise anything
            log.exception("%s can't be loaded", path)
            session.show(
                f"The feature {path} can't be loaded: {error!r}. Correct the file and start Starling again.", kind=ERROR
            )
    return server


def _load_extension(server: StarlingServer, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"starling_feature_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.register(server)
