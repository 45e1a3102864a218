"""Commands that take long, ended from outside: as by Ctrl-C, with nothing left behind."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus.lists.test_cli_candidates import check_ended_while_asking
from tests.corpus.repositories import module, repository

ENDS = [signal.SIGTERM, signal.SIGHUP]  # the second comes where a terminal closes


@pytest.fixture(autouse=True)
def not_ignored() -> Iterator[None]:
    """Commands inherit what is ignored here: under `nohup`, SIGHUP is."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDS, ids=str)
def test_train_leaves_no_folder_and_no_server(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = repository(tmp_path / "code" / ".git", {f"m{n}.py": module(f"m{n}", 20) for n in range(9)}).parent
    words = ("train", "--repo", str(code), "--language", "python", "--work", str(tmp_path / "work"))
    check_ended_while_asking(tmp_path, monkeypatch, number, "starling_lsp", *words)


@pytest.mark.parametrize("ignored", [False, True], ids=["terminal", "nohup"])
@pytest.mark.parametrize("number", ENDS, ids=str)
def test_mine_stops_unless_the_signal_is_ignored(number: signal.Signals, ignored: bool, tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    os.mkfifo(listed)
    place = repository(tmp_path / "code.git", {"a.py": module("a")})
    command = [sys.executable, "-m", "starling_lsp", "mine", "--list", str(listed), "--out", str(tmp_path / "out")]
    before = signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, restore_signals=False)
    finally:
        signal.signal(number, before)
    with running, listed.open("w") as sources:  # opened once the command reads it
        running.send_signal(number)
        if ignored:
            sources.write(f"{place}\n")
            sources.close()
        _, said = running.communicate(timeout=60)
    assert running.returncode == (0 if ignored else 130), said
    assert ("Stopped. Run the same again" in said) == (not ignored)


@pytest.fixture
def silent() -> Iterator[tuple[str, threading.Event]]:
    """The address of an index on loopback that never answers, and what is set once it was asked."""
    asked, over = threading.Event(), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            over.wait()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple", asked
    over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("number", ENDS, ids=str)
def test_install_model_stops(
    number: signal.Signals, silent: tuple[str, threading.Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, asked = silent
    for name in [name for name in os.environ if name.lower().startswith(("pip_", "http"))]:
        monkeypatch.delenv(name)
    options = tmp_path / "pip.conf"
    options.write_text(f"[global]\nindex-url = {index}\n")
    environment = {**os.environ, "PIP_CONFIG_FILE": str(options), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "starling_lsp", "install-model"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert asked.wait(60)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "goes on from there" in said
