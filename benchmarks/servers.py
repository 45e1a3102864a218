"""python -m benchmarks.servers: every wrapped server that is installed, alone and through Starling, alternating.

Each on its small sample project (tests/servers/samples): the answer to initialize, completion after a member
operator that was just typed, and hover. A server that is not there is named with how to get it.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.latency import percentile
from lsp_server.jsonrpc.wire import Json
from lsp_server.probe import Probe
from tests.servers.catalog import CATALOG, SAMPLES, Server
from tests.servers.harness import PATIENCE, environment, pair

STARLING = (sys.executable, "-m", "lsp_server", "--stdio", "--ranker", "signals", "--")

console = Console(width=None if sys.stdout.isatty() else 120)


def main() -> None:
    """One table, a row a server."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--servers", default="", help="comma-separated names (default: all that are installed)")
    options.add_argument("--times", type=int, default=40, help="completions and hovers of each side (default 40)")
    given = options.parse_args()
    wanted = [name for name in given.servers.split(",") if name] or list(CATALOG)
    table = Table(title="alone, and what Starling adds (signals), ms", title_justify="left")
    for column in (
        "server",
        "initialize",
        "+",
        "items",
        "completion",
        "+ p50",
        "+ p95",
        "hover",
        "+ p50",
        "memory, MB",
    ):
        table.add_column(column, justify="left" if column == "server" else "right")
    missing: list[Server] = []
    for name in track(wanted, "servers", console=console, transient=True):
        server = CATALOG[name]
        if not server.installed:
            missing.append(server)
            continue
        with tempfile.TemporaryDirectory(prefix="starling-bench-") as folder:
            table.add_row(name, *asyncio.run(measured(server, Path(folder), given.times)))
    console.print(table)
    for server in missing:
        console.print(f"not installed: {server.name}. {server.install}")


async def measured(server: Server, folder: Path, times: int) -> list[str]:
    """The row's cells."""
    starts: dict[bool, list[float]] = {False: [], True: []}
    for number in range(3):
        for starling in (False, True):
            own = folder / f"start {number} {starling}"
            root = Path(shutil.copytree(SAMPLES / server.sample.folder, own / "project"))
            with environment(own / "home"):
                command = [*(STARLING if starling else ()), *server.started_by]
                probe = Probe(command)
                started = time.perf_counter()
                await probe.start(root, timeout=PATIENCE)
                starts[starling].append((time.perf_counter() - started) * 1000)
                await probe.stop()
    lists: dict[str, list[float]] = {"alone": [], "through": []}
    hovers: dict[str, list[float]] = {"alone": [], "through": []}
    sample = server.sample
    async with pair(server, folder) as both:
        before, _ = await both.lists(sample.member, sample.sees)
        items = len(before["items"] if isinstance(before, dict) else before)
        sides = {"alone": both.alone, "through": both.through}
        for number in range(times):
            for name, end in sides.items() if number % 2 else reversed(sides.items()):
                where = end.type(sample.member[:-1])
                where = end.insert(where, sample.member[-1])
                lists[name].append(await _timed(lambda end=end, where=where: end.complete(where)))
            for name, end in sides.items():
                hovers[name].append(await _timed(end.hover))
        leader = psutil.Process(both.alone.probe.backend.pid)
        memory = sum(each.memory_info().rss for each in (leader, *leader.children(recursive=True))) / 1e6
    added = [through - alone for alone, through in zip(lists["alone"], lists["through"], strict=True)]
    hover_added = [through - alone for alone, through in zip(hovers["alone"], hovers["through"], strict=True)]
    return [
        f"{statistics.median(starts[False]):.0f}",
        f"{statistics.median(starts[True]) - statistics.median(starts[False]):.0f}",
        str(items),
        f"{percentile(lists['alone'], 50):.1f}",
        f"{percentile(added, 50):.1f}",
        f"{percentile(added, 95):.1f}",
        f"{percentile(hovers['alone'], 50):.1f}",
        f"{percentile(hover_added, 50):.1f}",
        f"{memory:.0f}",
    ]


async def _timed(ask: Callable[[], Awaitable[Json]]) -> float:
    started = time.perf_counter()
    await ask()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
