"""Malformed and odd frames from a seed, with a count of the replies that LSP promises for them.

Half of what editors send wrong is a member that is missing or of another kind: `mutated` makes those out of good messages.
"""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from lsp_server.jsonrpc.frames import frame
from tests.reliability.client import Key, key

WILD = "file:///project/wild.py"  # the document that odd messages are about
AT = {"line": 0, "character": 1}
RANGE = {"start": AT, "end": {"line": 1, "character": 2}}
THIS = {"textDocument": {"uri": WILD}}
HERE = {**THIS, "position": AT}
PART = {**THIS, "range": RANGE}
OPTIONS = {"options": {"tabSize": 4, "insertSpaces": True}}
OTHER = {"uri": "file:///project/other.py", "languageId": "python", "version": 1, "text": "a = 1\n"}
BOOK = {"uri": "file:///project/n.ipynb", "notebookType": "j", "version": 1, "cells": [{"kind": 2, "document": "nb:1"}]}
CELLS = {"textContent": [{"document": {"uri": "nb:1", "version": 2}, "changes": [{"text": "b"}]}]}
HIERARCHY = {"item": {"name": "f", "kind": 12, "uri": WILD, "range": RANGE, "selectionRange": RANGE}}
FILES = {"files": [{"uri": WILD, "oldUri": WILD, "newUri": WILD}]}

_AT_A_PLACE = """
    hover signatureHelp declaration definition typeDefinition implementation documentHighlight prepareRename
    prepareCallHierarchy prepareTypeHierarchy linkedEditingRange moniker
"""
_OF_A_DOCUMENT = (
    "documentSymbol codeLens documentLink documentColor foldingRange semanticTokens/full diagnostic formatting"
)
REQUESTS: dict[str, Any] = {
    **{f"textDocument/{name}": HERE for name in _AT_A_PLACE.split()},
    **{f"textDocument/{name}": THIS for name in _OF_A_DOCUMENT.split()},
    "textDocument/completion": {**HERE, "context": {"triggerKind": 1}},
    "textDocument/references": {**HERE, "context": {"includeDeclaration": True}},
    "textDocument/rename": {**HERE, "newName": "x"},
    "textDocument/rangeFormatting": {**PART, **OPTIONS},
    "textDocument/codeAction": {**PART, "context": {"diagnostics": []}},
    "textDocument/inlayHint": PART,
    "textDocument/selectionRange": {**THIS, "positions": [AT]},
    "textDocument/willSaveWaitUntil": {**THIS, "reason": 1},
    "completionItem/resolve": {"label": "alpha", "data": {"starling": [1, 0, "x"], "data": 3}, "sortText": "a"},
    "codeLens/resolve": {"range": RANGE, "data": {"starling": "x"}},
    "workspaceSymbol/resolve": {"name": "x", "kind": 1},
    "workspace/symbol": {"query": "a"},
    "workspace/diagnostic": {"previousResultIds": []},
    "workspace/executeCommand": {"command": "x", "arguments": []},
    "workspace/willRenameFiles": FILES,
    "callHierarchy/incomingCalls": HIERARCHY,
    "starling/rank": {**HERE, "items": [{"label": "alpha", "kind": 2}, {"label": "beta"}]},
    "starling/status": {},
    "unknown/method": {"x": 1},
    "$/unknown": {},
    "initialize": {"capabilities": {}},
}
NOTIFICATIONS: dict[str, Any] = {
    "textDocument/didChange": {
        "textDocument": {"uri": WILD, "version": 3},
        "contentChanges": [{"range": RANGE, "text": "x"}],
    },
    "textDocument/didOpen": {"textDocument": OTHER},
    "textDocument/didClose": {"textDocument": {"uri": OTHER["uri"]}},
    "textDocument/didSave": {**THIS, "text": "x"},
    "workspace/didChangeConfiguration": {"settings": {"x": 1, "starling": {"starLimit": 5}}},
    "workspace/didChangeWatchedFiles": {"changes": [{"uri": "file:///project/n.py", "type": 1}]},
    "workspace/didChangeWorkspaceFolders": {"event": {"added": [{"uri": "file:///x", "name": "x"}], "removed": []}},
    "workspace/didRenameFiles": FILES,
    "window/workDoneProgress/cancel": {"token": 1},
    "$/progress": {"token": 1, "value": {}},
    "$/cancelRequest": {"id": 5},
    "initialized": {},
    "unknown/note": {},
    "notebookDocument/didOpen": {"notebookDocument": BOOK, "cellTextDocuments": [{**OTHER, "uri": "nb:1"}]},
    "notebookDocument/didChange": {
        "notebookDocument": {"uri": BOOK["uri"], "version": 2},
        "change": {"cells": CELLS},
    },
    "notebookDocument/didClose": {"notebookDocument": BOOK, "cellTextDocuments": [{"uri": "nb:1"}]},
}
WEIRD = (
    *(None, True, False, 0, -1, 2**31, 2**53, 2**63, 2**64, 10**30, -(2**63), 0.5, -0.0, 1e308),
    *("", "x", "\ud800", "\udfff\ud800", "\u0000", "é😀", "a" * 5000, "9" * 400),
    *([], {}, [[]], [None], [1, "a", {}], {"": None}, {"uri": WILD}, {"__class__": 1}),
    *("file://", "file:///%FF%00", "untitled:x", "http://[::1", "file:///" + "../" * 50),
)
NO_MESSAGE = (
    *(b"", b"{", b"null", b"[]", b"5", b'"x"', b"{}", b'{"jsonrpc":"2.0"}', b"\xff\xfe{}", b"\x00" * 9),
    *(b'{"method":5}', b'{"method":"x","params":', b'{"method":"x\\ud800"}', "é".encode("utf-16")),
    *(b'{"a":' * 400 + b"1" + b"}" * 400, b'[{"jsonrpc":"2.0","id":1,"method":"x"}]'),
    *(b'{"jsonrpc":"2.0","method":"x","params":%b}' % value for value in (b"NaN", b"1e9999", b'{"a":"\xff\xc0"}')),
    b'{"jsonrpc":"2.0","id":[1],"method":"textDocument/hover"}',
)
ODD_IDS = (None, 0, -0.0, 0.5, "", "\ud800", 2**53 + 1, 2**64, -(2**65), 1e300, "é😀")
HEADERS = (
    *(b"content-length: %d\r\n\r\n", b"Content-Length:%d\r\n\r\n", b"Content-Length: 0%d\r\n\r\n"),
    *(b"CONTENT-LENGTH:   %d  \r\nX: y\r\n\r\n", b"Content-Length: +%d\r\n\r\n"),
    b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: %d\r\n\r\n",
)
OWNED = ("textDocument/hover", "textDocument/completion", "completionItem/resolve", "starling/rank")
ANSWERS = ("starling:1", "starling-announce:1", "starling:1:1", 1, 1.5, None, 2**70)  # to what nobody asked
GOOD = b'{"jsonrpc":"2.0","method":"$/setTrace","params":{"value":"off"}}'


