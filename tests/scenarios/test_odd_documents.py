"""Documents that no one would write by hand: they rank at the right place, and nothing waits for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsp_server.probe import Probe, in_order
from tests.scenarios.harness import SIGNALS, URI, Scene, ranking

LIST = [{"label": name, "kind": 5} for name in ("alpha", "beta", "gamma", "value")]
CLASS = "class Box:\n    def __init__(self):\n        self.value = 1\n    def f(self):\n"
LONG = "x = 1\n" * 100_000
WIDE = "s = '" + "😀a" * 250_000 + "'\n"

DOCUMENTS = {
    "100,000 lines": LONG + CLASS + "        self.|\n" + LONG,
    "a line of 1.25 MB before": WIDE + CLASS + "        self.|\n",
    "a cursor at the end of 1.25 MB": CLASS + "        t = '" + "😀a" * 250_000 + "'; self.value; self.|\n",
    "NUL bytes": "a = '\0\0'\n" + CLASS + "        b = '\0'; self.|\n",
    "broken syntax": "def (((\n'''\n'''\nclass\n" + CLASS + "        [{( self.|\n\n)}]\n",
    "surrogate pairs": CLASS + "        t = '😀😀'; self.|\n",
    "CRLF": (CLASS + "        t = 'é'; self.|\n").replace("\n", "\r\n"),
    "CR alone": (CLASS + "        self.|\n").replace("\n", "\r"),
}


def cursor(marked: str) -> tuple[str, int, int]:
    """Text, line and UTF-16 column of the mark. Lines end as LSP says."""
    before, _, after = marked.partition("|")
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return before + after, len(lines) - 1, len(lines[-1].encode("utf-16-le")) // 2


async def check_first_is_value(probe: Probe, line: int, character: int) -> None:
    items = await probe.complete(URI, line, character)
    assert len(items) == len(LIST)
    assert in_order(items)[0]["label"].removeprefix("★ ") == "value"
    assert all("sortText" in item for item in items)


@pytest.mark.parametrize("marked", DOCUMENTS.values(), ids=DOCUMENTS)
async def test_ranked_where_the_cursor_is(tmp_path: Path, marked: str) -> None:
    scene = Scene(tmp_path, completion=LIST)
    text, line, character = cursor(marked)
    async with scene.starling(*SIGNALS) as probe:
        await ranking(probe)
        probe.open(URI, text, "python")
        await check_first_is_value(probe, line, character)
        # The same place reached by typing, one key at a time, letters outside the basic plane among them.
        end = {"line": line, "character": character}
        for version, typed in enumerate([" ", "'😀'", ";", "self", "."], 2):
            probe.change(URI, version, typed, {"start": end, "end": end})
            end = {"line": line, "character": end["character"] + len(typed.encode("utf-16-le")) // 2}
        await check_first_is_value(probe, line, end["character"])


async def test_other_requests_pass_while_a_large_document_is_read(tmp_path: Path) -> None:
    scene = Scene(tmp_path, completion=LIST)
    async with scene.starling("--ranker", "signals") as probe:
        await ranking(probe)
        text, line, character = cursor(DOCUMENTS["100,000 lines"])
        for version in range(1, 6):
            probe.open(f"{URI}{version}", text, "python")
        echoed = {"params": version}
        assert await probe.backend.request("textDocument/hover", echoed, 20) == {"echo": echoed}
        assert len(await probe.complete(f"{URI}5", line, character)) == len(LIST)
