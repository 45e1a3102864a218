"""A real Neovim in front of Starling: attach, completion, resolve, hover, popup, accept."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.nvim

HERE = Path(__file__).parent
EXAMPLE = HERE.parent.parent / "examples" / "shop.py"
OWN_MEMBERS = {"add", "discount", "items", "remove", "total"}


def find_nvim() -> str:
    beside = shutil.which("nvim", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("nvim")
    assert found, "no nvim here: make test-nvim installs one"
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the script in Neovim reports."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(EXAMPLE, root / "shop.py")
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "lsp_server", "--stdio", "--ranker", "signals"]
    environment = {
        **os.environ,
        "HOME": str(home),
        "STARLING_COMMAND": json.dumps(command),
        "STARLING_ROOT": str(root),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_STATE_HOME": str(home / "state"),
    }
    done = subprocess.run(
        [find_nvim(), "--headless", "--clean", "-S", str(HERE / "attach.lua")],
        env=environment, cwd=root, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    start = done.stdout.find("{")
    assert start >= 0, done.stdout + done.stderr
    return json.loads(done.stdout[start:])


def plain(label: str) -> str:
    return label.removeprefix("★ ")


def test_attaches_as_one_client(seen: dict) -> None:
    assert seen["name"] == "starling"
    assert seen["initialized"]


def test_members_of_the_class_come_first(seen: dict) -> None:
    assert {plain(label) for label in seen["labels"][:5]} == OWN_MEMBERS


def test_resolve_says_why(seen: dict) -> None:
    assert "% likely" in seen["resolved"]["documentation"]["value"]


def test_hover_is_the_wrapped_servers(seen: dict) -> None:
    assert "self" in seen["hover"]["contents"]["value"]


def test_popup_shows_starlings_order(seen: dict) -> None:
    assert [plain(label) for label in seen["popup"][:5]] == [plain(label) for label in seen["labels"][:5]]


def test_accepting_inserts_what_the_server_meant(seen: dict) -> None:
    assert "★" not in seen["line"]
