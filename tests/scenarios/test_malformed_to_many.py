"""Requests and notifications with a part that is missing or of another kind, where two servers offer everything.

The servers answer with results made in the same way. A defect of ours fails the test (tests/conftest.py).
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from lsp_server.routing.table import TABLE
from tests.reliability.odd_messages import NOTIFICATIONS, RANGE, REQUESTS, WEIRD, WILD, paths, replaced, without
from tests.scenarios.harness import until
from tests.scenarios.several import dynamic, several

ROUNDS = 3
SPAN = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
EDIT = {"range": SPAN, "newText": "x"}
RESULTS: dict[str, Any] = {
    "textDocument/hover": {"contents": ["a", {"language": "x", "value": "b"}], "range": SPAN},
    "textDocument/references": [{"uri": WILD, "range": SPAN}],
    "textDocument/definition": [{"targetUri": WILD, "targetRange": SPAN, "targetSelectionRange": SPAN}],
    "textDocument/diagnostic": {"kind": "full", "resultId": "1", "items": [{"range": SPAN, "message": "m"}]},
    "workspace/diagnostic": {"items": [{"kind": "full", "uri": WILD, "version": 1, "items": []}]},
    "workspace/willRenameFiles": {
        "changes": {WILD: [EDIT]},
        "documentChanges": [{"textDocument": {"uri": WILD, "version": 1}, "edits": [{**EDIT, "annotationId": "a"}]}],
        "changeAnnotations": {"a": {"label": "a"}},
    },
    "textDocument/willSaveWaitUntil": [EDIT],
    "textDocument/codeAction": [{"title": "t", "data": {"x": 1}}],
    "textDocument/semanticTokens/full": {"resultId": "1", "data": [0, 0, 1, 0, 0]},
    "textDocument/prepareCallHierarchy": [
        {"name": "f", "kind": 1, "uri": WILD, "range": RANGE, "selectionRange": RANGE}
    ],
    "workspace/symbol": [{"name": "x", "kind": 1, "data": 1}],
}
SERVER_SAYS: dict[str, Any] = {
    "textDocument/publishDiagnostics": {"uri": WILD, "diagnostics": [{"range": SPAN, "message": "m"}]},
    "client/registerCapability": {
        "registrations": [
            {
                "id": "a",
                "method": "textDocument/hover",
                "registerOptions": {"documentSelector": [{"language": "python"}]},
            },
            {
                "id": "b",
                "method": "workspace/didChangeWatchedFiles",
                "registerOptions": {"watchers": [{"globPattern": "**/*.py"}]},
            },
        ]
    },
    "client/unregisterCapability": {"unregisterations": [{"id": "a", "method": "textDocument/hover"}]},
    "$/progress": {"token": "t", "value": {"kind": "begin", "title": "x"}},
    "window/workDoneProgress/create": {"token": "t"},
    "workspace/configuration": {"items": [{"section": "x"}]},
}


def everything() -> dict[str, Any]:
    """Capabilities with every row of the table."""
    found: dict[str, Any] = {}
    for row in TABLE:
        inner = found
        *path, last = row.key.split(".") if row.key else ("",)
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = {"filters": [{"pattern": {"glob": "**"}}], "legend": {}, "full": True, "resolveProvider": True}
    found.pop("", None)
    found["executeCommandProvider"] = {"commands": ["x"]}
    return found


def mutated(rng: random.Random, value: Any) -> Any:
    """With one member, at any depth, taken away or of another kind; sometimes as it is."""
    path = rng.choice(list(paths(value)))
    chance = rng.random()
    if chance < 0.15:
        return value
    return without(value, path) if chance < 0.3 and path else replaced(value, path, rng.choice(WEIRD))


@pytest.mark.parametrize("seed", range(4))
async def test_each_request_is_answered(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    specs = {
        name: {
            "capabilities": everything(),
            "results": {method: mutated(rng, result) for method, result in RESULTS.items()},
        }
        for name in ("one", "two")
    }
    async with several(tmp_path, {"python": specs}, client=dynamic()) as scene:
        editor = scene.editor
        editor.open("x = 1\n", WILD)
        await until(lambda: all(s.state.value == "running" for s in editor.session.pool if s.handles("python")))
        asked: list[Any] = []
        for _ in range(ROUNDS):
            for method, params in rng.sample([*REQUESTS.items()], len(REQUESTS)):
                if method != "initialize":
                    asked.append(editor.request(method, mutated(rng, params)))
            for method, params in rng.sample([*NOTIFICATIONS.items()], len(NOTIFICATIONS)):
                if method not in ("initialized", "textDocument/didClose"):
                    editor.notify(method, mutated(rng, params))
            for method, params in SERVER_SAYS.items():
                message = {"method": method, "params": mutated(rng, params)}
                editor.make_server_send({"id": 1, **message} if method.startswith(("client", "w")) else message)
        for id in asked:
            await editor.reply(id)
            assert len(editor.replies(id)) == 1
