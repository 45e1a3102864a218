"""python -m benchmarks.latency: a wrapped server alone and through Starling, alternating, in one run.

    python -m benchmarks.latency --server ty --parts start,completion --rankers signals
    python -m benchmarks.latency --beside ../before/.venv/bin/python      also an earlier revision, installed there

Copies source of installed libraries into a workspace of its own, opens real files, types real lines and asks for
members after a dot. Prints medians and tails of each side and of the paired differences.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.fixed_list import fixed_list
from corpus.syntax.language import languages
from lsp_server.features.items import ItemList, Marks, ranked
from lsp_server.jsonrpc import wire
from lsp_server.probe import Probe, items_of
from lsp_server.ranking.ranker_client import Ranking
from lsp_server.servers.presets import by_name
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex

console = Console()
MEMBER = re.compile(r"^\s+[^#\"']*\b\w+\.(\w+)")
KEY_SECONDS = 0.15
REST = 0.3  # seconds between sides, in which what the last one does behind its answer ends
STARTS = 7
INDEX_BYTES = 50_000_000
Side = TypeVar("Side")


@dataclass(frozen=True, kw_only=True)
class Position:
    path: Path
    line: int
    column: int  # where the member's name starts
    text: str  # the file with the name and the rest of its line removed


def main() -> None:
    """Run every part, or those named."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", default="basedpyright", help="preset to wrap (default: %(default)s)")
    options.add_argument("--positions", type=int, default=200)
    options.add_argument("--files", type=int, default=5000, help="files in the workspace (default 5000)")
    options.add_argument("--rankers", default="signals,model", help="comma-separated (default signals,model)")
    options.add_argument("--parts", default="start,completion,index,large,memory", help="default: all")
    options.add_argument("--edits", type=int, default=10_000, help="edits and completions of the memory part")
    options.add_argument("--keys", type=int, default=4, help="keys typed before each warm completion (default 4)")
    options.add_argument("--beside", metavar="PYTHON", help="measure the Starling of this interpreter as well")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    pythons = {"through": sys.executable, **({"beside": given.beside} if given.beside else {})}
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as folder:
        root = Path(folder).resolve()
        parts = given.parts.split(",")
        positions: list[Position] = []
        if {"start", "completion", "index"} & set(parts):
            workspace(root, given.files)
            positions = sample(root, given.positions, given.seed)
        if "start" in parts:
            asyncio.run(start_and_pass_through(root, positions, given.server, pythons))
        if "completion" in parts:
            for ranker in given.rankers.split(","):
                asyncio.run(completions(root, positions, given.server, ranker, given.keys, pythons))
        if "index" in parts:
            index_speed(root)
        if "large" in parts:
            asyncio.run(large_list(root, pythons))
        if "memory" in parts:
            asyncio.run(memory(root, given.edits))


def workspace(root: Path, files: int) -> None:
    """Copy `files` source files of installed libraries to `root`."""
    library = Path(sysconfig.get_paths()["purelib"])
    names = sorted(library.glob("*/**/*.py"), key=lambda path: (path.parts[len(library.parts)] != "rich", str(path)))
    kept = [path for path in names if 500 < path.stat().st_size < 200_000][:files]
    for path in kept:
        target = root / path.relative_to(library)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    console.print(f"workspace: {len(kept)} files, {sum(path.stat().st_size for path in kept) / 1e6:.1f} MB")


def sample(root: Path, count: int, seed: int) -> list[Position]:
    """Members at empty prefix, at most four a file."""
    generator = random.Random(seed)
    files = sorted((root / "rich").rglob("*.py"))
    found: list[Position] = []
    for path in files:
        lines = path.read_text("utf-8", "replace").split("\n")
        matches = [(number, match) for number, line in enumerate(lines) if (match := MEMBER.match(line))]
        for number, match in generator.sample(matches, min(4, len(matches))):
            cut = [*lines[:number], lines[number][: match.start(1)], *lines[number + 1 :]]
            found.append(Position(path=path, line=number, column=match.start(1), text="\n".join(cut)))
    generator.shuffle(found)
    return found[:count]


