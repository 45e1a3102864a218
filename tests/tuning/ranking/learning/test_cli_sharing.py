"""`starling adapters publish` and `sync` as they are typed: what they print, and their exit codes."""

from __future__ import annotations

import io
import json
from collections.abc import Generator
from pathlib import Path

import pytest
from rich.console import Console

from tests.tuning.ranking.serving.sharing.publications import (
    Server,
    adapter,
    change_index,
    send,
    table,
    trained,
    used_value,
    version,
)
from tuning.ranking.__main__ import main
from tuning.ranking.learning import cli_sharing
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, USAGE
from tuning.ranking.serving.sharing import syncing
from tuning.ranking.serving.sharing.publication import INDEX

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ann published: an adapter and a usage table, both called team; bob's home from here on."""
    monkeypatch.setattr(adapter_registry, "home", lambda kind=ADAPTERS: tmp_path / "ann" / kind)
    trained(adapter(tmp_path / "made"))
    trained(table(tmp_path / "tables"), kind=USAGE)
    share = tmp_path / "share"
    assert main(["adapters", "publish", "team", "--to", str(share)]) == 0
    assert main(["adapters", "publish", "team", "--usage", "--to", str(share)]) == 0
    monkeypatch.setattr(adapter_registry, "home", lambda kind=ADAPTERS: tmp_path / "bob" / kind)
    (tmp_path / "code" / "shop").mkdir(parents=True)
    return share


@pytest.fixture
def server(share: Path) -> Generator[Server]:
    with Server(share).running() as running:
        yield running


def sync(share: Path | str, *words: str) -> int:
    return main(["adapters", "sync", str(share), *words])


def said(captured: Captured) -> str:
    shown = captured.readouterr()
    return " ".join((shown.out + shown.err).split())


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def test_from_publishing_to_a_step_back(share: Path, capsys: Captured) -> None:
    assert sync(share, "--workspace", str(share.parent / "code")) == 0
    text = said(capsys)
    assert text.count("installed") == 2 and str(share.parent / "code" / "shop") in text
    assert "To go back: starling rollback team or starling rollback team --usage" in text
    assert sync(share, "--workspace", str(share.parent / "code")) == 0
    assert said(capsys) == f"{share}: nothing new, 2 up to date"
    assert main(["adapters"]) == 0
    text = said(capsys)
    assert " from " in text and text.count(str(share)) == 2
    assert main(["adapters", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["kind"], row["source"]) for row in rows] == [("adapters", str(share)), ("usage", str(share))]
    assert main(["rollback", "team"]) == main(["rollback", "team", "--usage"]) == 0
    assert (version(), version(kind=USAGE)) == (0, 0)
    capsys.readouterr()
    assert sync(share, "--everywhere") == 0
    assert said(capsys).count("you went back from this version") == 2
    assert sync(share, "--everywhere", "--replace", "--name", "team") == 0
    assert (version(), version(kind=USAGE)) == (2, 2)


def test_what_was_trained_here_is_told_from_what_came(share: Path, tmp_path: Path, capsys: Captured) -> None:
    trained(adapter(tmp_path / "made"), "own")
    assert main(["adapters"]) == 0
    assert " from " not in said(capsys)  # as before, for who follows nobody
    sync(share, "--everywhere")
    capsys.readouterr()
    assert main(["adapters"]) == 0
    assert "trained here" in said(capsys)


