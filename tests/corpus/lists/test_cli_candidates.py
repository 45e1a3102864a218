"""`python -P -m corpus candidates` as a person runs it: what it writes, what it says, and what it says of bad input."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.__main__ import main
from corpus.lists.cli_candidates import servers_of
from corpus.lists.list_files import read_lists
from corpus.mining.mine import Source, mine
from corpus.mining.shards import alone
from corpus.mining.survey import Options
from tests.corpus.repositories import module, repository

NAMES = ("ada", "bea")
FAKE = Path(__file__).parents[2] / "fakes" / "fake_server.py"


@pytest.fixture
def mined(tmp_path: Path) -> Path:
    """A corpus of two repositories; `places` beside it says where they are."""
    files = {name: {f"src/{name}_{n}.py": module(f"{name}{n}", 40) for n in range(3)} for name in NAMES}
    sources = [Source(place=str(repository(tmp_path / f"{name}.git", files[name])), name=f"o/{name}") for name in NAMES]
    mine(sources, tmp_path / "corpus", Options())
    (tmp_path / "places").write_text(
        "# where they are\n" + "".join(f"{source.place} {source.name}\n" for source in sources)
    )
    return tmp_path / "corpus"


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: dict[str, object]) -> None:
    """Put a server that does what `spec` says on PATH, by the name of a preset's command."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    server = programs / "jedi-language-server"
    server.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "{tmp_path / "spec.json"}"\n')
    server.chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")


def run(mined: Path, *flags: str) -> int:
    given = ("candidates", str(mined), "--list", str(mined.parent / "places"), "--out", str(mined.parent / "lists"))
    return main([*given, *flags])


