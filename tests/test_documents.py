"""What pages say is so: links lead somewhere, commands and settings are those of the code, figures those that were measured.

`make docs-check` runs these tests alone.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import pytest

from corpus.syntax.language import languages
from lsp_server.settings import SETTINGS, Settings

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
HEADING = re.compile(r"^#+ +(.+?) *$", re.M)
CODE = re.compile(r"^```[a-z]*\n(.*?)^```|`([^`\n]+)`", re.M | re.S)
COMMAND = re.compile(
    r"(?:^|\s)(starling|python (?:-P )?-m (?:corpus|tuning|benchmarks|lsp_server)[\w.]*)((?: [^\s#|;&)]+)*)"
)
FLAG = re.compile(r"--[a-z][a-z-]*")
ROW = re.compile(r"^\| `(\w+)` \| (?:`(--[a-z-]+)`)?[^|]*\|[^|]*\|([^|]*)\|$", re.M)
WORDS = {
    "README.md": 900,
    "CHANGELOG.md": 10_000,
    "ARCHITECTURE.md": 2000,
    "docs/results.md": 6500,
    "docs/decisions/README.md": 2500,
    "docs/tuning.md": 3500,
}
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
REFERENCE = 2500  # words of a page that one looks things up in
REFERENCES = {
    "docs/rankbench.md",
    "docs/several-servers-reference.md",
    "docs/tuning.md",
    "docs/coming-from-peft.md",
}


def pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines()]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = [
        re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        for title in HEADING.findall(FENCE.sub("", page.read_text("utf-8")))
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    wrong: list[str] = []
    for link in LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text("utf-8"))}
    pages_there = {page for page in pages() if page.is_relative_to(ROOT / "docs") and page != index}
    assert pages_there <= linked


def commands(page: Path) -> set[tuple[str, tuple[str, ...]]]:
    """What a page tells to run: a program, and the words behind it. A line that goes on is one command."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    for block, inline in CODE.findall(page.read_text("utf-8")):
        for line in (block or inline).replace("\\\n", " ").split("\n"):
            for program, words in COMMAND.findall(line):
                found.add((program, tuple(words.split())))
    return found


@cache
def help_of(program: str, *job: str) -> str:
    """What --help says; empty where there is no such command. In this process: starting one for each takes a minute."""
    module = "starling_lsp" if program == "starling" else program.split()[-1]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(io.StringIO()):
        patch.setattr(sys, "argv", [module, *job, "--help"])
        with pytest.raises((SystemExit, ImportError)) as ended:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    return said.getvalue() if isinstance(ended.value, SystemExit) and not ended.value.code else ""


HISTORY = ROOT / "CHANGELOG.md"  # names commands as they were
PAGES_WITH_COMMANDS = [page for page in pages() if page != HISTORY and commands(page)]


@pytest.mark.filterwarnings("ignore:.* found in sys.modules after import:RuntimeWarning")  # of runpy: run before
@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_exists(page: Path) -> None:
    wrong: list[str] = []
    for program, words in sorted(commands(page)):
        own = words[: words.index("--")] if "--" in words else words
        jobs = tuple(itertools.takewhile(re.compile(r"[a-z][a-z-]+").fullmatch, own[:2]))
        texts = [help_of(program, *jobs[:depth]) for depth in range(len(jobs) + 1)]  # a word may also be an argument
        if not all(texts[:2]):
            wrong.append(f"{program} {' '.join(jobs)}: no such command")
        text = [text for text in texts if text][-1:]
        wrong += [
            f"{program} {' '.join(own)}: no option {flag}"
            for flag in FLAG.findall(" ".join(own))
            if flag not in str(text)
        ]
    assert not wrong


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        target
        for page in pages()
        for block, inline in CODE.findall(page.read_text("utf-8"))
        for target in re.findall(r"(?:^|\n)make ([a-z-]+)", block or inline)
    }
    assert "test" in named
    assert named <= targets


def test_the_page_of_settings_has_each_with_its_flag_and_default() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    rows = {name: (flag, default) for name, flag, default in ROW.findall(text)}
    assert list(rows) == list(SETTINGS)
    trusted = [name for name, setting in SETTINGS.items() if setting.trusted]
    assert list(rows)[-len(trusted) :] == trusted
    assert f"The first {COUNTS[len(SETTINGS) - len(trusted)]}" in text
    assert f"last {COUNTS[len(trusted)]}" in text
    for name in ("deadline", "starLimit", "idle"):
        assert rows[name][1].strip() == str(getattr(Settings(), SETTINGS[name].field))
    assert [flag for flag, _ in rows.values() if flag and flag not in help_of("starling")] == []


def test_the_table_of_servers_has_every_preset() -> None:
    section = (ROOT / "docs" / "install.md").read_text("utf-8").split("## Which server it starts", 1)[1]
    table = "".join(line for line in section.splitlines() if line.startswith("| "))
    named = set(re.findall(r"[\w-]+", table))
    assert {server.name for language in languages().values() for server in language.servers} <= named


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_is_too_long(page: Path) -> None:
    name = str(page.relative_to(ROOT))
    limit = WORDS.get(name, REFERENCE if name in REFERENCES else 1500)
    assert len(page.read_text("utf-8").split()) <= limit


def test_the_readme_s_figures_are_those_that_were_measured() -> None:
    figures = json.loads((ROOT / "docs" / "rankbench" / "deadline.json").read_text("utf-8"))
    said = re.findall(r"(\d+) %", (ROOT / "README.md").read_text("utf-8").split("First suggestion right", 1)[1])[:3]
    names = ("wrapped server", "Starling, signals", "Starling, model, 60 ms")
    rankers = [figures["python"]["rankers"][name] for name in names]
    assert said == [f"{100 * ranker['R@1'][0]:.0f}" for ranker in rankers]
