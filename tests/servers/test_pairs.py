"""Two real servers for one language behind Starling, seen by an editor that takes registrations and refreshes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from lsp_server.probe import CLIENT_CAPABILITIES, Probe, items_of
from tests.scenarios.several import refreshing
from tests.servers.catalog import CATALOG, SAMPLES, Sample
from tests.servers.conftest import needs
from tests.servers.harness import PATIENCE, environment, names

PULL = "textDocument/diagnostic"
WRONG = "import os\nfrom tea import Teapot\n\npot: Teapot = 5\n"  # a type error, and an import that is not used
Params = dict[str, Any]

TOKENS = {
    "requests": {"full": True},
    "tokenTypes": [],
    "tokenModifiers": [],
    "formats": ["relative"],
}  # all are required
PAIRS = {
    ("basedpyright", "ruff"): (),
    ("ty", "basedpyright"): (),
    ("typescript-language-server", "vtsls"): (pytest.mark.servers,),
    ("jdtls", "jdtls"): (pytest.mark.servers,),
}


def laid(below: Params, above: Params) -> Params:
    both = {
        name: laid(below[name], above[name]) for name in below.keys() & above.keys() if isinstance(above[name], dict)
    }
    return {**below, **above, **both}


def capabilities() -> Params:
    found = laid(CLIENT_CAPABILITIES, refreshing())
    found["textDocument"]["semanticTokens"] |= TOKENS
    return found


class Editor:
    """`registered` is what the editor has by now: id to (method, options)."""

    def __init__(self, root: Path, sample: Sample) -> None:
        self.root, self.sample = root, sample
        self.registered: dict[str, tuple[str, Params]] = {}
        self.published: dict[str, list[Params]] = {}
        self.refreshed = 0
        command = [sys.executable, "-m", "lsp_server", "--stdio", "--ranker", "off"]
        self.probe = Probe(command, hear=self._hear)

    def _hear(self, method: str, params: Any) -> None:
        if method == "textDocument/publishDiagnostics":
            self.published[params["uri"]] = params["diagnostics"]
        self.refreshed += method == "workspace/diagnostic/refresh"
        for each in (params or {}).get("registrations", ()) if isinstance(params, dict) else ():
            self.registered[each["id"]] = each["method"], each.get("registerOptions") or {}
        for each in (params or {}).get("unregisterations", ()) if isinstance(params, dict) else ():
            del self.registered[each["id"]]

    def offers(self, method: str) -> list[Params]:
        return [options for name, options in self.registered.values() if name == method]

    def uri(self, file: str = "") -> str:
        return (self.root / (file or self.sample.file)).as_uri()

    def at(self, word: str) -> Params:
        """Just after the first letter of the first such word in the sample's file."""
        before = (self.root / self.sample.file).read_text().split(word)[0]
        place = {"line": before.count("\n"), "character": len(before.split("\n")[-1]) + 1}
        return {"textDocument": {"uri": self.uri()}, "position": place}

    async def ask(self, method: str, params: Params) -> Any:
        return await self.probe.backend.request(method, params, PATIENCE)

    async def problems(self, uri: str) -> list[Params]:
        """Those that an editor shows: what was published, and what it pulls."""
        pulled = (await self.ask(PULL, {"textDocument": {"uri": uri}}))["items"] if self.offers(PULL) else []
        return [*self.published.get(uri, ()), *pulled]


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(PATIENCE):
        while not (found := await condition()):
            await asyncio.sleep(0.1)
    return found


@asynccontextmanager
async def editing(folder: Path, language: str, sample: Sample, servers: list[Any]) -> AsyncIterator[Editor]:
    root = Path(shutil.copytree(SAMPLES / sample.folder, folder / "project"))
    with environment(folder / "home"):
        editor = Editor(root, sample)
        options = {"starling": {"servers": {language: servers}}}
        await editor.probe.start(root, options=options, capabilities=capabilities())
    try:
        editor.probe.open(editor.uri(), (root / sample.file).read_text(), sample.language_id)
        yield editor
    finally:
        await editor.probe.stop()


async def both_run(editor: Editor) -> list[int]:
    """The pids of the servers, once both run."""

    async def running() -> list[int]:
        servers = (await editor.ask("starling/status", {}))["servers"]
        own = [each["pid"] for each in servers if editor.sample.language_id in each["languages"]]
        return own if len(own) == 2 and all(own) and [s["state"] for s in servers].count("running") == 2 else []

    return await until(running)


