"""The ranker by itself: what it knows of the files beside the one being edited, and when."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from corpus.usage.building import table_of_counts
from corpus.usage.counts import Counts
from lsp_server.ranking.ranker import Ranker
from lsp_server.ranking.workspace import FOLDERS
from tuning.ranking.serving.index.repeats import Nearby
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex
from tuning.ranking.serving.model import adapter_registry

SIBLING = "def check(self, value):\n    if value is None:\n        return self.default.copy\n"
TEXT = "def check(self, value):\n    if value is None:\n        return self.fallback."
LIST = json.dumps([{"label": name, "kind": 5} for name in ("alpha", "beta", "copy", "value")]).encode()


async def opened(root: Path, *documents: Path, text: str = TEXT, log_accepted: bool = False) -> Ranker:
    """A ranker over `root` with its index built and these documents open."""
    ranker = Ranker(base="", adapter="", cache_dir=None, log_accepted=log_accepted)
    ranker.open({"encoding": "utf-16", "roots": [root.as_uri()]})
    while ranker.workspace.index is None or not ranker.workspace.index.ready:
        await asyncio.sleep(0.01)
    for path in documents:
        ranker.did_open({"textDocument": {"uri": path.as_uri(), "languageId": "python", "text": text}})
        await kept_up(ranker)
    return ranker


async def kept_up(ranker: Ranker) -> None:
    """Wait for what upkeep was asked for so far."""
    await asyncio.wrap_future(ranker.workspace._upkeep.submit(lambda: None))  # pyright: ignore[reportPrivateUsage]


def at_end(path: Path, text: str) -> dict[str, Any]:
    """What asks for a list at a text's end."""
    position = {"line": text.count("\n"), "character": len(text.rpartition("\n")[2])}
    return {"textDocument": {"uri": path.as_uri()}, "position": position, "starLimit": 5, "deadline": 1000}


async def ratio(ranker: Ranker, path: Path, text: str = TEXT) -> float:
    """How much likelier `copy` is than `value`."""
    found = await ranker.rank(at_end(path, text), LIST, lambda _: None, 0.0)
    assert found is not None
    p = found["p"]
    return p[2] / p[3]


async def test_what_a_file_beside_this_one_writes_in_its_place_is_likelier(tmp_path: Path) -> None:
    document = tmp_path / "own.py"
    alone = await ratio(await opened(tmp_path, document), document)
    (tmp_path / "sibling.py").write_text(SIBLING)
    assert await ratio(await opened(tmp_path, document), document) > 2 * alone


async def test_files_that_come_and_go_are_heard_of(tmp_path: Path) -> None:
    document, sibling = tmp_path / "own.py", tmp_path / "sibling.py"
    ranker = await opened(tmp_path, document)
    alone = await ratio(ranker, document)
    sibling.write_text(SIBLING)
    ranker.did_change_files({"changes": [{"uri": sibling.as_uri(), "type": 1}]})
    await kept_up(ranker)
    beside = await ratio(ranker, document)
    assert beside > 2 * alone
    sibling.unlink()
    ranker.did_change_files({"changes": [{"uri": sibling.as_uri(), "type": 3}]})
    await kept_up(ranker)
    assert await ratio(ranker, document) < beside


async def test_of_a_folder_that_is_deleted_no_file_counts(tmp_path: Path) -> None:
    """An editor reports the folder alone."""
    (tmp_path / "package").mkdir()
    for name in ("a.py", "b.py"):
        (tmp_path / "package" / name).write_text(SIBLING)
    ranker = await opened(tmp_path, tmp_path / "own.py")
    index = ranker.workspace.index
    assert index is not None and index.files == 2
    shutil.rmtree(tmp_path / "package")
    other = {"uri": (tmp_path / "notes.txt").as_uri(), "type": 2}
    ranker.did_change_files({"changes": [other, {"uri": (tmp_path / "package").as_uri(), "type": 3}]})
    await kept_up(ranker)
    assert index.files == 0


async def test_an_open_file_counts_for_itself_alone(tmp_path: Path) -> None:
    document = tmp_path / "own.py"
    document.write_text(SIBLING)
    assert await ratio(await opened(tmp_path, document), document) == await ratio(
        await opened(tmp_path / "elsewhere", document), document
    )


async def test_few_folders_are_held_and_one_that_was_dropped_is_read_again(tmp_path: Path) -> None:
    documents = [tmp_path / str(number) / "own.py" for number in range(FOLDERS + 2)]
    for document in documents:
        document.parent.mkdir()
        (document.parent / "sibling.py").write_text(SIBLING)
    ranker = await opened(tmp_path, *documents)
    assert len(ranker.workspace._nearby) == FOLDERS  # pyright: ignore[reportPrivateUsage]
    dropped = await ratio(ranker, documents[0])
    await kept_up(ranker)
    assert await ratio(ranker, documents[0]) > dropped


