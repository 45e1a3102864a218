"""Neovim as a user has it, in a terminal: the runtime folder `nvim/`, its popup, its commands, its health check."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.editors.test_neovim import EXAMPLE, HERE, OWN_MEMBERS, find_nvim
from tests.editors.tmux import Terminal

pytestmark = pytest.mark.nvim

ROOT = HERE.parent.parent
FAKE = ROOT / "tests" / "fakes" / "fake_server.py"
SIGNALS = ["starling", "--stdio", "--ranker", "signals"]
SERVER = ["basedpyright-langserver", "--stdio"]
KINDS = "Variable|Method|Function|Property|Class|Field"
ITEM = re.compile(rf"(★ )?(\w+) +(?:{KINDS})\b")
# Three names that begin alike; the one that comes last by its letters is the one that is used.
MORE = """
    def report(self) -> None:
        self.items = [item for item in self.items if item.price]
        self.restock()

    def restock(self) -> None:
        self.items = [item for item in self.items if item.amount]
        self.restock()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the example, in which `Basket` has three methods that begin with "re"."""
    root = tmp_path / "shop"
    root.mkdir()
    text = EXAMPLE.read_text(encoding="utf-8").replace("\n    def remove", f"{MORE}\n    def remove")
    (root / "shop.py").write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


@contextmanager
def neovim(project: Path, *, ready: bool = True, lines: int = 44, **environment: str) -> Generator[Terminal]:
    """Neovim with shop.py open, under a home of its own; with `ready`, its server runs and its index is made."""
    home = project.parent / "home"
    home.mkdir(exist_ok=True)
    own = {
        "HOME": str(home),
        **{f"XDG_{what}_HOME": str(home / what.lower()) for what in ("CACHE", "CONFIG", "DATA", "STATE")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "STARLING_RUNTIME": str(ROOT / "starling_lsp" / "nvim"),
        "COMMAND": json.dumps(SIGNALS),
        **environment,
    }
    command = [find_nvim(), "-n", "-i", "NONE", "-u", str(HERE / "user.lua"), str(project / "shop.py")]
    with Terminal(command, folder=project.parent, environment=own, lines=lines) as terminal:
        terminal.until_shown("A small file to try Starling on")
        if ready:
            wait_ready(terminal)
        yield terminal


def wait_ready(terminal: Terminal) -> None:
    """Ask for the status until index and wrapped server are there, as a user would."""

    def is_ready(screen: str) -> bool:
        if "index     ready" in screen and ": running" in screen:
            return True
        terminal.press("Escape")
        command(terminal, "StarlingStatus")
        return False

    terminal.until(is_ready, seconds=60)


def command(terminal: Terminal, text: str) -> None:
    terminal.type(f":{text}")
    terminal.press("Enter")


def popup(screen: str) -> list[str]:
    """The rows of the popup, ★ and all."""
    return [f"{star or ''}{name}" for star, name in ITEM.findall(screen)]


def type_dot(terminal: Terminal) -> list[str]:
    """Write the dot of `self.` anew, at the top of the window; returns the popup."""
    command(terminal, r"/^        self\.$")
    terminal.press("z", "t", "A", "BSpace")
    terminal.until_shown("-- INSERT --")
    terminal.type(".")
    return popup(terminal.until(lambda screen: "lists: 1" in screen and popup(screen) != []))


def type_re(terminal: Terminal) -> Iterator[list[str]]:
    """Write "re" behind the dot; the popup after each letter, once the letter's own list is there."""
    for lists, typed in ((2, "r"), (3, "re")):
        terminal.type(typed[-1])
        terminal.until_shown(f"lists: {lists}", f"self.{typed}")
        yield popup(terminal.until(lambda screen: len(popup(screen)) == 3))


def buffer_of(terminal: Terminal, project: Path) -> str:
    """Write the file; returns what is in it."""
    file = project / "shop.py"
    before = file.stat().st_mtime_ns
    terminal.press("Escape")
    command(terminal, "write")
    terminal.until(lambda _: file.stat().st_mtime_ns != before)
    return file.read_text(encoding="utf-8")


def test_popup_has_starlings_order_at_every_letter(project: Path) -> None:
    with neovim(project) as terminal:
        shown = type_dot(terminal)
        names = [item.removeprefix("★ ") for item in shown]
        assert set(names[:2]) == {"items", "restock"}  # those that are used; the wrapped server begins with `add`
        assert set(names[:7]) == {*OWN_MEMBERS, "report", "restock"}
        for shown in type_re(terminal):
            assert shown[0] == "★ restock"
            assert set(shown[1:]) == {"remove", "report"}


