"""docs/editors: every page is in the index, says what happens to the order, and names only what Starling has."""

import re
from pathlib import Path

import pytest

from corpus.syntax.language import languages
from lsp_server.settings import SETTINGS, flag

FOLDER = Path(__file__).parent.parent.parent / "docs" / "editors"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")
FLAGS = {"--stdio", *map(flag, SETTINGS)}

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONS = re.compile(r"(?:[iI]nit\w*[oO]ptions|config)\"?\s*[:=]\s*\{\s*\"?starling\"?\s*[:=]\s*\{([^{}]*)\}")
SHELL = {"sh", "console", "shell"}


def index() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    """Code that starts Starling; of shells' the lines that do, as others run other programs."""
    found = []
    for kind, code in BLOCK.findall(text):
        lines = [line for line in code.splitlines() if kind not in SHELL or re.search(r"\bstarling\b", line)]
        if "starling" in code:
            found.append("\n".join(lines))
    return found


def flags(code: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code))


def options(code: str) -> set[str]:
    return {name for inner in OPTIONS.findall(code) for name in re.findall(r"\"?(\w+)\"?\s*[:=]", inner)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_starts_starling_with_options_that_it_has(page: Path) -> None:
    found = blocks(page.read_text(encoding="utf-8"))
    assert found
    for code in found:
        assert flags(code) <= FLAGS
        assert options(code) <= set(SETTINGS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_is_in_the_index(page: Path) -> None:
    assert f"]({page.name})" in index()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_a_section_on_order(page: Path) -> None:
    assert re.search(r"^##+ .*\border\b", page.read_text(encoding="utf-8"), re.MULTILINE | re.IGNORECASE)


def test_neovim_starts_for_every_language() -> None:
    lua = (FOLDER.parents[1] / "starling_lsp" / "nvim" / "lsp" / "starling.lua").read_text(encoding="utf-8")
    (listed,) = re.findall(r"filetypes = \{(.*?)\}", lua, re.DOTALL)
    filetypes = set(re.findall(r"'(\w+)'", listed))
    assert [known.id for known in languages().values() if not filetypes.intersection(known.language_ids)] == []


def test_options_are_found() -> None:
    code = 'language-server.starling.config = { starling = { starLimit = 3, "ranker": "off" } }\nargs = ["--no-such"]'
    assert options(code) == {"starLimit", "ranker"}
    assert flags(code) == {"--no-such"}
