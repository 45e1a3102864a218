"""A real Emacs with Eglot in front of Starling: the order of *Completions*, its stars, and what accepting inserts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.editors.tmux import Terminal

pytestmark = pytest.mark.emacs

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLE = ROOT / "examples" / "shop.py"
SCRIPT = HERE / "eglot.el"
FAKE = HERE.parent / "fakes" / "fake_server.py"

STARLING = [sys.executable, "-m", "lsp_server", "--stdio", "--ranker", "signals"]
AS_DOCUMENTED = [*STARLING, "--star-in=detail"]
ALONE = ["basedpyright-langserver", "--stdio"]

MEMBER = "        self."
NAME = "    lines.append(f\"{'total':20} {basket.total():8.2f}\")\n    "
OWN_MEMBERS = {"add", "discount", "items", "remove", "total"}
CASES = [(MEMBER, ""), (MEMBER, "d"), (MEMBER, "re"), (NAME, "l"), (NAME, "li")]
ONE_LETTER, TWO_LETTERS = CASES.index((NAME, "l")), CASES.index((NAME, "li"))


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"no {name} here: Debian's emacs-nox, elpa-eglot and tmux are what these tests need"
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with the example in it, and an empty line to write names on."""
    root = tmp_path_factory.mktemp("project")
    text = EXAMPLE.read_text(encoding="utf-8")
    last = '    return "\\n".join(lines)'
    assert last in text
    (root / "shop.py").write_text(text.replace(last, f"    \n{last}"), encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


def environment(project: Path, home: Path, command: list[str], **more: str) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
        **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "STATE")},
        "STARLING_COMMAND": json.dumps(command),
        "STARLING_FILE": str(project / "shop.py"),
        **more,
    }


