"""What installs the servers and editors of other tests: once, again where something else is asked for, and with a node of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.installing import npm, once, put_node


def test_installed_once_until_something_else_is_asked_for(tmp_path: Path) -> None:
    done: list[str] = []
    for asked in (b"1.0", b"1.0", b"1.1", b"1.1"):
        once(tmp_path / "mark", asked, lambda asked=asked: done.append(asked.decode()))
    assert done == ["1.0", "1.1"]


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        once(tmp_path / "mark", b"1.0", lambda: sys.exit("no"))
    done: list[str] = []
    once(tmp_path / "mark", b"1.0", lambda: done.append("1.0"))
    assert done == ["1.0"]


def test_npm_runs_without_a_node_of_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))  # a shell, and no node
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    put_node(tmp_path / "bin")
    (tmp_path / "package.json").write_text('{"scripts": {"say": "node say.js"}}')
    (tmp_path / "say.js").write_text("require('fs').writeFileSync('out', 'by node')")
    npm(tmp_path / "bin", "run", "say", "--prefix", str(tmp_path))
    assert (tmp_path / "out").read_text() == "by node"
    with pytest.raises(SystemExit, match="npm could not run"):
        npm(tmp_path / "bin", "run", "nothing", "--prefix", str(tmp_path))
