"""Notebooks: each cell completes and is ranked like a document, whatever its wrapped server knows of notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.editor import FakeEditor, FakeRanker, editing, received_in
from tests.scenarios.harness import SIGNALS, Scene, ranking
from tests.scenarios.several import several, where

BOOK = "file:///project/a.ipynb"
ONE, TWO, THREE = (f"vscode-notebook-cell:/project/a.ipynb#{name}" for name in ("one", "two", "three"))
LIST = [{"label": "alpha", "kind": 5}, {"label": "value", "kind": 5}]
KNOWS = {"capabilities": {"notebookDocumentSync": {"notebookSelector": [{"notebook": "jupyter-notebook"}]}}}


def cell(uri: str, text: str, version: int = 1) -> dict[str, Any]:
    return {"uri": uri, "languageId": "python", "version": version, "text": text}


def opening() -> dict[str, Any]:
    cells = [{"kind": 2, "document": uri} for uri in (ONE, TWO)]
    return {
        "notebookDocument": {"uri": BOOK, "notebookType": "jupyter-notebook", "version": 1, "cells": cells},
        "cellTextDocuments": [cell(ONE, "x.value\nx.value\n"), cell(TWO, "x.")],
    }


def changing() -> dict[str, Any]:
    """Cell two goes, three comes in its place, and one is typed in."""
    end = {"line": 0, "character": 0}
    array = {"start": 1, "deleteCount": 1, "cells": [{"kind": 2, "document": THREE}]}
    structure = {"array": array, "didOpen": [cell(THREE, "z")], "didClose": [{"uri": TWO}]}
    typed = {"document": {"uri": ONE, "version": 2}, "changes": [{"range": {"start": end, "end": end}, "text": "y"}]}
    change = {"cells": {"structure": structure, "textContent": [typed]}}
    return {"notebookDocument": {"uri": BOOK, "version": 2}, "change": change}


def open_and_change(editor: FakeEditor) -> None:
    editor.notify("notebookDocument/didOpen", opening())
    editor.notify("notebookDocument/didChange", changing())


async def test_notifications_pass_to_a_single_server_as_they_come(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        open_and_change(editor)
        await editor.flushed()
        assert received_in(tmp_path, "notebookDocument/didOpen") == [opening()]
        assert received_in(tmp_path, "notebookDocument/didChange") == [changing()]
        assert received_in(tmp_path, "textDocument/didOpen") == []
        assert {document.uri: bytes(document.text.data) for document in editor.session.state.documents} == {
            ONE: b"yx.value\nx.value\n",
            THREE: b"z",
        }


async def test_a_cell_is_ranked_by_what_it_says(tmp_path: Path) -> None:
    scene = Scene(tmp_path, completion=LIST)
    async with scene.starling(*SIGNALS) as probe:
        await ranking(probe)
        given = opening()
        given["cellTextDocuments"][1]["text"] = "x.value\nx.value\nx."
        probe.backend.notify("notebookDocument/didOpen", given)
        items = await probe.complete(TWO, 2, 2)
        assert min(items, key=lambda item: item["sortText"])["label"].endswith("value")


@pytest.mark.parametrize("knows", [True, False])
async def test_a_server_that_starts_or_restarts_gets_the_notebook_as_it_is(tmp_path: Path, knows: bool) -> None:
    spec: dict[str, Any] = {**(KNOWS if knows else {}), "crash_on": ["textDocument/didSave"], "completion": LIST}
    async with several(tmp_path, {"python": {"snake": spec}}, ranker=FakeRanker()) as scene:
        open_and_change(scene.editor)
        for life in (1, 2):
            if knows:
                books = await scene.until_heard("snake", "notebookDocument/didOpen", life)
                assert [each["document"] for each in books[-1]["notebookDocument"]["cells"]] == [ONE, THREE]
                assert [each["text"] for each in books[-1]["cellTextDocuments"]] == ["yx.value\nx.value\n", "z"]
                assert scene.heard("snake", "textDocument/didOpen") == []
            else:
                cells = await scene.until_heard("snake", "textDocument/didOpen", 2 * life)
                assert {each["textDocument"]["uri"] for each in cells[-2:]} == {ONE, THREE}
                assert scene.heard("snake", "notebookDocument/didOpen") == []
            reply = await scene.editor.ask("textDocument/completion", where(THREE))
            assert len(reply["result"]) == 2
            if life == 1:
                scene.editor.notify("textDocument/didSave", {"textDocument": {"uri": THREE}})
                await scene.editor.heard("window/showMessage")


async def test_closing_a_notebook_closes_its_cells(tmp_path: Path) -> None:
    async with several(tmp_path, {"python": {"snake": {}}}) as scene:
        scene.editor.notify("notebookDocument/didOpen", opening())
        await scene.until_heard("snake", "textDocument/didOpen", 2)
        cells = [{"uri": ONE}, {"uri": TWO}]
        scene.editor.notify(
            "notebookDocument/didClose", {"notebookDocument": {"uri": BOOK}, "cellTextDocuments": cells}
        )
        closed = await scene.until_heard("snake", "textDocument/didClose", 2)
        assert [each["textDocument"]["uri"] for each in closed] == [ONE, TWO]
        assert list(scene.editor.session.state.documents) == []
