"""Languages as data: reads and checks `corpus/languages/<id>/language.toml`.

Loads no grammar (the server process reads the data only) and runs nothing that it finds in a folder.

LanguageError  a folder's data cannot be used; carries the file and the reason
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import cast, final

Table = dict[str, object]
FOLDER = Path(__file__).resolve().parent.parent / "languages"


class LanguageError(Exception):
    """A language folder that cannot be used."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class ServerPreset:
    """A language server that is known to work: how to start it, and one line saying how to install it."""

    name: str
    command: tuple[str, ...]
    install: str


@dataclass(frozen=True, kw_only=True, eq=False)
class StringForm:
    """One form of string literal. `opens` is a pattern with the literal's prefix letters, `close` plain text."""

    opens: str
    close: str
    multiline: bool
    interpolation: tuple[str, ...]  # brackets around code in it, or nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class Lexis:
    """What a line of text says without a tree. Patterns run on UTF-8, with strings and comments blanked."""

    keywords: frozenset[str]
    statement_keywords: tuple[str, ...]  # at a line's start they end what an unclosed bracket swallows
    declaration_keywords: frozenset[str]  # the word after one is a new name
    self_names: frozenset[str]
    constructors: tuple[str, ...]
    super_call: str
    argument_assignment: str  # between an argument's name and its value
    class_names_visible: bool  # whether a class's names are visible in its methods without a receiver
    imports: tuple[re.Pattern[bytes], ...]  # text before an imported name; group `module`
    expected: tuple[re.Pattern[bytes], ...]  # text before an expression; groups `type`, `target`, `returned`
    strings: tuple[StringForm, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TypeRules:
    """How a written annotation or expression gives the name of a class."""

    type_name: re.Pattern[str]  # a name that is a class by convention
    unwrapped: frozenset[str]  # generics that stand for their first argument
    union_operators: tuple[str, ...]
    nothing: frozenset[str]
    self_types: frozenset[str]
    transparent: tuple[str, ...]  # prefix words that leave an expression's class what it is
    literals: tuple[tuple[re.Pattern[bytes], str], ...]
    calls: Mapping[str, str]  # class of what a built-in function returns


@dataclass(frozen=True, kw_only=True, eq=False)
class Language:
    """One language folder. `extensions` with their dot, `language_ids` as LSP's `languageId` spells them."""

    id: str
    name: str
    extensions: tuple[str, ...]
    language_ids: tuple[str, ...]
    roots: tuple[str, ...]
    grammar: str  # a module with a function `language`
    line_comment: str
    member_operators: tuple[str, ...]
    lexis: Lexis
    types: TypeRules
    servers: tuple[ServerPreset, ...]  # the first is the default
    folder: Path


@cache
def languages() -> Mapping[str, Language]:
    """Every language of the package, by id. LanguageError when a folder's data is bad."""
    return load_folder(FOLDER)


def language_for(language_id: str, uri_or_path: str) -> Language | None:
    """The language with this LSP languageId, else the one with the extension of the URI or path."""
    known = languages().values()
    for language in known:
        if language_id in language.language_ids:
            return language
    path = uri_or_path.split("?", 1)[0].split("#", 1)[0].lower()
    return next((language for language in known if path.endswith(language.extensions)), None)


def load_folder(folder: Path) -> Mapping[str, Language]:
    """Every language under `folder`, by id. LanguageError when one is bad or two claim the same id."""
    found: dict[str, Language] = {}
    for file in sorted(folder.glob("*/language.toml")):
        language = load_language(file.parent)
        if language.id in found:
            raise LanguageError(file, f"the id {language.id!r} is taken by {found[language.id].folder}")
        found[language.id] = language
    return MappingProxyType(found)


def load_language(folder: Path) -> Language:
    """The language in `folder`. LanguageError with the file and what is wrong with it."""
    file = folder / "language.toml"
    try:
        table = cast(Table, tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LanguageError(file, str(error)) from error
    for query in ("locals.scm", "sites.scm"):
        if not (folder / query).is_file():
            raise LanguageError(folder / query, "is missing")
    reader = _Reader(file, table)
    servers = tuple(
        ServerPreset(name=row.text("name"), command=row.texts("command"), install=row.text("install"))
        for row in (row.done(("name", "command", "install")) for row in reader.rows("servers"))
    )
    language = Language(
        id=reader.text("id"),
        name=reader.text("name"),
        extensions=reader.texts("extensions"),
        language_ids=reader.texts("language_ids"),
        roots=reader.texts("roots"),
        grammar=reader.text("grammar"),
        line_comment=reader.text("line_comment"),
        member_operators=reader.texts("member_operators"),
        lexis=_lexis(reader.table("lexis")),
        types=_types(reader.table("types")),
        servers=servers,
        folder=folder,
    )
    if not servers:
        raise LanguageError(file, "servers: at least one is needed")
    reader.done(tuple(name for name in Language.__dataclass_fields__ if name != "folder"))
    return language


def _lexis(row: _Reader) -> Lexis:
    strings = [
        StringForm(
            opens=form.pattern_text("open"),
            close=form.text("close"),
            multiline=form.flag("multiline"),
            interpolation=form.texts("interpolation", needed=False),
        )
        for form in row.rows("strings")
    ]
    row.done(tuple(Lexis.__dataclass_fields__))
    return Lexis(
        keywords=frozenset(row.texts("keywords")),
        statement_keywords=row.texts("statement_keywords"),
        declaration_keywords=frozenset(row.texts("declaration_keywords")),
        self_names=frozenset(row.texts("self_names")),
        constructors=row.texts("constructors"),
        super_call=row.text("super_call", needed=False),
        argument_assignment=row.text("argument_assignment", needed=False),
        class_names_visible=row.flag("class_names_visible"),
        imports=tuple(row.pattern("imports", text) for text in row.texts("imports")),
        expected=tuple(row.pattern("expected", text) for text in row.texts("expected")),
        strings=tuple(strings),
    )


def _types(row: _Reader) -> TypeRules:
    row.done(tuple(TypeRules.__dataclass_fields__))
    pairs = row.pairs("literals")
    return TypeRules(
        type_name=re.compile(row.pattern_text("type_name")),
        unwrapped=frozenset(row.texts("unwrapped")),
        union_operators=row.texts("union_operators"),
        nothing=frozenset(row.texts("nothing")),
        self_types=frozenset(row.texts("self_types")),
        transparent=row.texts("transparent"),
        literals=tuple((row.pattern("literals", pattern), name) for pattern, name in pairs),
        calls=MappingProxyType(row.table("calls").mapping()),
    )


@final
class _Reader:
    """A TOML table that knows its file, so that every complaint names both."""

    def __init__(self, file: Path, table: Table, path: str = "") -> None:
        self.file = file
        self.values = table
        self.path = path

    def wrong(self, key: str, reason: str) -> LanguageError:
        return LanguageError(self.file, f"{self.path}{key}: {reason}")

    def text(self, key: str, *, needed: bool = True) -> str:
        value = self.values.get(key, None if needed else "")
        if not isinstance(value, str) or (needed and not value):
            raise self.wrong(key, "a string is needed")
        return value

    def texts(self, key: str, *, needed: bool = True) -> tuple[str, ...]:
        value = self.values.get(key, None if needed else [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in cast(list[object], value)):
            raise self.wrong(key, "a list of strings is needed")
        return tuple(cast(list[str], value))

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false is needed")
        return value

    def table(self, key: str) -> _Reader:
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "a table is needed")
        return _Reader(self.file, cast(Table, value), f"{self.path}{key}.")

    def rows(self, key: str) -> list[_Reader]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in cast(list[object], value)):
            raise self.wrong(key, "a list of tables is needed")
        return [_Reader(self.file, row, f"{self.path}{key}.") for row in cast(list[Table], value)]

    def pairs(self, key: str) -> list[tuple[str, str]]:
        value = cast(Sequence[object], self.values.get(key, []))
        found: list[tuple[str, str]] = []
        for item in value:
            pair = cast(list[object], item) if isinstance(item, list) else []
            if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
                raise self.wrong(key, "a list of [pattern, type] pairs is needed")
            found.append((str(pair[0]), str(pair[1])))
        return found

    def mapping(self) -> dict[str, str]:
        return {key: self.text(key) for key in self.values}

    def pattern_text(self, key: str) -> str:
        text = self.text(key)
        self.pattern(key, text)
        return text

    def pattern(self, key: str, text: str) -> re.Pattern[bytes]:
        try:
            return re.compile(text.replace(r"\w", r"\w\x80-\xff").encode())
        except re.error as error:
            raise self.wrong(key, f"pattern {text!r}: {error}") from error

    def done(self, known: tuple[str, ...]) -> _Reader:
        """Itself, once no key is unknown: a misspelt key would silently mean its default."""
        unknown = sorted(set(self.values) - set(known))
        if unknown:
            raise self.wrong(unknown[0], f"is not a known key; known are {', '.join(known)}")
        return self