def accepted(project: Path, *, alone: bool) -> str:
    """The file after `self.re`, and the popup's `restock` taken: by Starling, or by the wrapped server alone."""
    shutil.copytree(project, project.parent / "copy" / "shop")
    project = project.parent / "copy" / "shop"
    its_own = neovim(project, ready=False, CLIENT="alone", COMMAND=json.dumps(SERVER))
    with its_own if alone else neovim(project) as terminal:
        if alone:
            terminal.until_shown("alone is attached")
        type_dot(terminal)
        *_, shown = type_re(terminal)
        terminal.press(*["C-n"] * (1 + [item.removeprefix("★ ") for item in shown].index("restock")))
        terminal.until_shown("self.restock")
        terminal.press("C-y")
        terminal.until(lambda screen: popup(screen) == [])
        text = buffer_of(terminal, project)
    shutil.rmtree(project.parent)
    return text


def test_accepting_inserts_what_the_wrapped_server_alone_inserts(project: Path) -> None:
    alone = accepted(project, alone=True)
    assert "\n        self.restock\n" in alone
    assert accepted(project, alone=False) == alone


def test_fuzzy_keeps_starlings_order_with_nosort_only(project: Path) -> None:
    """With a list that the server calls whole, so that letters bring no other."""
    labels = ["__doc__", "__dict__", "discount"]
    spec = project.parent / "spec.json"
    spec.write_text(json.dumps({"completion": [{"label": label, "kind": 6} for label in labels]}), encoding="utf-8")
    wrapping = json.dumps([*SIGNALS, "--", sys.executable, str(FAKE), str(spec)])

    def typed_d(completeopt: str) -> list[str]:
        with neovim(project, COMMAND=wrapping, COMPLETEOPT=completeopt) as terminal:
            assert type_dot(terminal)[0] == "★ discount"
            terminal.type("d")
            return popup(terminal.until(lambda screen: "self.d" in screen and popup(screen) != []))

    assert typed_d("menuone,noselect") == ["★ discount"]
    assert typed_d("menuone,noselect,fuzzy,nosort")[0] == "★ discount"
    assert typed_d("menuone,noselect,fuzzy")[0] == "__doc__"


def test_why_says_it_of_the_popup_and_of_what_was_accepted(project: Path) -> None:
    with neovim(project) as terminal:
        type_dot(terminal)
        *_, shown = type_re(terminal)
        terminal.press("C-g", "w")  # nothing selected: the first
        terminal.until_shown("╭ restock ─", "★ Starling: ", " % likely", "used like this 2 times in this file")
        terminal.press("C-n", "C-n")
        terminal.until(lambda screen: "╭ restock ─" not in screen)
        second = shown[1]
        terminal.press("C-g", "w")
        terminal.until_shown(f"╭ {second} ─", "★ Starling: ", " % likely")
        terminal.press("C-y", "Escape")
        terminal.until(lambda screen: "% likely" not in screen and "INSERT" not in screen)
        command(terminal, "StarlingWhy")
        terminal.until_shown(f"╭ {second} ─", "★ Starling: ", " % likely")


def test_why_with_nothing_shown_or_accepted_says_it_of_the_first_one_here(project: Path) -> None:
    with neovim(project) as terminal:
        command(terminal, r"/^        self\.$")
        terminal.press("$", "A")
        terminal.until_shown("-- INSERT --")
        terminal.press("C-g", "w")
        terminal.until_shown("★ Starling: ", " % likely")


def test_status_says_what_is_loaded(project: Path) -> None:
    with neovim(project) as terminal:
        command(terminal, "StarlingStatus")
        terminal.until_shown("Starling in", "ranker    signals", "model     off", "basedpyright (python): running")
        terminal.press("j")
        terminal.until(lambda screen: "ranker    signals" not in screen)


