"""What can't be used is named in one sentence, with a code that is not zero; no traceback, nothing else on stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from starling_lsp.__main__ import main
from tests.scenarios.harness import Scene

GARBAGE = bytes(range(256)) * 400
CODE = "import os\nos.\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a model, and a folder with things that are no models."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(CODE)
    (tmp_path / "binary.py").write_bytes(GARBAGE)
    (tmp_path / "binary.gguf").write_bytes(GARBAGE)
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "folder").mkdir()
    return tmp_path


BASES = [
    ("/not/there", "no such file or folder"),
    ("binary.gguf", "is no GGUF file"),
    ("empty.gguf", "is empty"),
    ("folder", "it has no config.json"),
    ("app.py", "is no GGUF file"),
]
CHOICES = [
    *((["--base", base], said) for base, said in BASES),
    (["--adapter", "nonexistent", "--base", "app.py"], "'nonexistent' is neither an adapter's folder nor installed"),
    (["--adapter", "folder", "--base", "app.py"], "it has no adapter_config.json"),
]


@pytest.mark.parametrize(("given", "said"), CHOICES, ids=str)
def test_doctor_names_a_model_that_cannot_be_used(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *given]) == 1
    shown = capsys.readouterr()
    assert said in " ".join(shown.out.split())
    assert not shown.err


@pytest.mark.parametrize(("given", "said"), CHOICES, ids=str)
def test_complete_names_a_model_that_cannot_be_used(
    home: Path, given: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["complete", "app.py:2:4", *given, "--", *Scene(home, completion=[{"label": "path"}]).fake]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("starling complete: ")
    assert said in line


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nothing.py:1:1", "no such file"),
        ("folder:1:1", "a folder, not a file"),
        ("binary.py:1:1", "not a text file"),
        ("app.py:9:1", "the file has 3 lines"),
        ("app.py", "expected FILE:LINE:COL"),
    ],
)
def test_complete_names_a_place_that_is_none(where: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", where]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("command", ["doctor", "complete app.py:2:4", "--stdio"])
def test_an_unknown_server_is_named(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--server", "nope"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'nope'" in line


@pytest.mark.parametrize("file", ["binary.gguf", "empty.gguf", "folder", "/not/there"])
def test_a_file_that_is_not_the_model_is_not_installed(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install-model", "--from", file]) == 1
    assert file in capsys.readouterr().err.splitlines()[-1]


def test_a_server_without_an_editor_ends() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("starling")), "--stdio"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
