"""Random messages both ways: what Starling does not own passes as the bytes it came as, however its JSON is written."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from lsp_server.servers.backend import Backend
from tests.fakes.editor import editing

NUMBERS = ("0", "-0", "-0.0", "1.0", "1e3", "1.50E-7", "18446744073709551616", "-9007199254740993", "1e400", "0.1")
TEXTS = ('"x"', '"\\u00e9"', '"é😀"', '"\\ud83d"', '"\\/"', '""', '"jsonrpc"', '"\\u0000"')
NAMES = ('"a"', '"id"', '"method"', '"result"', '"textDocument"', '"uri"', '"é"', '"x y"', '"kind"')
IDS = ("7", '"7"', "-1", "7.5", '"é"', "null", "12345678901234567890", '"starling:1"', '"starling:x"')
SPACES = ("", " ", "\n", "\t", "  ")


def value(rng: random.Random, depth: int = 0) -> str:
    """Some JSON, written oddly."""
    space = rng.choice(SPACES)
    kind = rng.random() * (1 if depth < 4 else 0.6)
    if kind < 0.3:
        return rng.choice(NUMBERS)
    if kind < 0.5:
        return rng.choice(TEXTS)
    if kind < 0.6:
        return rng.choice(("null", "true", "false"))
    count = rng.randrange(4)
    if kind < 0.8:
        return "[" + f"{space},".join(value(rng, depth + 1) for _ in range(count)) + "]"
    return "{" + f"{space},".join(f"{rng.choice(NAMES)}{space}:{value(rng, depth + 1)}" for _ in range(count)) + "}"


def message(rng: random.Random, *members: str) -> bytes:
    """An object of these members and one that nobody knows, in any order."""
    parts = ['"jsonrpc":"2.0"', *members, f'"unknown": {value(rng)}']
    rng.shuffle(parts)
    return ("{" + rng.choice((",", ", ", " ,\n")).join(parts) + "}").encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("seed", range(4))
async def test_what_passes_passes_as_it_came(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    sent: list[bytes] = []
    real = Backend.send

    def send(self: Backend, body: bytes) -> None:
        sent.append(body)
        real(self, body)

    async with editing(tmp_path, hang=["odd/request"]) as editor:
        await editor.flushed()
        monkeypatch.setattr(Backend, "send", send)
        for _ in range(150):
            request = message(rng, f'"id":{rng.choice(IDS)}', '"method":"odd/request"', f'"params":{value(rng)}')
            notification = message(rng, '"method":"odd/note"', f'"params":{value(rng)}')
            for body in (request, notification):
                sent.clear()
                editor.say(body)
                assert sent in ([body], [])  # none: its id is in use
                assert body == notification or sent or "is in use" in str(editor.messages[-1])
                assert body == request or sent
        server = editor.session.pool.one
        assert server is not None
        for _ in range(150):
            note = message(rng, '"method":"odd/note"', f'"params":{value(rng)}')
            server._process._backend._received(note)  # type: ignore[union-attr]
            assert editor.received[-1] == note


@pytest.mark.parametrize("seed", range(4))
async def test_an_answer_passes_as_it_came(tmp_path: Path, seed: int) -> None:
    rng = random.Random(100 + seed)
    async with editing(tmp_path, hang=["odd/request"]) as editor:
        server = editor.session.pool.one
        assert server is not None
        for number in range(100):
            id = rng.choice((f"{1000 + number}", f'"r{number}"', f"{number}.5"))
            editor.request("odd/request", None, json.loads(id))
            answer = message(rng, f'"id":{id}', rng.choice((f'"result":{value(rng)}', f'"error":{value(rng)}')))
            server._process._backend._received(answer)  # type: ignore[union-attr]
            assert editor.received[-1] == answer
