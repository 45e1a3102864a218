"""One Starling without a command, files of several languages: each gets a server of its own, and Starling's order."""

import shutil
import sys
from pathlib import Path

import pytest

from lsp_server.probe import Probe, in_order, items_of
from tests.scenarios.harness import ranking
from tests.servers.catalog import CATALOG, SAMPLES
from tests.servers.conftest import needs
from tests.servers.harness import PATIENCE, ROOMY, Seat, bare, environment

NAMES = ("basedpyright", "typescript-language-server", "clangd", "bash-language-server")


@pytest.mark.servers
async def test_each_file_gets_the_server_of_its_language(tmp_path: Path) -> None:
    chosen = [needs(CATALOG[name]) for name in NAMES]
    for server in chosen:
        shutil.copytree(SAMPLES / server.sample.folder, tmp_path / "project", dirs_exist_ok=True)
    with environment(tmp_path / "home"):
        names = ",".join(NAMES)
        command = [sys.executable, "-m", "lsp_server", "--stdio", "--ranker", "signals", ROOMY, "--server", names]
        probe = Probe(command)
        await probe.start(tmp_path / "project", timeout=PATIENCE)
    seats = [Seat(probe, server, tmp_path / "project") for server in chosen]
    for seat in seats:
        seat.show(seat.source)
    await ranking(probe)
    for seat in seats:
        sample = seat.server.sample
        result = await seat.list_at(seat.type(sample.emoji), sample.sees)
        ordered = in_order(items_of(result))
        assert [item["sortText"] for item in ordered] == [f"{place:05d}" for place in range(len(ordered))]
        assert sample.sees <= {bare(item) for item in ordered[:5]}
    await probe.stop()