def test_pseudo_lists_are_written_and_counted(mined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(mined, "--pseudo", "--per-repository", "20") == 0
    rows = list(read_lists(mined.parent / "lists" / "lists.parquet"))
    assert {row.repository for row in rows} == {"o/ada", "o/bea"}
    assert {row.server for row in rows} == {""}
    summary = json.loads((mined.parent / "lists" / "lists.json").read_text())
    assert sum(row["positions"] for row in summary["repositories"]) == len(rows)
    assert "lists, by what was completed" in capsys.readouterr().err


def again(mined: Path, manifest: Path) -> int:
    places, out = str(mined.parent / "places"), str(mined.parent / "again")
    return main(["rebuild", str(manifest), "--list", places, "--out", out, "--jobs", "1"])


@pytest.mark.parametrize("flags", [("--pseudo",), ("--server", "python=jedi")])
def test_lists_are_recorded_again_from_their_manifest(
    flags: tuple[str, ...],
    mined: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in(tmp_path, monkeypatch, {"completion": [{"label": "ada0"}, {"label": "value"}]})
    assert run(mined, *flags, "--language", "python", "--per-repository", "20") == 0
    before, after = mined.parent / "lists", mined.parent / "again"
    assert again(mined, before / "lists.json") == 0
    assert list(read_lists(after / "lists.parquet")) == list(read_lists(before / "lists.parquet"))
    assert (after / "lists.json").read_bytes() == (before / "lists.json").read_bytes()
    assert "2 of 2 repositories" in " ".join(capsys.readouterr().err.split())


def test_lists_of_which_a_repository_is_not_here_are_recorded_without_it(
    mined: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(mined, "--pseudo", "--per-repository", "20") == 0
    kept = [line for line in (mined.parent / "places").read_text().splitlines() if "o/bea" not in line]
    (mined.parent / "places").write_text("\n".join(kept))
    assert again(mined, mined.parent / "lists" / "lists.json") == 0
    assert {row.repository for row in read_lists(mined.parent / "again" / "lists.parquet")} == {"o/ada"}
    assert "1 of 2 repositories" in " ".join(capsys.readouterr().err.split())


def test_other_positions_than_the_manifests_are_said(mined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(mined, "--pseudo", "--per-repository", "20") == 0
    file = mined.parent / "lists" / "lists.json"
    manifest = json.loads(file.read_text())
    manifest["repositories"][1]["positions"] += 1
    file.write_text(json.dumps(manifest))
    assert again(mined, file) == 1
    assert "Other positions were asked for in o/bea" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1, "repositories": []}'])
def test_a_manifest_that_is_none_is_said(content: str, mined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mined.parent / "odd.json").write_text(content)
    assert again(mined, mined.parent / "odd.json") == 2
    assert "Give one that `mine` or `candidates` wrote" in " ".join(capsys.readouterr().err.split())


def test_no_more_repositories_than_asked_for(mined: Path) -> None:
    assert run(mined, "--pseudo", "--repositories", "1", "--per-repository", "20") == 0
    assert len({row.repository for row in read_lists(mined.parent / "lists" / "lists.parquet")}) == 1


def test_nothing_to_ask_about_says_what_to_check(mined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(mined, "--pseudo", "--language", "java") == 2
    assert "Check --list, --language and --part" in " ".join(capsys.readouterr().err.split())


def test_a_corpus_that_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "places").write_text("")
    assert main(["candidates", str(tmp_path), "--list", str(tmp_path / "places"), "--out", str(tmp_path / "out")]) == 2
    assert "no manifest" in " ".join(capsys.readouterr().err.split())


def test_two_runs_on_one_folder_are_refused(mined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mined.parent / "lists").mkdir()
    with alone(mined.parent / "lists"):
        assert run(mined, "--pseudo", "--per-repository", "20") == 2
    assert "is being written by another run" in " ".join(capsys.readouterr().err.split())


def test_a_data_card_is_markdown(mined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(mined), "--markdown"]) == 0
    assert "| python " in capsys.readouterr().out


def check_ended_while_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, module: str, *words: str
) -> None:
    """A command that asks the server "python=jedi" gets a signal while it waits for a list: it leaves no folder and no server."""
    heard, temporary = tmp_path / "heard", tmp_path / "temporary"
    os.mkfifo(heard)
    temporary.mkdir()
    stand_in(tmp_path, monkeypatch, {"hang": ["textDocument/completion"], "log": str(heard)})
    command = [sys.executable, "-m", module, *words, "--server", "python=jedi"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    messages = os.open(heard, os.O_RDWR)  # both ways: no writer waits, no end is read between two of them
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:
        so_far = b""
        while b"textDocument/completion" not in so_far and running.poll() is None:
            if select.select([messages], [], [], 1)[0]:
                so_far += os.read(messages, 1 << 16)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    os.close(messages)
    assert running.returncode == 130, said
    assert "goes on where it stopped" in said
    assert list(temporary.iterdir()) == []


def test_ended_from_outside_it_leaves_no_folder_and_no_server(
    mined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("candidates", str(mined), "--list", str(tmp_path / "places"), "--out", str(tmp_path / "lists"))
    check_ended_while_asking(tmp_path, monkeypatch, signal.SIGTERM, "corpus", *words, "--per-repository", "10")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("python=nobody", "There are basedpyright, ty"),
        ("nobody", "names no server that is known"),
        ("cobol=ty", "There are bash, c"),
    ],
)
def test_a_server_that_is_unknown_is_said_with_those_that_are(
    given: str, said: str, mined: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(mined, "--server", given) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_server_is_named_for_a_language_or_for_all_that_have_it() -> None:
    assert servers_of(["tsgo", "python=ty"]) == {
        "javascript": "tsgo",
        "typescript": "tsgo",
        "tsx": "tsgo",
        "python": "ty",
    }
    assert servers_of(["basedpyright", "ruff"])["python"] == "basedpyright"


def test_a_corpus_that_was_mined_here_needs_no_list(tmp_path: Path) -> None:
    files = {name: {f"src/{name}_{n}.py": module(f"{name}{n}", 40) for n in range(3)} for name in NAMES}
    places = [str(repository(tmp_path / f"{name} ß", files[name])) for name in NAMES]
    assert main(["mine", *places, "--out", str(tmp_path / "corpus")]) == 0
    assert (
        main(
            [
                "candidates",
                str(tmp_path / "corpus"),
                "--pseudo",
                "--per-repository",
                "20",
                "--out",
                str(tmp_path / "lists"),
            ]
        )
        == 0
    )
    assert {row.repository for row in read_lists(tmp_path / "lists" / "lists.parquet")} == {"ada ß", "bea ß"}


@pytest.mark.parametrize("listed", [False, True], ids=["where mine read them", "--list"])
def test_repositories_are_found_however_they_were_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    """A bare one, a revision of one, and the current folder: all have the name that the corpus has for them."""
    here = tmp_path / "cyd"
    for place in (tmp_path / "ada.git", tmp_path / "bea", here / ".git"):
        name = place.parent.name if place.name == ".git" else place.stem
        code = {f"src/{name}_{n}.py": module(f"{name}{n}", 40) for n in range(3)}
        repository(place, code, {**code, f"src/{name}_later.py": module(f"{name}_later", 40)})
    monkeypatch.chdir(here)
    places = [str(tmp_path / "ada.git"), f"{tmp_path / 'bea'}@HEAD~1", "."]
    (tmp_path / "places").write_text("\n".join(places))
    assert main(["mine", *places, "--out", str(tmp_path / "corpus")]) == 0
    given = ["--list", str(tmp_path / "places")] if listed else []
    out = tmp_path / "lists"
    assert (
        main(["candidates", str(tmp_path / "corpus"), *given, "--pseudo", "--per-repository", "20", "--out", str(out)])
        == 0
    )
    assert {row.repository for row in read_lists(out / "lists.parquet")} == {"ada", "bea", "cyd"}


def test_repositories_that_are_left_out_are_said(mined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = [line for line in (mined.parent / "places").read_text().splitlines() if "o/bea" not in line]
    (mined.parent / "places").write_text("\n".join(kept))
    assert run(mined, "--pseudo", "--per-repository", "20") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"1 of 2 repositories are left out; {mined.parent / 'places'} has no place for them: o/bea" in said


def test_a_corpus_from_elsewhere_asks_for_a_list(mined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["candidates", str(mined), "--pseudo", "--out", str(mined.parent / "lists")]) == 2
    assert "Give --list FILE" in " ".join(capsys.readouterr().err.split())
