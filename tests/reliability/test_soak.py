"""Thousands of requests as typing makes them: one reply each, texts stay the same, and nothing grows.

Once as fast as the ranker goes, and once as fast as the server answers, which the ranker can't keep up with.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.reliability.client import Client, Usage, fake, key, left_of, starling, usage
from tests.reliability.texts import Document

SEED = 1
REQUESTS, PARTS = 3000, 10
OPEN = 3  # documents
AT_ONCE = 30  # requests on their way
NAMES = [f"name{number}" for number in range(60)]
ITEMS = [*NAMES, *(f"other{number}" for number in range(240))]
FLAGS = ("--ranker", "signals", "--deadline", "500")  # milliseconds for a list: on a busy machine, 120 are short
GROWTH = Usage(
    memory=5.0, files=2, threads=2
)  # at most, over the second half of a run; usually half a megabyte and none


class Typist:
    """Types words in the documents of a workspace, and asks what an editor asks meanwhile; takes half of the words out again."""

    def __init__(self, client: Client, root: Path) -> None:
        self.client, self.root = client, root
        self.rng = random.Random(SEED)
        self.asked: list[tuple[str, int]] = []  # method and id, in the order of asking
        self.documents: list[Document] = []
        self.texts: dict[int, dict[str, str]] = {}  # by the id of a request for the wrapped server's: the editor's then
        for number in range(OPEN):
            document = Document((root / f"open{number}.py").as_uri(), self.code())
            self.documents.append(document)
            client.notify("textDocument/didOpen", document.opening())

    def code(self) -> str:
        return "".join(f"box.{self.rng.choice(NAMES)}({self.rng.choice(NAMES)})\n" for _ in range(60))

    def ask(self, method: str, params: Any) -> int:
        id = self.client.ask(method, params)
        self.asked.append((method, id))
        return id

    def word(self) -> None:
        """A word key by key, with a request at each, and what else happens in an editor now and then."""
        rng = self.rng
        document = rng.choice(self.documents)
        this = {"textDocument": {"uri": document.uri}}
        line, word = rng.randrange(40), f"box.{rng.choice(NAMES)[: rng.randrange(4)]}"
        self.change(document.replace(line, 0, 0, "\n"))
        for column, letter in enumerate(word):
            self.change(document.replace(line, column, column, letter))
            where = {**this, "position": {"line": line, "character": column + 1}}
            is_list = letter == "." or column >= 4
            method = "textDocument/completion" if is_list else rng.choice(["textDocument/hover", "odd/thing"])
            id = self.ask(method, where)
            if rng.random() < 0.05:
                self.client.cancel(id)
        for _ in range(rng.randrange(3)):
            self.ask("completionItem/resolve", {"label": rng.choice(ITEMS), "kind": 2})
        if rng.random() < 0.5:
            start, end = {"line": line, "character": 0}, {"line": line + 1, "character": 0}
            self.change(document.change({"range": {"start": start, "end": end}, "text": ""}))
        if rng.random() < 0.1:
            self.save(document)
        if rng.random() < 0.03:
            self.reopen(document)

    def compare(self) -> None:
        """Have the wrapped server tell its texts; they are looked at in the end."""
        self.texts[self.client.ask("fake/texts")] = {document.uri: document.text for document in self.documents}

    def change(self, params: Any) -> None:
        self.client.notify("textDocument/didChange", params)

    def save(self, document: Document) -> None:
        (self.root / document.uri.rpartition("/")[2]).write_text(document.text)
        self.client.notify("textDocument/didSave", {"textDocument": {"uri": document.uri}})
        self.client.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": document.uri, "type": 2}]})

    def reopen(self, document: Document) -> None:
        self.compare()
        self.client.notify("textDocument/didClose", {"textDocument": {"uri": document.uri}})
        document.text = self.code()
        document.version += 1
        self.client.notify("textDocument/didOpen", document.opening())

    def keep_pace(self) -> None:
        """No more than AT_ONCE requests on their way."""
        if len(self.asked) > AT_ONCE:
            assert self.client.missing([self.asked[-AT_ONCE][1]]) == []

    def ranked(self, part: int) -> tuple[int, int]:
        """Lists of a part of the run that were ranked, and all of them."""
        size = len(self.asked) // PARTS
        answers = [self.client.answers[key(id)] for method, id in self.asked[part * size : (part + 1) * size] if method.endswith("/completion")]  # fmt: skip
        lists = [answer["result"]["items"] for answer in answers if "result" in answer]
        return sum("sortText" in items[0] for items in lists), len(lists)


@pytest.mark.alone
@pytest.mark.parametrize("pace", ["with the ranker", "faster than the ranker"])
def test_typing(tmp_path: Path, pace: str) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    with Client(starling(*FLAGS, wrapped=fake(items=ITEMS)), tmp_path / "home") as client:
        client.initialize(root)
        typist = Typist(client, root)
        for number in range(40):
            (root / f"file{number}.py").write_text(typist.code())
        processes = {"server": psutil.Process(client.process.pid), "ranker": client.until_ranking()}
        half: dict[str, Usage] = {}
        while len(typist.asked) < REQUESTS:
            typist.word()
            if pace == "with the ranker":
                client.call("starling/status", {})
            typist.keep_pace()
            if not half and len(typist.asked) >= REQUESTS / 2:
                half = settled(typist, processes)
        after = settled(typist, processes)
        assert client.wrong_counts() == {}
        assert client.unreadable == []
        assert {id: client.answers[key(id)]["result"] for id in typist.texts} == typist.texts
        check_growth(half, after)
        check_ranked(typist, pace)
        check_end(client)


def settled(typist: Typist, processes: dict[str, psutil.Process]) -> dict[str, Usage]:
    """What the processes take when nothing is on its way."""
    client = typist.client
    typist.compare()
    assert client.missing() == []
    client.call("starling/status", {})
    return {name: usage(process) for name, process in processes.items()}


def check_growth(half: dict[str, Usage], after: dict[str, Usage]) -> None:
    for name, limit in ((name, limit) for name in half for limit in GROWTH._fields):
        grown = getattr(after[name], limit) - getattr(half[name], limit)
        assert grown <= getattr(GROWTH, limit), f"{name}: {limit} grew by {grown}, from {half[name]} to {after[name]}"


def check_ranked(typist: Typist, pace: str) -> None:
    """However far the ranker is behind, it ranks some of the lists: it leaves out those that nobody waits for any more."""
    found = [typist.ranked(part) for part in range(PARTS)]
    assert all(ranked for ranked, _ in found), f"lists (ranked, all) of each part of the run: {found}"


def check_end(client: Client) -> None:
    started = psutil.Process(client.process.pid).children(recursive=True)
    assert "result" in client.call("shutdown")
    client.notify("exit")
    assert client.ended() == 0
    assert left_of(started) == []
