"""docs/adding-a-language.md: the files on that page are a language, and its table is true."""

import re
from pathlib import Path

import pytest

from corpus.syntax.language import Language, LanguageError, load_folder
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.queries import query
from corpus.syntax.site import site_at

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-language.md").read_text(encoding="utf-8")
FILES = ("language.toml", "locals.scm", "sites.scm")


def folder_of_page(folder: Path) -> Path:
    blocks = re.findall(r"```(?:toml|scheme)\n(.*?)```", PAGE, re.DOTALL)
    (folder / "lua").mkdir()
    for name, block in zip(FILES, blocks, strict=True):
        (folder / "lua" / name).write_text(block, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def lua(tmp_path_factory: pytest.TempPathFactory) -> Language:
    return load_folder(folder_of_page(tmp_path_factory.mktemp("languages")))["lua"]


def rows() -> list[list[str]]:
    lines = [line.replace("\\|", "¦") for line in PAGE.splitlines() if line.startswith("| `")]
    return [[cell.strip().replace("¦", "|") for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_pages_table_is_true(lua: Language, row: list[str]) -> None:
    marked, kind, receiver, receiver_type, prefix = row
    before, _, after = marked.strip("`").partition("|")
    found = site_at(SyntaxDocument((before + after).encode(), lua), len(before.encode()))
    assert (found.kind, found.receiver, found.receiver_type, found.prefix) == (kind, receiver, receiver_type, prefix)


def test_the_pages_queries_compile_and_bind(lua: Language) -> None:
    assert all(query(lua, name).pattern_count for name in ("locals", "sites"))
    code = b"local top = 1\nfunction f(arg)\n  local inner = 2\n  \nend\n"
    found = site_at(SyntaxDocument(code, lua), code.index(b"\nend"))
    assert {"top", "arg", "inner", "f"} <= set(found.visible)
    assert found.enclosing == ("f",)


def test_a_misspelt_key_is_named(tmp_path: Path) -> None:
    file = folder_of_page(tmp_path) / "lua" / "language.toml"
    file.write_text(file.read_text().replace("self_names", "self_name"))
    with pytest.raises(LanguageError, match=r"language\.toml: .*self_name"):
        load_folder(tmp_path)
