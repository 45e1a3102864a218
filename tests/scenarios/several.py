"""One session in front of several fake servers, each with a specification and a log of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from corpus.syntax.language import languages
from lsp_server.routing.table import REGISTRABLE, TABLE
from lsp_server.settings import Settings
from tests.fakes.editor import FakeEditor, FakeRanker
from tests.scenarios.harness import Scene, until

Spec = dict[str, Any]
WHOLE_WORD = {"line": 0, "character": 0}


def dynamic(*names: str) -> dict[str, Any]:
    """Client capabilities that take registrations for these providers, or for all."""
    found: dict[str, Any] = {}
    for capability in REGISTRABLE:
        if not names or capability.key in names:
            inner = found
            for part in capability.client.split("."):
                inner = inner.setdefault(part, {})
            inner["dynamicRegistration"] = True
    if not names:
        found["workspace"]["didChangeWatchedFiles"] = {"dynamicRegistration": True}
    return found


def refreshing() -> dict[str, Any]:
    """Client capabilities that take all registrations and all refreshes."""
    found = dynamic()
    for row in TABLE:
        if row.refresh:
            inner = found
            for part in row.refresh_client.split("."):
                inner = inner.setdefault(part, {})
            inner["refreshSupport"] = True
    return found


def no_other_languages() -> dict[str, list[Any]]:
    """The setting `servers` with none for any language."""
    return {language.id: [] for language in languages().values()}


def where(uri: str) -> dict[str, Any]:
    return {"textDocument": {"uri": uri}, "position": WHOLE_WORD}


def registrations(editor: FakeEditor) -> dict[str, tuple[str, Any]]:
    """The registrations that the editor has now: id to (method, options)."""
    found: dict[str, tuple[str, Any]] = {}
    for message in editor.messages:
        params = message.get("params") or {}
        for each in params.get("registrations", ()):
            found[each["id"]] = each["method"], each["registerOptions"]
        for each in params.get("unregisterations", ()):
            del found[each["id"]]
    return found


class Several:
    """`editor` has the session; servers are known by the names that the test gave them."""

    def __init__(self, editor: FakeEditor, folder: Path) -> None:
        self.editor, self.folder = editor, folder

    def log(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def heard(self, name: str, method: str) -> list[Any]:
        """Params of each message of this method that the server got."""
        return [message.get("params") for message in self.log(name) if message.get("method") == method]

    async def until_heard(self, name: str, method: str, count: int = 1) -> list[Any]:
        return await until(lambda: found if len(found := self.heard(name, method)) >= count else None)

    def told(self, method: str) -> list[Any]:
        """Params of each message of this method that the editor got."""
        return [message.get("params") for message in self.editor.messages if message.get("method") == method]

    def registered(self) -> dict[str, Any]:
        """The options of each registration that the editor has now, by method; a test has one of each method."""
        found = registrations(self.editor)
        assert len({method for method, _ in found.values()}) == len(found), found
        return dict(found.values())

    def running(self) -> dict[str, int | None]:
        return {server.key: server.pid for server in self.editor.session.pool}


@asynccontextmanager
async def several(
    folder: Path,
    of: dict[str, dict[str, Spec]],
    *,
    ranker: FakeRanker | None = None,
    client: dict[str, Any] | None = None,
    root: Path | None = None,
    settings: Settings | None = None,
    only_these: bool = True,
    **initialize: Any,
) -> AsyncIterator[Several]:
    """`of`: languageId -> server name -> what the fake does. Other languages have none."""
    servers: dict[str, list[list[str]]] = no_other_languages() if only_these else {}
    for language_id, specs in of.items():
        commands = []
        for name, spec in specs.items():
            (folder / name).mkdir(exist_ok=True)
            commands.append(Scene(folder / name, **spec).fake)
        servers[language_id] = commands
    editor = FakeEditor(settings or Settings(ranker="off" if ranker is None else "signals"), ranker)
    more = {**initialize, **({"rootUri": root.as_uri()} if root is not None else {})}
    options = {"starling": {"servers": servers}}
    await editor.initialize(options, capabilities=dynamic() if client is None else client, **more)
    try:
        yield Several(editor, folder)
    finally:
        await editor.gone()