def report(
    project: Path, folder: Path, command: list[str], *, styles: str, cases: list[tuple[str, str]] = CASES
) -> list[dict]:
    """What Emacs shows in each case."""
    out = folder / "report.json"
    more = {"STARLING_STYLES": styles, "STARLING_CASES": json.dumps(cases), "STARLING_REPORT": str(out)}
    done = subprocess.run(
        [program("emacs"), "--batch", "-Q", "-l", str(SCRIPT), "-f", "starling-report"],
        env=environment(project, folder / "home", command, **more),
        cwd=project, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert out.exists(), done.stdout + done.stderr
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def flex(project: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return report(project, tmp_path_factory.mktemp("flex"), STARLING, styles="flex basic")


@pytest.fixture(scope="module")
def basic(project: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return report(project, tmp_path_factory.mktemp("basic"), AS_DOCUMENTED, styles="basic")


@pytest.fixture(scope="module")
def alone(project: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The wrapped server without Starling. Once in many runs it leaves every request of a session unanswered."""
    try:
        return report(project, tmp_path_factory.mktemp("alone"), ALONE, styles="basic")
    except AssertionError as error:
        if "Timed out" not in str(error):
            raise
        return report(project, tmp_path_factory.mktemp("again"), ALONE, styles="basic")


def starlings(case: dict) -> list[str]:
    """The candidates in Starling's order, each once."""
    ordered = sorted(case["came"], key=lambda item: item["sortText"])
    return list(dict.fromkeys(item["candidate"] for item in ordered))


def with_prefix(names: list[str], typed: str) -> list[str]:
    return [name for name in names if name.startswith(typed)]


def test_without_letters_the_list_is_in_starlings_order(flex: list[dict], basic: list[dict], alone: list[dict]) -> None:
    for case in (flex[0], basic[0]):
        assert case["shown"] == starlings(case)
        assert set(case["shown"][:5]) == OWN_MEMBERS
    assert basic[0]["shown"] != alone[0]["shown"]


@pytest.mark.parametrize("case", [ONE_LETTER, TWO_LETTERS])
def test_with_the_basic_style_letters_keep_starlings_order(basic: list[dict], alone: list[dict], case: int) -> None:
    shown, typed = basic[case]["shown"], CASES[case][1]
    assert len(shown) > 2  # names of other modules too: the first are what a user looks at
    assert shown[:20] == with_prefix(starlings(basic[case]), typed)[:20]
    assert shown != alone[case]["shown"]


def test_the_flex_style_puts_its_own_score_first(flex: list[dict]) -> None:
    case = flex[1]
    shown = case["shown"]
    assert shown != [name for name in starlings(case) if name in shown]
    assert shown.index("add") < shown.index("discount")


def test_a_star_is_not_shown_where_the_server_sends_no_text_edit(flex: list[dict]) -> None:
    came = [item for case in flex for item in case["came"]]
    assert any(item["label"].startswith("★ ") for item in came)
    assert not any("★" in name for case in flex for name in case["shown"])


@pytest.mark.parametrize("case", range(len(CASES)))
def test_accepting_inserts_what_the_wrapped_server_alone_inserts(
    flex: list[dict], basic: list[dict], alone: list[dict], case: int
) -> None:
    expected = dict(zip(alone[case]["shown"], alone[case]["accepted"], strict=False))
    for seen in (flex[case], basic[case]):
        taken = dict(zip(seen["shown"], seen["accepted"], strict=False))
        assert len(seen["accepted"]) == min(len(seen["shown"]), 5) > 0  # the script takes the first five
        line = CASES[case][0].rpartition("\n")[2]
        assert taken == {name: expected.get(name, line + name) for name in taken}
    assert basic[case]["tab"] == alone[case]["tab"]


# Items that carry a textEdit and no insertText, as gopls, rust-analyzer and typescript-language-server send them:
# Eglot's candidate is the label then, and what its styles filter by.


def edits(project: Path, folder: Path, names: list[str], typed: str) -> list[str]:
    lines = (project / "shop.py").read_text(encoding="utf-8").splitlines()
    line = lines.index(MEMBER)
    span = {
        "start": {"line": line, "character": len(MEMBER)},
        "end": {"line": line, "character": len(MEMBER) + len(typed)},
    }
    items = [
        {"label": name, "kind": 6, "filterText": name, "textEdit": {"range": span, "newText": name}} for name in names
    ]
    spec = folder / "spec.json"
    spec.write_text(json.dumps({"completion": items, "capabilities": {"textDocumentSync": 1}}), encoding="utf-8")
    return [sys.executable, str(FAKE), str(spec)]


NAMES = ["discount", "display", "dispatch"]


def test_a_likely_item_stays_in_a_list_of_edits(project: Path, tmp_path: Path) -> None:
    wrapped = edits(project, tmp_path, NAMES, "dis")
    (case,) = report(project, tmp_path, [*AS_DOCUMENTED, "--", *wrapped], styles="basic", cases=[(MEMBER, "dis")])
    assert case["shown"] == starlings(case)
    assert set(case["shown"]) == set(NAMES)
    assert case["accepted"] == [MEMBER + name for name in case["shown"]]
    assert case["tab"] == MEMBER + "dis"


# What a person sees, in a terminal.


@pytest.fixture
def open_emacs(project: Path, tmp_path: Path) -> Iterator[Callable[[list[str]], Terminal]]:
    with ExitStack() as opened:

        def start(command: list[str]) -> Terminal:
            env = environment(project, tmp_path / "home", command, STARLING_STYLES="basic")
            emacs = [program("emacs"), "-nw", "-Q", "-l", str(SCRIPT), "-f", "starling-start"]
            terminal = opened.enter_context(Terminal(emacs, folder=project, environment=env, columns=120, lines=50))
            terminal.until_shown("[eglot:", seconds=60)
            return terminal

        yield start


def listed(screen: str) -> list[str]:
    """The names in *Completions* as the screen has them: two columns, row by row."""
    _, found, below = screen.partition("Possible completions are:\n")
    names: list[str] = []
    for row in below.splitlines() if found else ():
        if not row.strip() or "*Completions*" in row:
            break
        words = row.split()
        names += words[0::2]  # each with its kind behind it
    return names


def go(terminal: Terminal, place: str) -> None:
    terminal.press("M-<")
    terminal.press("C-s")
    terminal.type(place)
    terminal.press("Enter")


def has_line(line: str) -> Callable[[str], bool]:
    return lambda screen: line in [row.rstrip() for row in screen.splitlines()]


def test_a_person_sees_starlings_order_and_accepts(
    open_emacs: Callable[[list[str]], Terminal], basic: list[dict]
) -> None:
    terminal = open_emacs(AS_DOCUMENTED)
    go(terminal, "if item.name != name]")
    terminal.press("Down", "C-e", "M-Tab")
    screen = terminal.until(lambda screen: "Possible completions" in screen)
    names = listed(screen)
    assert names[:5] == basic[0]["shown"][:5]
    assert f"{names[0]} ★" in " ".join(screen.split())
    terminal.type("di")
    terminal.until(has_line(MEMBER + "di"))
    terminal.press("M-Tab")
    terminal.until(has_line(MEMBER + "discount"))


@pytest.mark.parametrize("case", [ONE_LETTER, TWO_LETTERS])
def test_a_person_sees_starlings_order_after_letters(
    open_emacs: Callable[[list[str]], Terminal], basic: list[dict], case: int
) -> None:
    terminal = open_emacs(AS_DOCUMENTED)
    go(terminal, 'basket.total():8.2f}")')
    terminal.press("Down", "C-e")
    terminal.type(CASES[case][1])
    terminal.until(has_line("    " + CASES[case][1]))
    terminal.press("M-Tab")
    screen = terminal.until(lambda screen: "Possible completions" in screen)
    names = listed(screen)
    assert names[:5] == basic[case]["shown"][:5]
    terminal.press("C-x", "o", "Tab", "Enter")
    terminal.until(has_line("    " + names[0]))