def sides(command: Sequence[str], ranker: str, pythons: Mapping[str, str]) -> dict[str, list[str]]:
    """The wrapped server alone, and through the Starling of each interpreter: what to start, by name."""
    starling = ["-P", "-m", "lsp_server", "--stdio", "--ranker", ranker, "--", *command]
    return {"alone": list(command), **{name: [python, *starling] for name, python in pythons.items()}}


async def started(commands: Mapping[str, Sequence[str]], root: Path) -> dict[str, Probe]:
    probes = {name: Probe(command) for name, command in commands.items()}
    for probe in probes.values():
        await probe.start(root)
    return probes


def turn(sides: Mapping[str, Side], count: int) -> tuple[tuple[str, Side], ...]:
    """The sides in every order in turn: who comes after whom makes milliseconds."""
    orders = list(itertools.permutations(sides.items()))
    return orders[count % len(orders)]


async def stopped(probes: Mapping[str, Probe]) -> None:
    await asyncio.gather(*(probe.stop() for probe in probes.values()))


async def start_and_pass_through(
    root: Path, positions: Sequence[Position], server: str, pythons: Mapping[str, str]
) -> None:
    """The answer to initialize, and hover while index and model are at work."""
    commands = sides(by_name(server).command, "model", pythons)
    times: dict[str, list[float]] = {side: [] for side in commands}
    for count in range(12):
        for side, command in turn(commands, count):
            probe = Probe(command)
            begun = time.perf_counter()
            await probe.start(root)
            times[side].append((time.perf_counter() - begun) * 1000)
            await probe.stop()
    show("initialize (process start to answer), ms", times)
    await model_starts(root, commands, pythons)
    probes = await started(commands, root)  # from here on index and model are loading
    hovers: dict[str, list[float]] = {side: [] for side in probes}
    for position in track(positions[:100], "hover", console=console, transient=True):
        uri = position.path.as_uri()
        params = {
            "textDocument": {"uri": uri},
            "position": {"line": position.line, "character": position.column - 2},
        }
        for probe in probes.values():
            probe.open(uri, position.text, "python" if position.path.suffix == ".py" else "")
            await probe.backend.request("textDocument/hover", params, 60)
        for _ in range(3):
            for side, probe in turn(probes, len(hovers["alone"])):
                begun = time.perf_counter()
                await probe.backend.request("textDocument/hover", params, 60)
                hovers[side].append((time.perf_counter() - begun) * 1000)
        for probe in probes.values():
            probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    show("hover, while index and model load and after, ms", hovers)
    await stopped(probes)


async def model_starts(root: Path, commands: Mapping[str, Sequence[str]], pythons: Iterable[str]) -> None:
    """From the process's start until the model is ready, while the index is read or built."""
    times: dict[str, list[float]] = {side: [] for side in pythons}
    for _ in range(STARTS):
        for side in times:
            probe = Probe(commands[side])
            begun = time.perf_counter()
            await probe.start(root)
            await settled(probe, quiet=True, index=False)
            times[side].append((time.perf_counter() - begun) * 1000)
            await probe.stop()
    for side, values in times.items():
        console.print(
            f"model ready {statistics.median(values):.0f} ms after the process's start, {side} (median of {STARTS})"
        )


