"""The command that installs an extra, by the way in which Starling was installed."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corpus import interpreter

GIT = {"url": "https://example.org/starling.git", "vcs_info": {"vcs": "git", "commit_id": "1"}}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that Starling was installed from `origin` by the tool that leaves `mark` in the environment."""

    def pretend(origin: Any, mark: str = "", *, pip: bool = True) -> str:
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        monkeypatch.setattr(interpreter, "ROOT", str(tmp_path))
        monkeypatch.setattr(sys, "executable", "/env/bin/py")
        if mark:
            (tmp_path / mark).write_text("{}")
        text = None if origin is None else json.dumps(origin)
        requires = ["numpy", 'Hypothesis>=6; extra == "there"', 'nothing-such; extra == "absent"']
        found = SimpleNamespace(read_text=lambda name: text, requires=requires)
        monkeypatch.setattr(importlib.metadata, "distribution", lambda name: found)
        monkeypatch.setattr(interpreter, "has_pip", lambda: pip)
        return interpreter.install_command("train")

    return pretend


@pytest.mark.parametrize(
    ("origin", "mark", "expected"),
    [
        (None, "", "/env/bin/py -m pip install 'starling-lsp[train]'"),
        (None, "pipx_metadata.json", "pipx install --force 'starling-lsp[there,train]'"),
        (None, "uv-receipt.toml", "uv tool install --force 'starling-lsp[there,train]'"),
        (
            GIT,
            "pipx_metadata.json",
            "pipx install --force 'starling-lsp[there,train] @ git+https://example.org/starling.git'",
        ),
    ],
)
def test_how_to_install_more(installed: Any, origin: Any, mark: str, expected: str) -> None:
    assert installed(origin, mark) == expected


def test_a_checkout_is_installed_as_it_stands(installed: Any, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    assert installed(None) == f"/env/bin/py -m pip install -e '{tmp_path}[train]'"


def test_an_environment_without_pip(installed: Any) -> None:
    assert installed(None, pip=False) == "uv pip install --python /env/bin/py 'starling-lsp[train]'"


def test_the_message_names_the_library() -> None:
    assert interpreter.missing("torch", extra="train").startswith("torch is not installed. Run: ")


def test_asking_for_pip_leaves_setuptools_as_it_is() -> None:
    check = "from corpus import interpreter; assert interpreter.has_pip(); import setuptools"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_an_environment_without_pip_uses_the_one_that_comes_with_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "has_pip", lambda: False)
    done = subprocess.run(interpreter.pip_command("--version"), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pip ")
    assert "_bundled" in done.stdout