@pytest.mark.parametrize("pair", [pytest.param(pair, id="+".join(pair), marks=marks) for pair, marks in PAIRS.items()])
async def test_two_servers_are_one_to_the_editor(tmp_path: Path, pair: tuple[str, str]) -> None:
    first = needs(CATALOG[pair[0]])
    sample = first.sample
    language = sample.folder
    second: Any = {"server": pair[1]} if pair[0] != pair[1] else {"server": pair[1], "env": {"SECOND": "1"}}
    async with editing(tmp_path, language, sample, [pair[0], second]) as editor:
        await both_run(editor)
        await until(lambda: _true(bool(editor.offers("textDocument/hover"))))
        hover = await until(lambda: editor.ask("textDocument/hover", editor.at(sample.hovered)))
        texts = hover["contents"]["value"].split("\n\n---\n\n") if isinstance(hover["contents"], dict) else [""]
        assert len(set(texts)) == len(texts)
        references = await until(
            lambda: editor.ask(
                "textDocument/references", {**editor.at(sample.hovered), "context": {"includeDeclaration": True}}
            )
        )
        places = Counter((each["uri"], str(each["range"])) for each in references)
        assert set(places.values()) == {1}
        await asyncio.sleep(1)  # a server may still register something
        for method in {method for method, _ in editor.registered.values()}:
            of_each = [
                {each.get("language") for each in options.get("documentSelector") or ()}
                for options in editor.offers(method)
            ]
            languages = Counter(language for of in of_each for language in of)
            assert max(languages.values(), default=1) == 1, (method, editor.offers(method))


async def _true(value: bool) -> bool:
    return value


async def test_a_checkers_and_a_linters_problems_are_shown_together(tmp_path: Path) -> None:
    sample = needs(CATALOG["basedpyright"]).sample
    async with editing(tmp_path, "python", sample, ["basedpyright", "ruff"]) as editor:
        uri = editor.uri("wrong.py")
        editor.probe.open(uri, WRONG, "python")

        async def both() -> bool:
            return {"basedpyright", "Ruff"} <= {str(each.get("source")) for each in await editor.problems(uri)}

        await until(both)
        found = Counter((each["source"], each["code"]) for each in await editor.problems(uri))
        assert {("basedpyright", "reportAssignmentType"), ("Ruff", "F401")} <= found.keys()
        assert set(found.values()) == {1}
        checker, linter = sorted(await both_run(editor), key=lambda pid: "ruff" in psutil.Process(pid).name())
        before = editor.refreshed
        os.kill(linter, signal.SIGKILL)
        assert psutil.pid_exists(checker)
        await until(lambda: _true(editor.refreshed > before))
        await until(both)


async def test_items_come_once_and_name_what_the_checker_knows(tmp_path: Path) -> None:
    sample = needs(CATALOG["basedpyright"]).sample
    async with editing(tmp_path, "python", sample, ["basedpyright", "ruff"]) as editor:
        await both_run(editor)
        lines = (editor.root / sample.file).read_text().split("\n")
        row = next(number for number, line in enumerate(lines) if "HERE" in line)
        lines[row] = lines[row][: lines[row].index("#")] + sample.member
        editor.probe.change(editor.uri(), 2, "\n".join(lines))
        place = {"line": row, "character": len(lines[row])}

        async def listed() -> Any:
            result = await editor.ask(
                "textDocument/completion", {"textDocument": {"uri": editor.uri()}, "position": place}
            )
            return result if sample.sees <= names(result) else None

        result = await until(listed)
        assert max(Counter(item["label"] for item in items_of(result)).values()) == 1


async def test_the_checkers_own_level_is_standard_unless_the_editor_says_otherwise(tmp_path: Path) -> None:
    """basedpyright's "recommended" has a warning for a parameter without a type; its "standard" has none."""
    sample = needs(CATALOG["basedpyright"]).sample
    text = "def f(x): return x\n\ny: int = ''\n"
    for number, (servers, missing) in enumerate({
        (("server", "basedpyright"),): False,
        (("server", "basedpyright"), ("settings", "recommended")): True,
    }.items()):  # fmt: skip
        described: Params = dict(servers)
        if "settings" in described:
            described["settings"] = {"basedpyright": {"analysis": {"typeCheckingMode": described["settings"]}}}
        (tmp_path / str(number)).mkdir()
        async with editing(tmp_path / str(number), "python", sample, [described]) as editor:
            uri = editor.uri("untyped.py")
            editor.probe.open(uri, text, "python")
            problems = await until(lambda editor=editor, uri=uri: editor.problems(uri))
            codes = {each["code"] for each in problems}
            assert ("reportMissingParameterType" in codes, "reportAssignmentType" in codes) == (missing, True), codes
