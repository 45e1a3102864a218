"""starling log: the shares of what was written that stood first, with Starling and by the server alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from starling_lsp.commands.log import main
from tuning.ranking.serving import acceptance_log
from tuning.ranking.serving.acceptance_log import Accepted


@pytest.fixture(autouse=True)
def own_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance_log, "file", lambda: tmp_path / "accepted.jsonl")


def wrote(language: str, place: int | None, server_place: int | None, path: str = "/w/a") -> None:
    acceptance_log.keep(
        Accepted(
            path=path, language=language, kind="member", text="x", tail="", names=["n"], beside=[0.0], truth="n",
            place=place, server_place=server_place,
        )
    )  # fmt: skip


def test_shares_by_language_and_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    for place, server_place in ((0, 3), (0, 0), (1, 9), (7, 2)):
        wrote("rust", place, server_place)
    wrote("go", 0, 5)
    wrote("go", None, None)  # of a log that did not have places yet
    assert main(["log", "--json"]) == 0
    rust, go, everything = json.loads(capsys.readouterr().out)
    assert rust == {
        "language": "rust", "count": 4, "first": 0.5, "first_by_server": 0.25, "among_five": 0.75, "among_five_by_server": 0.75,
    }  # fmt: skip
    assert (go["count"], go["first"], go["first_by_server"]) == (1, 1.0, 0.0)
    assert (everything["language"], everything["count"], everything["first"]) == ("all", 5, 0.6)


def test_a_sentence_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    wrote("rust", 0, 3)
    assert main(["log"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Starling had first what you wrote in 100% of 1 lists; your server alone would have had it in 0%." in said


def test_only_of_a_folder_and_of_the_last_days(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3 * 86_400)
    wrote("rust", 0, 3, "/w/old")
    monkeypatch.setattr(time, "time", lambda: now)
    wrote("rust", 1, 3, "/w/new")
    wrote("rust", 1, 3, "/elsewhere/new")
    assert main(["log", "--json", "--days", "1", "--repo", "/w"]) == 0
    assert [(one["count"], one["first"]) for one in json.loads(capsys.readouterr().out)] == [(1, 0.0)]


def test_where_nothing_was_kept_it_says_how_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log"]) == 1
    assert "--log-accepted" in capsys.readouterr().out


def test_all_files_of_the_log_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance_log, "LARGEST", 1)
    wrote("rust", 0, 3)
    wrote("rust", 0, 3)
    assert main(["log"]) == 0
    old, log = acceptance_log.files()
    assert f"The log is {old} and {log}; delete it" in capsys.readouterr().out
    log.unlink()
    assert main(["log"]) == 0
    assert f"The log is {old}; delete it" in capsys.readouterr().out
    assert main(["log", "--repo", "/elsewhere"]) == 1
    assert "nothing of these days and folders" in capsys.readouterr().out
