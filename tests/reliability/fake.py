"""A wrapped server that follows texts, answers at once, and has a fault where its specification says so.

    python fake.py SPECIFICATION

The specification is JSON: `faults` (method to the name of a fault), `once` (a path: the fault comes only while nothing is
there), `items` (the labels of its completion list). The request `fake/texts` tells the texts of the open documents;
the notification `fake/crash` ends the process.
"""

import json
import os
import re
import sys
import time

from texts import applied

specification = json.loads(sys.argv[1])
faults, once = specification.get("faults", {}), specification.get("once")
items = [{"label": label, "kind": 2} for label in specification.get("items", ("alpha", "beta", "value", "gamma"))]
read, write = sys.stdin.buffer, sys.stdout.buffer
texts: dict[str, str] = {}

CAPABILITIES = {
    "textDocumentSync": 2,
    "hoverProvider": True,
    "documentSymbolProvider": True,
    "completionProvider": {"triggerCharacters": ["."], "resolveProvider": True},
}


def send(message) -> None:
    """A message, or bytes to stand as the body of one."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    write.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    write.flush()


def answer(message, **members) -> None:
    """The usual reply, with these members in the place of its own. A notification gets one only if `id` is given."""
    if "id" in message or "id" in members:
        result = {"result": result_of(message)} if "error" not in members else {}
        send({"jsonrpc": "2.0", "id": message.get("id"), **result, **members})


def result_of(message):
    method, params = message["method"], message.get("params")
    if method == "initialize":
        return {"capabilities": CAPABILITIES, "serverInfo": {"name": "fake"}}
    if method == "textDocument/completion":
        return {"isIncomplete": False, "items": items}
    if method == "completionItem/resolve":
        return params
    return {"fake/texts": texts, "textDocument/hover": {"contents": "hover"}}.get(method)


def follow(method, params) -> None:
    """Keep the texts; what makes no sense changes nothing."""
    try:
        document = params["textDocument"]
        if method == "textDocument/didOpen":
            texts[document["uri"]] = document["text"]
        elif method == "textDocument/didClose":
            texts.pop(document["uri"], None)
        elif method == "textDocument/didChange" and document["uri"] in texts:
            texts[document["uri"]] = applied(texts[document["uri"]], params["contentChanges"])
    except (LookupError, TypeError, AttributeError):
        pass


# Faults: each gets the message in the place of the usual handling.


def crash(message) -> None:
    os._exit(3)


def hang(message) -> None:
    """No reply; the next messages are handled."""


def deaf(message) -> None:
    while True:
        time.sleep(60)


def garbage_reply(message) -> None:
    send(b'{"jsonrpc":"2.0","id":%b,"result":{{{' % json.dumps(message.get("id")).encode())


def garbage_frame(message) -> None:
    write.write(os.urandom(3000) + b"\r\n\r\nContent-Length: zzz\r\n\r\n")
    answer(message)


def reply_twice(message) -> None:
    answer(message)
    answer(message)


def wrong_id(message) -> None:
    id = message.get("id")
    answer(message, id=f"{id}x" if isinstance(id, str) else [str(id), 987654321, None][(id or 0) % 3])


def null(message) -> None:
    answer(message, id=message.get("id"), result=None)


def error(message) -> None:
    answer(message, id=message.get("id"), error={"code": -32803, "message": "as told"})


def closes_output(message) -> None:
    os.close(1)
    deaf(message)


def handle(message) -> None:
    method = message["method"]
    follow(method, message.get("params"))
    if method == "fake/crash":
        crash(message)
    fault = faults.get(method)
    if fault is not None and not (once is not None and happened_before()):
        globals()[fault](message)
    elif method == "exit":
        sys.exit()
    else:
        answer(message)


def happened_before() -> bool:
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return True
    return False


def messages():
    """The messages of the editor. A request that can't be decoded is refused here."""
    while line := read.readline():
        length = 0
        while line.strip():
            if line.lower().startswith(b"content-length"):
                length = int(line.split(b":")[1])
            line = read.readline()
        text = read.read(length).decode("utf-8", "replace")
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            id = re.search(r'"id": ?(-?[\d.e+]+|"(?:[^"\\]|\\.)*"|null)', text[:200])
            if id and '"method"' in text:
                answer({"id": json.loads(id[1])}, error={"code": -32700, "message": "can't be read"})
            continue
        if isinstance(message, dict) and "method" in message:
            yield message


for one in messages():
    handle(one)
