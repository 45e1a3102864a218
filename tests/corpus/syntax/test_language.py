"""Language folders: which one a file has, and what is said of bad data."""

import shutil
from pathlib import Path

import pytest

from corpus.syntax.language import FOLDER, language_for, languages, load_folder
from corpus.syntax.parse import grammar
from corpus.syntax.queries import query
from corpus.syntax.tables import LanguageError

BASE, HEIR = "javascript", "typescript"


@pytest.mark.parametrize(
    ("language_id", "path", "expected"),
    [
        ("python", "file:///a", "python"), ("", "a.pyi", "python"),
        ("javascriptreact", "a", "javascript"), ("", "A.MJS", "javascript"), ("", "a.jsx", "javascript"),
        ("typescript", "a", "typescript"), ("", "a.d.ts", "typescript"), ("", "file:///a.cts?x#y", "typescript"),
        ("typescriptreact", "a", "tsx"), ("", "a.tsx", "tsx"), ("java", "a", "java"), ("", "A.java", "java"),
        ("", "a.unknown", None), ("plaintext", "a.txt", None),
    ],
)  # fmt: skip
def test_a_files_language(language_id: str, path: str, expected: str | None) -> None:
    found = language_for(language_id, path)
    assert (found.id if found is not None else None) == expected


def test_no_two_languages_claim_one_file() -> None:
    claims = [claim for language in languages().values() for claim in (*language.extensions, *language.language_ids)]
    assert len(claims) == len(set(claims))


@pytest.mark.parametrize("language", languages().values(), ids=lambda language: language.id)
def test_what_every_language_says(language) -> None:
    assert language.id == language.folder.name
    assert language.trigger_characters
    assert all(extension.startswith(".") for extension in language.extensions)
    assert all(len(mark) == 1 for mark in language.trigger_characters)
    assert len({server.name for server in language.servers}) == len(language.servers)


def edited(folder: Path, old: str, new: str, *, language: str = BASE) -> Path:
    """A copy of two language folders with one change to one of them."""
    for name in (BASE, HEIR):
        shutil.copytree(FOLDER / name, folder / name)
    file = folder / language / "language.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return file


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('line_comment = "//"', "", "line_comment"),
        ('line_comment = "//"', "line_comment = 1", "line_comment"),
        ('line_comment = "//"', 'line_coment = "//"', "line_comment"),
        ("keyword_members = true", 'keyword_members = "yes"', "lexis.keyword_members"),
        ("bare_methods = true", "bear_methods = true", "bear_methods"),
        ('block_comments = [["/*", "*/"]]', 'block_comments = ["/*"]', "block_comments"),
        ('generic = ["<", ">"]', 'generic = ["<"]', "types.generic"),
        ("type_name = '", "type_name = '(", "types.type_name"),
        ("open = '`'", "open = '('", "lexis.strings.open"),
        ("'''[\\w$]*\\s+from", "'''[\\w$]*(\\s+from", "lexis.import_ends"),
        ('name = "vtsls"\ncommand', 'name = "vtsls"\ncomand', "servers.comand"),
        ('locals = ["common.scm", ', 'locals = ["missing.scm", ', "missing.scm"),
        ('id = "javascript"', 'id = "javascript', "line 3"),
    ],
)
def test_bad_data_is_named_by_file_and_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    file = edited(tmp_path, old, new)
    with pytest.raises(LanguageError) as caught:
        load_folder(tmp_path)
    assert str(file.parent) in str(caught.value)
    assert key in str(caught.value)


def test_an_heir_has_what_it_does_not_say_itself(tmp_path: Path) -> None:
    edited(tmp_path, 'line_comment = "//"', 'line_comment = "--"')
    found = load_folder(tmp_path)
    assert found[HEIR].line_comment == "--"
    assert found[HEIR].lexis.spread == found[BASE].lexis.spread
    assert found[HEIR].lexis.keywords > found[BASE].lexis.keywords
    assert found[HEIR].servers == found[BASE].servers


@pytest.mark.parametrize("base", ["typescript", "nothing", "../elsewhere"])
def test_who_extends_itself_or_nobody_is_refused(tmp_path: Path, base: str) -> None:
    edited(tmp_path, 'extends = "javascript"', f'extends = "{base}"', language=HEIR)
    with pytest.raises(LanguageError, match="extends"):
        load_folder(tmp_path)


def test_node_types_that_a_grammar_names_otherwise(tmp_path: Path) -> None:
    file = edited(tmp_path, "[types]", '[nodes]\nidentifiers = ["name"]\nimports = ["use"]\n\n[types]')
    nodes = load_folder(tmp_path)[BASE].nodes
    assert (nodes.identifiers, nodes.imports, nodes.decorators) == ({"name"}, {"use"}, frozenset())
    file.write_text(file.read_text().replace("identifiers =", "identifier ="))
    with pytest.raises(LanguageError, match=r"nodes\.identifier: is not a known key"):
        load_folder(tmp_path)


def test_two_folders_with_one_id_are_refused(tmp_path: Path) -> None:
    edited(tmp_path, 'id = "typescript"', 'id = "javascript"', language=HEIR)
    with pytest.raises(LanguageError, match="is taken"):
        load_folder(tmp_path)


def test_a_grammar_or_a_query_that_does_not_fit_is_named(tmp_path: Path) -> None:
    edited(tmp_path, "language_typescript", "language_nothing", language=HEIR)
    (tmp_path / BASE / "locals.scm").write_text("(no_such_node) @scope.block")
    (tmp_path / BASE / "sites.scm").write_text("(string) @region.nothing")
    found = load_folder(tmp_path)
    with pytest.raises(LanguageError, match="language_nothing"):
        grammar(found[HEIR])
    with pytest.raises(LanguageError, match="no_such_node"):
        query(found[BASE], "locals")
    with pytest.raises(LanguageError, match="nothing is not"):
        query(found[BASE], "sites")