class OddMessages:
    """The same ones for the same seed. `sent` is given each request's id as it is made."""

    def __init__(self, seed: int, sent: Counter[Key]) -> None:
        self.rng = random.Random(seed)
        self._sent = sent
        self._count = 0
        self._recent: deque[Any] = deque([0], maxlen=50)
        self._kinds = (self._request, self._notification, self._answer, self._odd_id, self._same_id, self._no_message,
                       self._deep, self._not_utf8, self._odd_header)  # fmt: skip

    def next(self) -> bytes:
        """One frame, odd in some way."""
        return self.rng.choices(self._kinds, (40, 38, 4, 3, 3, 4, 1, 3, 4))[0]()

    def _id(self) -> Any:
        """A new id of one of the usual kinds, noted as asked."""
        self._count += 1
        n = self._count
        return self._noted(self.rng.choice([n, n, n, f"s{n}", -n, n + 0.5, 2**53 + n, f"é😀{n}"]))

    def _noted(self, id: Any) -> Any:
        self._sent[key(id)] += 1
        self._recent.append(id)
        return id

    def _mutated(self, params: Any) -> Any:
        """With one of its members, at any depth, taken away or of another kind; sometimes as it is."""
        path = self.rng.choice(list(paths(params)))
        chance = self.rng.random()
        if chance < 0.15:
            return params
        return without(params, path) if chance < 0.3 and path else replaced(params, path, self.rng.choice(WEIRD))

    def _request(self) -> bytes:
        method, params = self.rng.choice(list(REQUESTS.items()))
        rest = {} if self.rng.random() < 0.03 else {"params": self._mutated(params)}
        return framed(id=self._id(), method=method, **rest)

    def _notification(self) -> bytes:
        method, params = self.rng.choice(list(NOTIFICATIONS.items()))
        params = self._mutated(params)
        if method == "$/cancelRequest" and self.rng.random() < 0.7:
            params = {"id": self.rng.choice(self._recent)}
        if method == "workspace/didChangeConfiguration" and self.rng.random() < 0.7:
            name = self.rng.choice(["deadline", "starLimit", "command", "base", "off", "starText", "idle", "nope"])
            params = {"settings": {"starling": {name: self.rng.choice([x for x in WEIRD if x not in (0, 1)])}}}
        return framed(method=method, params=params)

    def _answer(self) -> bytes:
        return framed(**{"id": self.rng.choice(ANSWERS), self.rng.choice(["result", "error"]): self.rng.choice(WEIRD)})

    def _odd_id(self) -> bytes:
        return framed(id=self._noted(self.rng.choice(ODD_IDS)), method="textDocument/hover", params=HERE)

    def _same_id(self) -> bytes:
        id = self._id()
        return b"".join(framed(id=one, method=method, params=HERE) for one, method in ((id, OWNED[0]), (self._noted(id), OWNED[1])))  # fmt: skip

    def _no_message(self) -> bytes:
        return frame(self.rng.choice((*NO_MESSAGE, self.rng.randbytes(self.rng.randrange(1, 60)))))

    def _deep(self) -> bytes:
        depth = self.rng.choice([100, 900, 1100, 5000])
        opening, closing = self.rng.choice([(b'{"a":', b"}"), (b"[", b"]")])
        return self._raw(opening * depth + b"1" + closing * depth)

    def _not_utf8(self) -> bytes:
        uri = WILD.encode() + self.rng.choice([b"", b"\xff", b"\xc3", b"\xed\xa0\x80"])
        where = b'{"textDocument":{"uri":"%b"},"position":{"line":0,"character":0},"label":"\xff"}'
        return self._raw(where % uri)

    def _raw(self, params: bytes) -> bytes:
        method = self.rng.choice((*OWNED, "codeLens/resolve", "workspace/executeCommand"))
        id = json.dumps(self._id())
        return frame(b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b}' % (id.encode(), method.encode(), params))

    def _odd_header(self) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", "id": self._id(), "method": "textDocument/hover", "params": HERE}).encode()
        return self.rng.choice(HEADERS) % len(body) + body

    def torn(self) -> bytes:
        """A stretch of bytes that is no frame, or claims to be another than it is."""
        rng, size = self.rng, len(GOOD)
        kinds = (
            *(b"Content-Length: %b\r\n\r\n" % length + GOOD for length in (b"-5", b"abc", b"", b"1e3", b"9" * 20 + b"x")),
            *(b"Content-Length: %d" % size, b"Content-Length: 5\r\n", b"Content-Le", b"\0" * 9000, b"Content-Length: 7\n\n" + GOOD),
            *(b"\r\n\r\n" * rng.randrange(1, 500), b"X: y\r\n" * rng.randrange(1, 3000) + b"\r\n", b"Content-Length: x\r\n\r\n" * 500),
            *(b"Content-Length: 0\r\n\r\n" * 50, "Content-Length: ٣٤\r\n\r\n".encode(), b"Content-Length: 1_0\r\n\r\n" + b" " * 10),
            *(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", rng.randbytes(rng.randrange(1, 20000))),
            b"Content-Length: 3\r\nContent-Length: %d\r\n\r\n" % size + GOOD,
            b"Content-Length: %d\r\n\r\n" % (size - rng.randrange(1, 40)) + GOOD,
            b"Content-Length: %d\r\n\r\n" % rng.randrange(100, 3000),
        )  # fmt: skip
        data = rng.choice(kinds)
        return data if rng.random() < 0.7 else data[: rng.randrange(len(data) + 1)]


def framed(**members: Any) -> bytes:
    return frame(json.dumps({"jsonrpc": "2.0", **members}).encode())


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to the value itself and to each part of it."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield from paths(member, (*path, name))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another part at the end of this path."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def without(value: Any, path: tuple[Any, ...]) -> Any:
    """A copy without the part at the end of this path."""
    copy = value.copy()
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = without(copy[path[0]], path[1:])
    return copy
