"""Real wrapped servers alone and through Starling: the same items, the same inserted text, Starling's order."""

import shutil
from pathlib import Path

import pytest

from lsp_server.presets import by_name
from lsp_server.probe import Probe, in_order, items_of
from lsp_server.wire import Json
from tests.scenarios.harness import Scene, ranking

EXAMPLE = Path(__file__).parent.parent / "examples" / "shop.py"
LINE = 29


def essence(item: Json) -> tuple:
    """What an item would do to the text, and what it is found by."""
    label = item["label"].removeprefix("★ ")
    edit = item.get("textEdit") or item.get("insertText") or label
    return label, item.get("kind"), str(edit), item.get("filterText", label), str(item.get("additionalTextEdits"))


async def listed(probe: Probe, path: Path, prefix: str) -> list[Json]:
    lines = path.read_text().split("\n")
    lines[LINE] += prefix
    probe.open(path.as_uri(), "\n".join(lines), "python")
    if probe.result["capabilities"].get("experimental", {}).get("starling"):
        await ranking(probe)
    column = len(lines[LINE].encode("utf-16-le")) // 2
    if probe.result["capabilities"].get("positionEncoding") == "utf-8":
        column = len(lines[LINE].encode())
    return items_of(await probe.complete(path.as_uri(), LINE, column))


@pytest.mark.parametrize("name", ["basedpyright", "ty"])
@pytest.mark.parametrize("prefix", ["", "name; note = '😀'; self."])
async def test_same_items_in_starlings_order(tmp_path: Path, name: str, prefix: str) -> None:
    scene = Scene(tmp_path)
    root = tmp_path / "project"
    root.mkdir()
    path = Path(shutil.copy(EXAMPLE, root / "shop.py"))
    command = by_name(name).command
    alone, through = Probe(command), Probe([*scene.command("--ranker", "signals")[:-3], *command])
    await alone.start(root)
    await through.start(root)
    before, after = await listed(alone, path, prefix), await listed(through, path, prefix)
    assert [essence(item) for item in after] == [essence(item) for item in before]
    ordered = in_order(after)
    if not prefix:
        own = {"add", "discount", "items", "remove", "total"}
        assert {item["label"].removeprefix("★ ") for item in ordered[:5]} == own
    assert sum(item["label"].startswith("★ ") for item in after) <= 5
    resolved = await through.backend.request("completionItem/resolve", ordered[0], 20)
    assert "★ Starling: p " in str(resolved["documentation"])
    where = {"textDocument": {"uri": path.as_uri()}, "position": {"line": 8, "character": 8}}
    hovers = [await probe.backend.request("textDocument/hover", where, 20) for probe in (alone, through)]
    assert hovers[0] == hovers[1]
    await alone.stop()
    await through.stop()
