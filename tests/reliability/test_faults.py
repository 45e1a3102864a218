"""Every method meets every fault of the wrapped server: each request is answered once, and Starling ends and leaves nothing.

The fault comes when the wrapped server gets the method. Where a server may keep an answer to itself for ever (FOR_EVER),
the editor cancels the request, and that is answered.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from tests.reliability.client import Client, fake, hello, key, left_of, processes_of, starling
from tests.reliability.texts import Document

SOON = {  # so that a fault costs little time
    "lsp_server.servers.server.BACK_OFF": (0.05, 0.05, 0.05),
    "lsp_server.servers.generation.SHUTDOWN_PATIENCE": 0.5,
    "lsp_server.routing.one_command.SHUTDOWN_PATIENCE": 0.5,
    "lsp_server.routing.requests.CANCEL_GRACE": 0.1,
    "lsp_server.jsonrpc.child.SILENT_GRACE": 0.1,
}
FAULTS = (
    *("crash", "crash once", "hang", "deaf", "garbage_reply", "garbage_frame", "reply_twice", "wrong_id"),
    *("null", "error", "closes_output"),
)
REQUESTS = {
    "textDocument/completion": {"position": {"line": 2, "character": 4}},
    "textDocument/hover": {"position": {"line": 0, "character": 1}},
    "completionItem/resolve": {"label": "alpha"},
    "textDocument/documentSymbol": {},
    "odd/thing": {},
}
METHODS = (
    *("initialize", "initialized", "textDocument/didOpen", "textDocument/didChange", *REQUESTS, "shutdown", "exit"),
)
FOR_EVER = {"hang": "one", "wrong_id": "one", "deaf": "all"}  # whether it concerns one request or all from then on
AT_ONCE = min(40, 5 * (os.cpu_count() or 1))  # cases; they wait most of their time


class Case:
    """One fault at one method, and what went wrong."""

    def __init__(self, folder: Path, mode: str, method: str, fault: str) -> None:
        self.mode, self.method, self.fault = mode, method, fault
        self.name = f"{fault} at {method}"
        self.folder = folder / self.name.replace("/", "-")
        self.folder.mkdir()
        self.problems: list[str] = []

    def run(self) -> Case:
        once = {"once": str(self.folder / "happened")} if self.fault == "crash once" else {}
        broken = fake(folder=str(self.folder), faults={self.method: self.fault.split()[0]}, **once)
        if self.mode == "one command":
            command, options = starling("--ranker", "off", wrapped=broken, constants=SOON), None
        else:
            servers = {"python": [broken, fake(folder=str(self.folder))]}
            command, options = starling("--ranker", "off", constants=SOON), {"starling": {"servers": servers}}
        with Client(command, self.folder / "home") as client:
            try:
                if self.initialized(client, options):
                    self.edit(client)
                    self.end(client, code=0)
                else:
                    self.end(client, code=1)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                self.problems.append(repr(error))
        return self

    def initialized(self, client: Client, options: object) -> bool:
        """Ask for it as an editor does: a second time where the first failed. Whether it was granted."""
        for _ in range(2):
            id = client.ask("initialize", hello(None, options))
            if self.mode == "one command" and self.method == "initialize" and self.fault in FOR_EVER:
                client.cancel(id)
            if self.unanswered(client, [id]):
                return False
            if "result" in client.answers[key(id)]:
                client.notify("initialized", {})
                return True
        if self.method != "initialize" or self.fault not in ("crash", "error", "closes_output", *FOR_EVER):
            self.problems.append(f"initialize failed: {client.answers[key(id)]}")
        return False

    def edit(self, client: Client) -> None:
        document = Document("file:///project/a.py", "box.value\nbox.value\nbox")
        client.notify("textDocument/didOpen", document.opening())
        client.notify("textDocument/didChange", document.replace(2, 3, 3, "."))
        where = {"textDocument": {"uri": document.uri}}
        asked = {client.ask(method, {**where, **params}): method for method, params in REQUESTS.items()}
        client.notify("textDocument/didSave", where)
        waited_for = [id for id, method in asked.items() if not self.kept(method)]
        if not self.unanswered(client, waited_for):
            for id in asked.keys() - waited_for:
                client.cancel(id)
            self.unanswered(client, asked)
        if self.fault == "crash once" and self.mode == "one command":
            self.same_text(client, document)

    def kept(self, method: str) -> bool:
        """Whether the fault may keep the answer to this request for ever."""
        scope = FOR_EVER.get(self.fault)
        if scope == "one" and self.method == "initialize":
            return self.mode != "one command"  # the other server may answer, or this one may be waited for
        return scope == "all" or (scope == "one" and method == self.method)

    def same_text(self, client: Client, document: Document) -> None:
        """A server that was started again has the text."""
        for _ in range(200):
            texts = client.texts()
            if texts.get(document.uri) == document.text:
                return
            time.sleep(0.1)
        self.problems.append(f"the server's texts are {texts}")

    def end(self, client: Client, code: int) -> None:
        if code == 0:
            self.unanswered(client, [client.ask("shutdown")])
        client.notify("exit")
        found = client.ended()
        if found != code:
            self.problems.append(f"exit code {found}")
        if client.wrong_counts() or client.unreadable:
            self.problems.append(f"(requests, replies): {client.wrong_counts()} {client.unreadable}")

    def unanswered(self, client: Client, ids: object) -> bool:
        missing = client.missing(ids)
        if missing:
            self.problems.append(f"no reply to {missing}")
        return bool(missing)


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """No process of any case is there any more: each of their commands names the case's folder."""
    yield
    left = left_of(processes_of(tmp_path))
    assert [process.info["cmdline"] for process in left] == []


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("mode", ["one command", "several servers"])
def test_faults(tmp_path: Path, mode: str) -> None:
    cases = [Case(tmp_path, mode, method, fault) for method, fault in product(METHODS, FAULTS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(Case.run, cases))
    assert {case.name: case.problems for case in done if case.problems} == {}
