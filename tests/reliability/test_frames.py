"""Malformed and odd messages by the thousand: every request that is framed well gets one reply, and texts stay right."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from corpus.syntax.language import languages
from lsp_server.jsonrpc.frames import frame
from tests.reliability.client import Client, fake, hello, key, left_of, starling
from tests.reliability.odd_messages import NOTIFICATIONS, REQUESTS, WEIRD, WILD, OddMessages, framed
from tests.reliability.texts import Document

SEED = 1
FRAMES, BATCH = 20_000, 200
TORN = 40
LIMIT = 2_000_000  # bytes of an editor's message, so that one over the limit need not be 512 MB
ROUNDS = 5  # parts of a run, each with a crash of the wrapped server at its end
CONSTANTS = {"lsp_server.transport.connection.MAX_BODY": LIMIT, "lsp_server.servers.server.BACK_OFF": (0.05,) * 10}
CLAIMED = 3000  # bytes at most that a torn stretch announces
WITNESS = "cup.gamma\ncup.gamma\ncup.\n"


class Editor:
    """What a run knows. Odd messages change the text of WILD, never the two documents here."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.odd = OddMessages(SEED, client.sent)
        self.rng = random.Random(SEED)
        text = "é😀\nbox.value\n" * 5
        self.documents = [Document(f"file:///project/{name}.py", text) for name in ("witness", "exact")]

    def frame(self) -> bytes:
        """One of the run: an odd one, or one in fifty times a change that is followed."""
        if self.rng.random() > 0.02:
            return self.odd.next()
        document = self.rng.choice(self.documents)
        return framed(method="textDocument/didChange", params=document.random_change(self.rng))

    def check_texts(self) -> None:
        """The wrapped server's are as they ought to be; it is started again meanwhile, perhaps."""
        expected = {document.uri: document.text for document in self.documents}
        found: dict[str, str] = {}
        for _ in range(200):
            found = self.client.texts()
            if found:
                break
            time.sleep(0.1)
        assert {uri: found.get(uri) for uri in expected} == expected

    def check_counts(self) -> None:
        self.client.missing()
        assert self.client.wrong_counts() == {}
        assert self.client.unreadable == []


@pytest.fixture(params=["one command", "a server of a language"])
def editor(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Before initialize, with bad ones of it, and with the documents open after a good one."""
    one = request.param == "one command"
    command = starling("--ranker", "signals", wrapped=fake() if one else (), constants=CONSTANTS)
    servers = {**{language: [] for language in languages()}, "python": [fake()]}
    options = None if one else {"starling": {"servers": servers}}
    with Client(command, tmp_path / "home") as client:
        editor = Editor(client)
        early = {client.ask(method): method for method in REQUESTS if method != "initialize"}
        for method in NOTIFICATIONS:
            client.send(framed(method=method, params=editor.rng.choice(WEIRD)))
        for params in (None, [], 5, "x", {"capabilities": 5, "workspaceFolders": 5}):
            assert "error" in client.call("initialize", params)
        assert client.missing(early) == []
        assert all("error" in client.answers[key(id)] for id in early)
        assert "result" in client.call("initialize", hello(None, options))
        client.notify("initialized", {})
        for document in (*editor.documents, Document(WILD, "é😀\nbox.value\n" * 5)):
            client.notify("textDocument/didOpen", document.opening())
        client.until_ranking()
        yield editor


def test_odd_messages(editor: Editor) -> None:
    client = editor.client
    for _ in range(ROUNDS):
        for _ in range(FRAMES // BATCH // ROUNDS):
            client.send(b"".join(editor.frame() for _ in range(BATCH)))
            client.call("starling/status", {})  # in step with the ranker as well
        editor.check_counts()
        editor.check_texts()
        client.notify("fake/crash")  # what the next one gets are Starling's own copies
        editor.check_texts()
    check_completion(editor)
    check_end(client)


def test_torn_stretches(editor: Editor) -> None:
    """A stretch may cost the messages right behind it, as many as it claims to be long; no other, and no reply comes twice."""
    client = editor.client
    lost = "p" * (CLAIMED // 10)
    for _ in range(TORN):
        client.send(editor.odd.torn())
        for _ in range(12):
            last = client.ask("textDocument/hover", {"textDocument": {"uri": WILD}, "position": {}, "pad": lost})
        assert client.missing([last]) == []
    assert {id: n for id, n in client.wrong_counts().items() if n != (1, 0)} == {}
    check_over_the_limit(client)
    editor.check_texts()
    check_end(client)


def check_over_the_limit(client: Client) -> None:
    """Skipped as long as it says it is; whoever sent it is told, and what comes next is read."""
    client.sent[key(7)] += 1
    client.send(framed(id=7, method="odd/thing", params={"pad": "z" * LIMIT}))
    assert client.missing([7]) == []
    assert "over the limit" in client.answers[key(7)]["error"]["message"]
    inside = framed(id="inside", method="odd/thing") * (LIMIT // 20)
    client.send(frame(b"[" + inside))
    assert "result" in client.call("odd/thing", {})


def check_completion(editor: Editor) -> None:
    """The list is ranked, by the text as it is now."""
    document = editor.documents[0]
    editor.client.notify("textDocument/didChange", document.replace(0, 0, 0, WITNESS))
    where = {"textDocument": {"uri": document.uri}, "position": {"line": 2, "character": 4}}
    items: list[Any] = []
    for _ in range(200):
        items = editor.client.call("textDocument/completion", where)["result"]["items"]
        if all("sortText" in item for item in items):
            break
        time.sleep(0.1)
    assert all("sortText" in item for item in items)
    assert "gamma" in min(items, key=lambda item: item["sortText"])["label"]


def check_end(client: Client) -> None:
    """Answered to the last, exit code 0, nothing left."""
    started = psutil.Process(client.process.pid).children(recursive=True)
    assert "result" in client.call("shutdown")
    for method in ("textDocument/hover", "initialize", "shutdown", "starling/status"):
        assert "error" in client.call(method, {})
    client.notify("exit")
    assert client.ended() == 0
    assert left_of(started) == []
    assert client.unreadable == []
    assert {id: n for id, n in client.wrong_counts().items() if n[1] > n[0]} == {}