async def test_upkeep_that_fails_is_logged_and_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(index: WorkspaceIndex, folder: str) -> Nearby:
        raise RuntimeError(f"can't look around {folder}")

    monkeypatch.setattr(WorkspaceIndex, "nearby", broken)
    document = tmp_path / "own.py"
    ranker = await opened(tmp_path, document)
    assert await ratio(ranker, document) > 0
    assert "upkeep failed" in caplog.text and "can't look around" in caplog.text


async def test_a_document_gets_the_adapter_of_its_workspace_unless_the_user_named_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_registry, "home", lambda kind="adapters": tmp_path / kind)
    monkeypatch.setattr(adapter_registry, "LOOK_AGAIN", 0.0)
    made, root = tmp_path / "made", tmp_path / "shop"
    made.mkdir()
    root.mkdir()
    inside, outside = root / "own.py", tmp_path / "other.py"
    ranker = await opened(root, inside, outside)

    def adapter(path: Path) -> str:
        return ranker._adapter_for(path.as_uri())  # pyright: ignore[reportPrivateUsage]

    assert adapter(inside) == ""
    installed = adapter_registry.install(
        "shop", made, adapter_registry.Card(base="", workspaces=[str(root)], languages=["python"])
    )
    assert adapter(inside) == str(installed.folder)  # from now on, without a new start
    assert adapter(outside) == ""
    adapter_registry.roll_back("shop")
    assert adapter(inside) == ""
    installed = adapter_registry.install("shop", made, adapter_registry.Card(base="", workspaces=[str(root)]))
    linked = tmp_path / "link" / "own.py"
    linked.parent.symlink_to(root)
    ranker.did_open({"textDocument": {"uri": linked.as_uri(), "languageId": "python", "text": TEXT}})
    assert adapter(linked) == str(installed.folder)
    ranker._adapter = "none"  # pyright: ignore[reportPrivateUsage]
    assert adapter(inside) == "none"


async def test_a_document_is_ranked_by_the_usage_table_of_its_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_registry, "home", lambda kind: tmp_path / kind)
    monkeypatch.setattr(adapter_registry, "LOOK_AGAIN", 0.0)
    made, root = tmp_path / "made", tmp_path / "shop"
    made.mkdir()
    root.mkdir()
    document = root / "own.py"
    ranker = await opened(root, document, text="import shelf\nshelf.")
    offered = json.dumps([{"label": name, "kind": 3} for name in ("alpha", "beta", "restock", "value")]).encode()
    asked = {"textDocument": {"uri": document.as_uri()}, "position": {"line": 1, "character": 6}}

    async def first() -> tuple[int, list[int]]:
        reply = await ranker.rank({**asked, "deadline": 0, "starLimit": 3}, offered, lambda early: None, 0.0)
        assert reply is not None
        return reply["order"][0], reply["projects"]

    before, _ = await first()
    uses = {"m": {"restock": 1}, "m shelf": {"restock": 1}, "m< shelf": {"restock": 1}}
    table_of_counts(Counts.together([Counts.of_one(uses)] * 5), 5, fewest=1).save(made / "python.usage")
    card = adapter_registry.Card(base="", workspaces=[str(root)])
    adapter_registry.install("shop", made, card, adapter_registry.USAGE)
    after, projects = await first()  # without a new start, and though the text is the same
    assert before != 2 and after == 2
    assert projects[2] == 5
    adapter_registry.roll_back("shop", adapter_registry.USAGE)
    assert (await first())[0] == before


async def test_a_one_letter_import_is_no_match_for_the_letter_typed(tmp_path: Path) -> None:
    """VS Code puts what equals the typed word first, whatever the order."""
    document, text = tmp_path / "own.py", "value = 1\nprint(v"
    offered = [
        {"label": "V", "kind": 21, "additionalTextEdits": [{"newText": "from re import V\n"}]},
        {"label": "value", "kind": 6},
        {"label": "v", "kind": 6},
    ]
    ranker = await opened(tmp_path, document, text=text)
    found = await ranker.rank(at_end(document, text), json.dumps(offered).encode(), lambda _: None, 0.0)
    assert found is not None
    assert found["order"][0] == 1
    assert found["unequal"] == [0]  # `v` itself may be what is meant


async def test_overloads_share_their_names_probability(tmp_path: Path) -> None:
    document, text = tmp_path / "own.py", "value = 1\nprint(v"
    ranker = await opened(tmp_path, document, text=text)

    async def p(*labels: str) -> list[float]:
        offered = json.dumps([{"label": label, "kind": 3} for label in labels]).encode()
        found = await ranker.rank(at_end(document, text), offered, lambda _: None, 0.0)
        assert found is not None
        return found["p"]

    once, twice, ruled_out = await p("value", "vast"), await p("value", "value", "vast"), await p("value", "other")
    assert once[0] == pytest.approx(1 - once[1], abs=1e-3)
    assert twice[0] == pytest.approx(twice[1], abs=0.05) == pytest.approx(1 - twice[2], abs=1e-3)
    assert ruled_out == [1, 0]
