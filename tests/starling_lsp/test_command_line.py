"""What `starling` does with its words: a command, the server, or one clear sentence."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lsp_server import __version__
from starling_lsp.__main__ import main
from starling_lsp.commands import COMMANDS
from starling_lsp.commands.nvim_path import FOLDER
from tests.scenarios.harness import Scene


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_that_names_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"starling {name}" in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in said] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["docter"], "Did you mean 'doctor'?"),
        (["zzz"], "there is no command 'zzz'"),
        (["--deadline", "3"], "starling --stdio"),
        (["--stdio", "--"], "give the command to wrap"),
        (["--stdio", "--server", "nope"], "--server 'nope'"),
        (["complete", "nowhere.py:1:1"], "no such file"),
        (["complete", "x"], "expected FILE:LINE:COL"),
        (["train", "--repo", "/not/there"], "is not there"),
        (["rollback", "no/name"], "no/name"),
        ([], "usage: starling"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) not in (0, None)
    assert said in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_neovims_side_is_in_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nvim-path"]) == 0
    assert Path(capsys.readouterr().out.strip()) == FOLDER
    assert (FOLDER / "lua" / "starling" / "init.lua").is_file()


def test_complete_asks_again_while_a_server_reads_the_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "app.py").write_text("x")
    scene = Scene(tmp_path, completion=[{"label": "first"}], empty_first=2)
    place = f"{tmp_path / 'app.py'}:1:1"
    assert main(["complete", "--json", "--ranker", "signals", place, "--", *scene.fake]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["server"], [item["label"] for item in found["starling"]]) == (["first"], ["★ first"])


@pytest.mark.parametrize("command", ["doctor --json --ranker off", "complete --json --ranker signals app.py:1:1 --"])
@pytest.mark.parametrize("variable", [{}, {"PYTHONPATH": "."}], ids=["folder", "PYTHONPATH"])
def test_no_project_takes_the_place_of_our_packages(tmp_path: Path, command: str, variable: dict[str, str]) -> None:
    for package in ("starling_lsp", "lsp_server", "corpus", "tuning"):  # in each of our processes
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "app.py").write_text("x")
    scene = Scene(tmp_path, completion=[{"label": "x"}])
    words = [*command.split(), *(scene.fake if command.endswith("--") else ())]
    starling = [Path(sys.executable).with_name("starling"), *words]
    done = subprocess.run(starling, cwd=tmp_path, env={**os.environ, **variable}, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_module_with_main(name: str) -> None:
    assert callable(importlib.import_module(f"starling_lsp.commands.{COMMANDS[name].module}").main)


@pytest.mark.parametrize("system", ["unix.Unix", "macos.MacOS"])
def test_the_page_names_the_folders_that_are_used(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    module, _, kind = system.partition(".")
    folders = getattr(importlib.import_module(f"platformdirs.{module}"), kind)("starling", appauthor=False)
    page = (Path(__file__).parents[2] / "docs" / "install.md").read_text("utf-8")
    for folder in (folders.user_cache_dir, folders.user_data_dir, folders.user_log_dir):
        assert f"`{folder.replace(str(Path.home()), '~')}`" in page