async def completions(
    root: Path, positions: Sequence[Position], server: str, ranker: str, keys: int, pythons: Mapping[str, str]
) -> None:
    """Members after a dot: cold (the file was just opened) and warm (its line's last keys were typed)."""
    probes = await started(sides(by_name(server).command, ranker, pythons), root)
    for side in pythons:
        await settled(probes[side])
    cold: dict[str, list[float]] = {side: [] for side in probes}
    warm: dict[str, list[float]] = {side: [] for side in probes}
    version = 1
    for count, position in enumerate(track(positions, f"completion, {ranker}", console=console, transient=True)):
        uri = position.path.as_uri()
        typed = position.text.split("\n")[position.line][: position.column][-keys:]
        start = position.column - len(typed)
        for side, probe in turn(probes, count):
            await asyncio.sleep(REST)
            probe.open(uri, position.text, "python")
            begun = time.perf_counter()
            await probe.complete(uri, position.line, position.column, 60)
            cold[side].append((time.perf_counter() - begun) * 1000)
            version += 1
            probe.change(uri, version, "", span(position.line, start, position.column))
            for offset, letter in enumerate(typed):
                await asyncio.sleep(KEY_SECONDS)
                version += 1
                probe.change(uri, version, letter, span(position.line, start + offset, start + offset))
            begun = time.perf_counter()
            await probe.complete(uri, position.line, position.column, 60)
            warm[side].append((time.perf_counter() - begun) * 1000)
            probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    show(f"completion, {ranker}, warm (line typed at 150 ms a key), ms", warm)
    show(f"completion, {ranker}, cold (file just opened), ms", cold)
    await stopped(probes)


def span(line: int, start: int, end: int) -> dict[str, dict[str, int]]:
    return {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}


async def settled(probe: Probe, *, quiet: bool = False, index: bool = True) -> None:
    """Wait for the model, and for the index too if asked."""
    while True:
        status = (await probe.backend.request("starling/status", {}, 30))["ranker"]
        if status is not None and (status["index"] or not index) and status["model"] != "loading":
            if not quiet:
                console.print(f"ready: index of {status['files']} files, model {status['model']} {status['reason']}")
            return
        await asyncio.sleep(0.02)


def index_speed(root: Path) -> None:
    """How fast the workspace's files are taken in by one core, what they take in memory, and how soon a restart has them."""
    suffixes = {suffix for language in languages().values() for suffix in language.extensions}
    with tempfile.TemporaryDirectory(prefix="starling-index-") as cache:
        for when in ("built", "restarted"):
            index = WorkspaceIndex([root], suffixes, cache_dir=Path(cache), max_bytes=INDEX_BYTES)
            started = time.perf_counter()
            index.build()
            seconds = time.perf_counter() - started
            console.print(
                f"index {when}: {index.files} files, {index.bytes / 1e6:.1f} MB in {seconds:.2f} s "
                f"({index.bytes / 1e6 / seconds:.1f} MB/s), {index.memory_bytes / 1e6:.0f} MB of memory"
            )


async def large_list(root: Path, pythons: Mapping[str, str]) -> None:
    """A list of 5,000 items from a server that has it at hand: all the difference is Starling's."""
    items = [
        {
            "label": f"name_{number}",
            "kind": 5,
            "sortText": f"11{number:05d}",
            "data": {"uri": "file:///example", "position": {"line": 4, "character": 3}, "rest": "x" * 300},
        }
        for number in range(5000)
    ]
    command, close = fixed_list(root, {"isIncomplete": False, "items": items})
    document = {"uri": "file:///example/a.txt"}
    asked = {"textDocument": document, "position": {"line": 0, "character": 2}, "items": items}
    for ranker in ("off", "signals"):
        probes = await started(sides(command, ranker, pythons), root)
        times: dict[str, list[float]] = {side: [] for side in probes}
        for probe in probes.values():
            probe.open(document["uri"], "a.\n", "plaintext")
        for side in pythons if ranker != "off" else ():
            await settled(probes[side])
        rankings: list[dict[str, float]] = []
        for count in range(24):
            for side, probe in turn(probes, count):
                begun = time.perf_counter()
                answer = await probe.complete(document["uri"], 0, 2)
                times[side].append((time.perf_counter() - begun) * 1000)
                assert len(items_of(answer)) == 5000
            if ranker != "off":
                rankings.append(await probes["through"].backend.request("starling/rank", asked, 30))
        show(f"5,000 items ({len(json.dumps(items)) / 1e6:.1f} MB), ranker {ranker}, ms", times)
        if rankings:
            own = statistics.median(ranking["milliseconds"] for ranking in rankings)
            console.print(f"of it in the ranker process, median: {own:.1f} ms")
            console.print(f"of it reading and writing the list in the server process: {own_work(items):.1f} ms")
        await stopped(probes)
    close()


