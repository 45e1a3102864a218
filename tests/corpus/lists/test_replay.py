"""A wrapped server asked at positions: it sees just the text it should, and its crashes cost their own position."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.lists import replay as replaying
from corpus.lists.positions import Position, cut
from corpus.lists.replay import Opened, Replay, changed
from lsp_server.servers.backend import BackendExited, BackendMissing

FAKE = Path(__file__).parents[2] / "fakes" / "fake_server.py"
SOURCE = "import os\r\nnaïve = os.path\r\nprint('😀', os.getcwd(), naïve.name)\r\nos.chdir('x')\r\n".encode()
TEXTS = st.text(alphabet=st.sampled_from("ab\r\né😀"), max_size=12)


def server(tmp_path: Path, **spec: Any) -> tuple[tuple[str, ...], Path]:
    """A fake server's command and the log of what it hears."""
    log = tmp_path / "log"
    given = {"log": str(log), "completion": [{"label": "getcwd"}, {"label": "path", "sortText": "0"}], **spec}
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(given))
    return (sys.executable, str(FAKE), str(file)), log


def position(start: bytes, form: str = "line") -> Position:
    """The member that follows `start` in SOURCE."""
    at = SOURCE.index(start) + len(start)
    end = at + len(SOURCE[at:].split(b"(")[0].split(b")")[0].split(b"\r")[0])
    tail = end if form == "name" else SOURCE.index(b"\r", at)
    return Position(path="a.py", start=at, end=end, offset=at, tail=tail, kind="member", form=form)


def opened(*positions: Position) -> Opened:
    return Opened(path="a.py", data=SOURCE, language_id="python", positions=positions)


def heard(log: Path, method: str) -> list[Any]:
    messages = (json.loads(line) for line in log.read_text().splitlines())
    return [message["params"] for message in messages if message.get("method") == method]


def texts_seen(log: Path) -> list[str]:
    """The document's text after each change, as a server that follows LSP to the letter has it."""
    text = heard(log, "textDocument/didOpen")[0]["textDocument"]["text"]
    found = [text]
    for params in heard(log, "textDocument/didChange"):
        for change in params["contentChanges"]:
            if "range" not in change:
                text = change["text"]
                continue
            start, end = (offset(text, change["range"][end]) for end in ("start", "end"))
            text = text[:start] + change["text"] + text[end:]
        found.append(text)
    return found


def offset(text: str, place: dict[str, int]) -> int:
    lines = text.split("\n")
    before = sum(len(line) + 1 for line in lines[: place["line"]])
    units = lines[place["line"]].encode("utf-16-le")[: 2 * place["character"]]
    return before + len(units.decode("utf-16-le"))


async def asked(replay: Replay, *positions: Position) -> list[list[str] | None]:
    lists = await replay.ask(opened(*positions))
    await replay.stop()
    return [None if found is None else [candidate.name for candidate in found] for found in lists]


@pytest.mark.parametrize("sync", [2, 1, {"change": 2}, {"openClose": True}])
async def test_the_server_sees_the_text_with_its_hole(tmp_path: Path, sync: object) -> None:
    command, log = server(tmp_path, capabilities={"textDocumentSync": sync})
    places = [position(b"\r\nos."), position("'😀', os.".encode()), position("naïve.".encode(), "name")]
    lists = await asked(Replay(root=tmp_path, base=tmp_path, command=command), *places)
    assert lists == [["getcwd", "path"]] * 3
    wanted = [b"".join(cut(SOURCE, place)).decode() for place in sorted(places, key=lambda place: place.offset)]
    assert list(dict.fromkeys(texts_seen(log))) == wanted
    cursors = [params["position"] for params in heard(log, "textDocument/completion")]
    assert cursors[-3:] == [{"line": 2, "character": 15}, {"line": 2, "character": 31}, {"line": 3, "character": 3}]


@given(TEXTS, TEXTS)
def test_what_changed_is_whole_characters_and_enough(old: str, new: str) -> None:
    before, after = old.encode(), new.encode()
    start, end, until = changed(before, after)
    assert before[:start] + after[start:until] + before[end:] == after
    for part in (before[:start], before[:end], after[start:until]):
        part.decode()
    for at, text in ((start, before), (end, before)):
        assert text[at - 1 : at + 1] != b"\r\n" or at == 0


async def test_a_crash_costs_its_own_position_and_the_server_comes_again(tmp_path: Path) -> None:
    command, _ = server(tmp_path, crash_on=["textDocument/completion"], crash_once=str(tmp_path / "crashed"))
    replay = Replay(root=tmp_path, base=tmp_path, command=command)
    assert await asked(replay, position(b"\r\nos."), position("'😀', os.".encode())) == [["getcwd", "path"], None]
    assert replay.spent.starts == 2


async def test_a_server_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "ANSWER_SECONDS", 0.2)
    command, _ = server(tmp_path, hang=["textDocument/completion", "shutdown"])
    replay = Replay(root=tmp_path, base=tmp_path, command=command)
    assert await asked(replay, position(b"\r\nos.")) == [None]


async def test_a_command_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BackendMissing):
        await asked(Replay(root=tmp_path, base=tmp_path, command=("no-such-server",)), position(b"\r\nos."))


async def test_a_server_that_always_fails_is_given_up(tmp_path: Path) -> None:
    command, _ = server(tmp_path, crash_on=["initialize"])
    with pytest.raises(BackendExited):
        await asked(Replay(root=tmp_path, base=tmp_path, command=command), *[position(b"\r\nos.")] * 20)


async def test_a_server_is_told_its_settings_and_options(tmp_path: Path) -> None:
    ask = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "workspace/configuration",
        "params": {"items": [{"section": "a.b"}, {}, {"section": "x"}]},
    }
    command, log = server(tmp_path, on_open={key: value for key, value in ask.items() if key != "jsonrpc"})
    settings = {"a": {"b": {"c": 1}}}
    await asked(
        Replay(root=tmp_path, base=tmp_path, command=command, settings=settings, options={"o": 1}), position(b"\r\nos.")
    )
    answers = [json.loads(line) for line in log.read_text().splitlines()]
    assert [m["result"] for m in answers if m.get("id") == 7] == [[{"c": 1}, settings, None]]
    assert heard(log, "initialize")[0]["initializationOptions"] == {"o": 1}
    assert heard(log, "workspace/didChangeConfiguration") == [{"settings": settings}]
    assert heard(log, "initialize")[0]["capabilities"]["general"] == {"positionEncodings": ["utf-16"]}


async def test_what_a_server_says_that_it_is_at_work_on_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "QUIET_SECONDS", 0.3)
    begin = {"method": "$/progress", "params": {"token": 1, "value": {"kind": "begin", "title": "reading"}}}
    command, log = server(tmp_path, on_open=begin)
    await asked(Replay(root=tmp_path, base=tmp_path, command=command), position(b"\r\nos."))
    assert len(heard(log, "textDocument/completion")) == 2  # once to see it warm, once after waiting


async def test_a_position_with_nothing_to_offer_is_not_waited_for(tmp_path: Path) -> None:
    command, log = server(tmp_path, nothing_on=[1])
    replay = Replay(root=tmp_path, base=tmp_path, command=command)
    assert await asked(replay, position(b"= os."), position(b"\r\nos.")) == [[], ["getcwd", "path"]]
    places = [params["position"]["line"] for params in heard(log, "textDocument/completion")]
    assert places == [1, 3, 1, 3]  # until one has something, then each