def test_publishing_says_what_is_new(share: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(adapter_registry, "home", lambda kind=ADAPTERS: share.parent / "ann" / kind)
    capsys.readouterr()
    assert main(["adapters", "publish", "team", "--to", str(share)]) == 0
    assert "was published before" in said(capsys)
    trained(adapter(share.parent / "made", 2.0))
    assert main(["adapters", "publish", "team", "--to", str(share)]) == 0
    assert f"adapter team: published in {share}" in said(capsys)
    assert main(["adapters", "publish", "nobody", "--to", str(share)]) == 2
    assert "no adapter 'nobody' is used; there are: team" in said(capsys)


def test_a_source_that_can_not_be_reached_ends_with_1_and_what_is_installed_goes_on(
    share: Path, server: Server, capsys: Captured
) -> None:
    assert sync(server.address, "--everywhere") == 0
    server.answers[f"/{INDEX}"] = lambda handler: send(handler, b"", 503)
    capsys.readouterr()
    assert sync(server.address, "--everywhere") == 1
    text = said(capsys)
    assert f"{server.address} could not be read: 503" in text and "What is installed goes on as it is." in text
    assert sync(share.parent / "nowhere") == 1
    assert used_value() == 1.0


def test_what_is_refused_ends_with_1_and_the_rest_is_installed(share: Path, capsys: Captured) -> None:
    change_index(share, lambda index: index["entries"].append({"kind": "\x1b[2J", "name": "bad\x1b[31m"}))
    assert sync(share) == 1
    text = said(capsys)
    assert "\x1b" not in text and text.count(" refused ") == 3 and "--workspace FOLDER" in text
    assert sync(share, "--everywhere") == 1
    assert (version(), version(kind=USAGE)) == (1, 1)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["http://example.org/x"], "needs https"),
        (["hf:nobody"], "hf:OWNER/NAME"),
        (["SHARE", "--workspace", "/not/there"], "is no folder"),
        (["SHARE", "--base", "/not/there"], "the base /not/there is not there"),
        (["SHARE", "--token-file", "/not/there"], "/not/there"),
        (["SHARE", "--every", "0"], "above 0"),
        (["SHARE", "--every", "nan"], "above 0"),
    ],
    ids=str,
)
def test_what_makes_no_sense_ends_with_2(share: Path, words: list[str], what: str, capsys: Captured) -> None:
    assert main(["adapters", "sync", *(str(share) if word == "SHARE" else word for word in words)]) == 2
    assert what in said(capsys)
    assert (version(), version(kind=USAGE)) == (0, 0)


def test_a_token_comes_from_a_file_or_the_environment_and_is_never_shown(
    share: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def guarded(handler: object) -> None:
        allowed = handler.headers["Authorization"] == "Bearer s3cret"  # type: ignore[attr-defined]
        send(handler, (share / INDEX).read_bytes() if allowed else b"", 200 if allowed else 401)  # type: ignore[arg-type]

    server.answers[f"/{INDEX}"] = guarded
    assert sync(server.address, "--everywhere") == 1
    monkeypatch.setenv(cli_sharing.TOKEN, "wr0ng")
    assert sync(server.address, "--everywhere") == 1
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    assert sync(server.address, "--everywhere", "--token-file", str(file)) == 0
    monkeypatch.setenv(cli_sharing.TOKEN, "s3cret")
    assert sync(server.address, "--everywhere") == 0
    assert sync(share, "--everywhere", "--dry-run") == 0  # a folder needs none, and the variable may stay
    assert main(["adapters"]) == 0
    text = said(capsys)
    assert "401" in text and "s3cret" not in text and "wr0ng" not in text
    kept = b"".join(one.read_bytes() for one in (tmp_path / "bob").rglob("*") if one.is_file())
    assert b"s3cret" not in kept


def test_a_dry_run_says_what_would_be_done(share: Path, capsys: Captured) -> None:
    assert sync(share, "--everywhere", "--dry-run") == 0
    text = said(capsys)
    assert "what would be done" in text and "Back:" not in text
    assert not (share.parent / "bob").exists()


def test_every_so_many_minutes_goes_on_past_what_fails(
    share: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    slept: list[float] = []
    away = share.parent / "away"

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            share.rename(away)
        elif len(slept) == 2:
            away.rename(share)
        elif len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli_sharing.time, "sleep", sleep)
    assert sync(share, "--everywhere", "--every", "30") == 130
    assert slept == [1800.0] * 3
    text = said(capsys)
    assert "is not there" in text and "nothing new, 2 up to date" in text


def test_nothing_published_is_said(share: Path, capsys: Captured) -> None:
    change_index(share, lambda index: index.update(entries=[]))
    assert sync(share) == 0
    assert "nothing new, nothing is published there" in said(capsys)


def test_a_long_download_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal in (True, False):
        out = io.StringIO()
        console = Console(file=out, force_terminal=is_terminal, width=100)
        with cli_sharing._watched(console, "fetching team", 40_000_000) as advance:  # pyright: ignore[reportPrivateUsage]
            for _ in range(10):
                advance(4_000_000)
        assert "fetching team" in out.getvalue() and ("MB" in out.getvalue() or "40,000,000" in out.getvalue())


def test_a_second_sync_waits_and_says_so(share: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    alone = syncing.alone

    def busy(path: Path, waiting: object) -> object:
        waiting()  # type: ignore[operator]
        return alone(path)

    monkeypatch.setattr(syncing, "alone", busy)
    assert sync(share, "--everywhere") == 0
    assert "waiting for another sync that runs here" in said(capsys)