def own_work(items: list[dict[str, Any]], times: int = 9) -> float:
    """Milliseconds, median: all that the server process does with a list besides moving its bytes."""
    body = wire.response(1, {"isIncomplete": False, "items": items})
    n = len(items)
    laid = Ranking(
        order=list(reversed(range(n))), p=[0.1] * n, places=list(range(n)), uses_here=[1] * n, uses_workspace=[1] * n,
        stars=[5] * 5 + [0] * (n - 5), ranker="signals", complete=True, milliseconds=1.0,
    )  # fmt: skip
    encoded = msgspec.json.encode(laid)
    taken: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        message = wire.fields(body)
        wire.request(1, "starling/rank", {"result": message["result"]})
        parsed = ItemList.parse(message["result"])
        assert parsed is not None
        ranking = msgspec.json.decode(encoded, type=Ranking)
        wire.dumps({**message, "result": ranked(parsed, ranking, number=1, marks=Marks())})
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


async def memory(root: Path, edits: int) -> None:
    """Resident memory of both processes over `edits` edits and completions in one session."""
    items = [{"label": f"name_{number}", "kind": 5} for number in range(200)]
    command, close = fixed_list(root, {"isIncomplete": False, "items": items})
    probe = Probe([sys.executable, "-m", "lsp_server", "--stdio", "--ranker", "signals", "--", *command])
    await probe.start(root)
    uri = "file:///example/a.py"
    probe.open(uri, "class A:\n    def f(self):\n        self.\n" + "        self.name_1 = 1\n" * 500, "python")
    await settled(probe)
    status = await probe.backend.request("starling/status", {}, 30)
    processes = {"server": psutil.Process(probe.backend.pid), "ranker": psutil.Process(status["rankerPid"])}
    marks: list[tuple[int, dict[str, float]]] = []
    for number in range(edits):
        letter = "abcdefghij"[number % 10]
        probe.change(uri, number + 2, letter, span(3 + number % 50, 12, 12))
        await probe.complete(uri, 2, 13)
        if number + 1 in (1000, edits // 2, edits):
            marks.append((number + 1, {name: process.memory_info().rss / 1e6 for name, process in processes.items()}))
    table = Table(title=f"resident memory over {edits} edits and completions, MB", title_justify="left")
    for column in ("after", *processes):
        table.add_column(column, justify="right")
    for after, sizes in marks:
        table.add_row(str(after), *(f"{size:.1f}" for size in sizes.values()))
    growth = [f"{marks[-1][1][name] / marks[0][1][name] - 1:+.1%}" for name in processes]
    table.add_row("growth", *growth)
    console.print(table)
    await probe.stop()
    close()


def show(title: str, times: dict[str, list[float]]) -> None:
    """Percentiles of each side, and of what each adds to the server alone, pair by pair."""
    table = Table(title=f"{title} (n = {len(times['alone'])})", title_justify="left")
    for column in ("", "p50", "p95", "p99"):
        table.add_column(column, justify="right" if column else "left")
    added = {
        f"added by {side}": [here - alone for alone, here in zip(times["alone"], values, strict=True)]
        for side, values in times.items()
        if side != "alone"
    }
    for name, values in (*times.items(), *added.items()):
        table.add_row(name, *(f"{percentile(values, share):.1f}" for share in (50, 95, 99)))
    for side in list(times)[1:]:
        medians = statistics.median(times[side]) - statistics.median(times["alone"])
        table.add_row(f"{side}: difference of medians", f"{medians:.1f}", "", "")
    console.print(table)


def percentile(values: list[float], share: int) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share / 100))]


if __name__ == "__main__":
    main()
