"""The log of what was written where a list was shown: kept only where it is wanted, true to the text, and learned from."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from lsp_server.ranking.acceptance_log import Accepting
from lsp_server.ranking.ranker import Ranker
from tests.lsp_server.ranking.test_ranker import LIST, TEXT, at_end, kept_up, opened
from tests.tuning.models import byte_level
from tuning.ranking.learning.window_building import accepted_windows
from tuning.ranking.serving import acceptance_log
from tuning.ranking.serving.acceptance_log import Accepted
from tuning.ranking.serving.model.file_lock import alone

ENTRY = Accepted(
    path="/w/shop.py", language="python", kind="member", text="self", tail=".", names=["count", "lock", "größe"], beside=[1.0, 0.5, 0.0], truth=""
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(acceptance_log, "file", lambda: tmp_path / "data" / "accepted.jsonl")
    return tmp_path / "data" / "accepted.jsonl"


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (b"self.lock()\n", ["lock"]),
        ("self.größe\n".encode(), ["größe"]),
        (b"self.other()\n", []),  # not of the list
        (b"self.loc", []),  # not written out
        (b"x = 1; self.lock()\n", []),  # it moved: what is there is something else
        (b"", []),
    ],
)
def test_what_stands_there_in_the_end_was_written(later: bytes, expected: list[str]) -> None:
    kept: list[Accepted] = []
    accepting = Accepting(kept.append)
    assert accepting.is_new("file:///w/shop.py", 5)
    accepting.shown("file:///w/shop.py", b"self.", 5, ENTRY, {"count": 0, "größe": 4, "lock": 7})
    accepting.ordered("file:///w/shop.py", 5, ["lock", "count", "größe"])
    accepting.ordered("file:///w/shop.py", 5, ["count"])  # of a longer prefix
    assert not accepting.is_new("file:///w/shop.py", 5)  # the list of a longer prefix has fewer names
    accepting.settle("file:///w/shop.py", later)
    accepting.settle("file:///w/shop.py", later)  # once
    assert [entry.truth for entry in kept] == expected
    places = {"lock": (0, 7), "größe": (2, 4)}
    assert [(entry.place, entry.server_place) for entry in kept] == [places[truth] for truth in expected]


async def written(root: Path, ranker: Ranker) -> None:
    """A list is asked for at the text's end, one of its names is written, and the file closed."""
    document = root / "own.py"
    params = at_end(document, TEXT)
    identifier, end = params["textDocument"], params["position"]
    assert await ranker.rank(params, LIST, lambda _: None, 0.0) is not None
    ranker.did_change(
        {"textDocument": identifier, "contentChanges": [{"range": {"start": end, "end": end}, "text": "copy\n"}]}
    )
    ranker.did_close({"textDocument": identifier})
    await kept_up(ranker)


async def test_what_was_written_is_kept_for_its_owner_alone_and_learned_from(tmp_path: Path, own_log: Path) -> None:
    await written(tmp_path, await opened(tmp_path, tmp_path / "own.py", log_accepted=True))
    assert stat.S_IMODE(own_log.stat().st_mode) == 0o600
    assert stat.S_IMODE(own_log.parent.stat().st_mode) == 0o700
    (entry,) = acceptance_log.read([tmp_path], ["python"])
    assert (entry.truth, entry.tail, entry.kind) == ("copy", ".", "member")
    assert set(entry.names) == {"alpha", "beta", "copy", "value"}
    assert (
        list(acceptance_log.read([tmp_path / "other"], ["python"]))
        == list(acceptance_log.read([tmp_path], ["java"]))
        == []
    )
    tokenizer = byte_level()
    (window,) = accepted_windows([entry], lambda text: tokenizer.encode(text, add_special_tokens=False))
    (site,) = window.sites
    assert (site.names[site.truth], len(site.sequences)) == ("copy", 4)
    assert site.beside == [dict(zip(entry.names, entry.beside, strict=True))[name] for name in site.names]


async def test_what_was_written_through_a_link_is_of_the_folder_itself(tmp_path: Path) -> None:
    root, link = tmp_path / "root", tmp_path / "link"
    root.mkdir()
    link.symlink_to(root)
    await written(link, await opened(link, link / "own.py", log_accepted=True))
    (entry,) = acceptance_log.read([root.resolve()], ["python"])
    assert entry.path == str(root.resolve() / "own.py")


def test_of_two_servers_that_find_the_log_too_long_one_replaces_the_old_one(
    own_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance_log, "LARGEST", 100)
    own_log.parent.mkdir()
    own_log.write_bytes(b"x" * 101)
    other = threading.Thread(target=acceptance_log.keep, args=(ENTRY,))
    with alone(own_log.with_suffix(".lock")):  # held by this server, which found it too long
        other.start()
        other.join(0.1)
        assert other.is_alive()
        own_log.replace(own_log.with_suffix(".old.jsonl"))
        own_log.write_bytes(b"{}\n")
    other.join(30)
    assert own_log.with_suffix(".old.jsonl").read_bytes() == b"x" * 101
    assert own_log.read_bytes().count(b"\n") == 2


async def test_nothing_is_kept_unless_it_is_asked_for(tmp_path: Path, own_log: Path) -> None:
    await written(tmp_path, await opened(tmp_path, tmp_path / "own.py"))
    assert not own_log.parent.exists()


def test_a_long_log_makes_way_and_half_a_line_is_left_out(own_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance_log, "LARGEST", 400)
    for _ in range(9):
        acceptance_log.keep(ENTRY)
    assert own_log.stat().st_size <= 800
    with own_log.open("ab") as log:
        log.write(b'{"path": "/w/sh')
    found = list(acceptance_log.read([Path("/w")], ["python"]))
    assert 0 < len(found) < 9
    assert all(entry.names == ENTRY.names for entry in found)
