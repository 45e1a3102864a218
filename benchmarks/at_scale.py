"""python -m benchmarks.at_scale --list FILE: what mining many repositories costs, reckoned from mining those of a list.

Mines them twice into an empty folder: the second time all is read already, so what is left is the driver's own pass (copies,
shards, manifest). Then the sums for as many as --repositories says; --rate puts another rate in place of the measured one.
With --compare it mines them in local processes and on a Ray cluster in turn instead, and sets the times side by side.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from corpus.__main__ import listed
from corpus.mining.mine import WORK, jobs_by_default, mine
from corpus.mining.readings import Source
from corpus.mining.survey import Options
from corpus.mining.workers import results

CORES = (2, 16, 64)
console = Console()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Over some sources: sizes in MB, times in seconds of processor time, but `passing` by the clock."""

    sources: int
    files: int
    kept: float
    shards: float
    work: float
    mining: float  # in the workers
    taking: float  # in the driver, while they work
    passing: float  # in the driver, after them
    memory: float  # of the driver


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--list", type=Path, required=True, metavar="FILE", help="sources, one a line: SOURCE [NAME]")
    options.add_argument("--jobs", type=int, default=jobs_by_default(), help="processes (default %(default)s)")
    options.add_argument("--repositories", type=int, default=10_000, metavar="N", help="(default %(default)s)")
    options.add_argument("--rate", type=float, metavar="MB/S", help="of kept source a core, for the one measured")
    options.add_argument("--compare", metavar="ADDRESS", help="of a Ray cluster ('local' to start one)")
    options.add_argument("--rounds", type=int, default=3, help="of --compare (default %(default)s)")
    given = options.parse_args()
    sources = listed(given.list)
    if given.compare:
        compare(sources, given.jobs, given.compare, given.rounds)
    else:
        found = measure(sources, given.jobs)
        report(found, given.rate or found.kept / found.mining, given.repositories)


def measure(sources: list[Source], jobs: int) -> Measured:
    """Mine twice, and say where the time went."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        started = time.process_time()
        manifest = mine(sources, out, Options(), jobs=jobs)
        first = time.process_time() - started
        mining = resource.getrusage(resource.RUSAGE_CHILDREN)
        started, clock = time.process_time(), time.perf_counter()
        mine(sources, out, Options(), jobs=jobs)
        return Measured(
            sources=len(manifest.repositories),
            files=sum(repository.kept[0] for repository in manifest.repositories),
            kept=sum(repository.kept[1] for repository in manifest.repositories) / 1e6,
            shards=_size(out.glob("*.parquet")),
            work=_size((out / WORK).rglob("*")),
            mining=mining.ru_utime + mining.ru_stime,
            taking=first - (time.process_time() - started),
            passing=time.perf_counter() - clock,
            memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        )


def _size(files: Iterable[Path]) -> float:
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def report(found: Measured, rate: float, repositories: int) -> None:
    """What was measured, and the sums."""
    kept = found.kept / found.sources * repositories
    taking, passing = (seconds / found.kept * kept for seconds in (found.taking, found.passing))
    rows = [
        ("repositories", f"{found.sources:,}", f"{repositories:,}"),
        ("kept files", f"{found.files:,}", f"{found.files / found.sources * repositories:,.0f}"),
        ("kept source, GB", f"{found.kept / 1e3:.2f}", f"{kept / 1e3:,.1f}"),
        ("kept source a repository, MB", f"{found.kept / found.sources:.2f}", ""),
        ("kept source a second and core, MB", f"{found.kept / found.mining:.2f}", f"{rate:.2f}"),
        ("core hours", f"{found.mining / 3600:.2f}", f"{kept / rate / 3600:,.1f}"),
        ("driver while they work, minutes of a core", f"{found.taking / 60:.2f}", f"{taking / 60:,.1f}"),
        ("driver's pass, minutes", f"{found.passing / 60:.2f}", f"{passing / 60:,.1f}"),
        ("driver's memory, MB", f"{found.memory:.0f}", ""),
        (f"shards, GB ({found.shards / found.kept:.2f} of the source)", *_scaled(found.shards, found.kept, kept)),
        (f"work folder, GB ({found.work / found.kept:.2f} of the source)", *_scaled(found.work, found.kept, kept)),
    ]
    for cores in CORES:
        # The workers wait for the driver where taking in takes longer than the work.
        hours = (max(kept / rate / cores, taking) + passing) / 3600
        rows.append((f"hours with {cores} cores", "", f"{hours:,.2f}"))
    table = Table(title="mining at scale")
    for column in ("", "measured", "reckoned"):
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _scaled(part: float, whole: float, other: float) -> tuple[str, str]:
    return f"{part / 1e3:.2f}", f"{part / whole * other / 1e3:,.1f}"


def compare(sources: list[Source], jobs: int, address: str, rounds: int) -> None:
    """Local processes and the cluster in turn, by the clock; starting or joining the cluster is timed apart."""
    ways = {"local processes": "", f"Ray, {address}": address}
    taken: dict[str, list[float]] = {way: [] for way in (*ways, "Ray alone")}
    for _ in range(rounds):
        for way, ray in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                mine(sources, Path(folder), Options(), jobs=jobs, ray=ray)
                taken[way].append(time.perf_counter() - started)
        started = time.perf_counter()
        list(results(abs, [1], jobs=jobs, ray=address))
        taken["Ray alone"].append(time.perf_counter() - started)
    table = Table(title=f"{len(sources)} sources, {rounds} rounds in turn, seconds")
    for column in ("", "median", "all"):
        table.add_column(column, justify="right" if column else "left")
    for way, seconds in taken.items():
        table.add_row(way, f"{statistics.median(seconds):.1f}", " ".join(f"{second:.1f}" for second in seconds))
    console.print(table)


if __name__ == "__main__":
    main()