def test_lazy_capabilities_start_no_server_of_a_language_that_is_not_open(project: Path) -> None:
    (project / "main.go").write_text("package main\n", encoding="utf-8")
    spec = project.parent / "spec.json"
    spec.write_text("{}", encoding="utf-8")
    gopls = project.parent / "bin" / "gopls"  # stands for one that is installed
    gopls.parent.mkdir()
    gopls.write_text(f"#!/bin/sh\nexec {sys.executable} {FAKE} {spec}\n", encoding="utf-8")
    gopls.chmod(0o755)
    path = os.pathsep.join((str(Path(sys.executable).parent), str(gopls.parent), os.environ["PATH"]))
    with neovim(project, PATH=path) as terminal:
        command(terminal, "StarlingStatus")
        terminal.until_shown("basedpyright (python): running", "gopls (go): running")
    with neovim(project, PATH=path, LAZY="1") as terminal:
        command(terminal, "StarlingStatus")
        assert "gopls" not in terminal.until_shown("basedpyright (python): running")


def test_health_check_tells_what_is_there(project: Path) -> None:
    with neovim(project, lines=90, COMPLETEOPT="menuone,fuzzy") as terminal:
        command(terminal, "checkhealth starling")
        screen = terminal.until_shown("starling doctor", "log file", seconds=60)
        assert "OK Neovim 0.1" in screen
        assert "OK client 1 in" in screen
        assert "index     ready" in screen
        assert "neither noselect nor noinsert" in screen
        assert 'vim.opt.completeopt:append("nosort")' in screen
        assert "Python: basedpyright: " in screen
        assert "ERROR" not in screen


def test_health_check_finds_a_server_that_runs_twice(project: Path) -> None:
    with neovim(project, lines=90, BESIDE=json.dumps(SERVER)) as terminal:
        command(terminal, "checkhealth starling")
        terminal.until_shown("'beside' is attached beside Starling", "vim.lsp.enable('beside', false)", seconds=60)


def test_without_the_executable_the_health_check_says_what_to_do(project: Path) -> None:
    with neovim(project, ready=False, COMMAND='["starling-is-not-here", "--stdio"]') as terminal:
        command(terminal, "checkhealth starling")
        terminal.until_shown("'starling-is-not-here' is not on Neovim's PATH", "give its whole path")
        command(terminal, "close")
        command(terminal, "StarlingStatus")
        terminal.until_shown("is not running; see :checkhealth starling")


def test_training_on_a_bad_path_says_so(project: Path) -> None:
    with neovim(project) as terminal:
        command(terminal, "StarlingTrain /not/there")
        terminal.until_shown("Starling: there is no '/not/there' to train on")


def test_training_tells_what_the_command_said(project: Path) -> None:
    """A repository without a commit: `train` itself refuses it, in the terminal, and the message has its words."""
    with neovim(project) as terminal:
        command(terminal, "StarlingTrain")
        terminal.until_shown("training ended with code 2", "has no commit yet", seconds=60)


@pytest.mark.parametrize(
    ("said", "code", "shown"),
    [
        ("R@1 +0.031 (of 400)|Installed as shop 1", 0, "the adapter is better and is installed"),
        ("R@1 -0.002 (of 400)|Not better", 1, "the adapter is not better than what is used now"),
        ("Traceback|KeyError: 'x'", 1, "training ended with code 1: Traceback KeyError: 'x'"),
        ("Installed as shop 1, a usage table", 0, "training ended: Installed as shop 1, a usage table"),
    ],
)
def test_only_a_run_that_compared_is_told_as_one(project: Path, said: str, code: int, shown: str) -> None:
    python = project.parent / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$#" -gt 0 ] || exec cat > /dev/null\ntr "|" "\\n" <<"END"\n{said}\nEND\nexit {code}\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    with neovim(project, ready=False, COMMAND=json.dumps([str(python)])) as terminal:
        command(terminal, "StarlingTrain")
        terminal.until_shown(f"Starling: shop: {shown}")


def test_closing_the_window_ends_the_training(project: Path) -> None:
    shutil.copytree(ROOT / "lsp_server", project / "code", ignore=shutil.ignore_patterns("__pycache__"))
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(project), "add", "."], check=True)
    subprocess.run(["git", "-C", str(project), *identity, "commit", "-q", "-m", "first"], check=True)
    with neovim(project) as terminal:
        command(terminal, "StarlingTrain")
        terminal.until_shown("closing this window ends it", "places to learn from", "asking the servers", seconds=60)
        command(terminal, "StarlingTrain")
        terminal.until_shown("is training already")
        terminal.press("C-w", "b")
        command(terminal, "close")
        terminal.until_shown("training was ended; the same command goes on where it stopped")
