"""TOML tables as a language folder has them, read with complaints that name the file and the key.

Knows no key: what a table may hold is said by `corpus.syntax.language`.

LanguageError  a folder's data cannot be used; carries the file and the reason
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import cast, final

Table = dict[str, object]
FILE = "language.toml"


class LanguageError(Exception):
    """A language folder that cannot be used."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


def read_table(folder: Path, heirs: tuple[Path, ...] = ()) -> Table:
    """A folder's table, laid over that of the language that it `extends`. LanguageError when one cannot be read."""
    file = folder / FILE
    try:
        table = cast(Table, tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LanguageError(file, str(error)) from error
    base = table.get("extends")
    if base is None:
        return table
    if not isinstance(base, str) or not (folder.parent / base / FILE).is_file():
        raise LanguageError(file, f"extends: no language has the folder {base!r}")
    if folder in heirs:
        raise LanguageError(file, "extends: a language cannot extend itself")
    return _laid_over(read_table(folder.parent / base, (*heirs, folder)), table)


def _laid_over(base: Table, table: Table) -> Table:
    """`table` with what it does not say taken from `base`, tables within tables too; lists are replaced whole."""
    merged = {**base, **table}
    for key, value in table.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _laid_over(cast(Table, below), cast(Table, value))
    return merged


@final
class TableReader:
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

    def table(self, key: str, *, needed: bool = True) -> TableReader:
        value = self.values.get(key, None if needed else {})
        if not isinstance(value, dict):
            raise self.wrong(key, "a table is needed")
        return TableReader(self.file, cast(Table, value), f"{self.path}{key}.")

    def rows(self, key: str) -> list[TableReader]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in cast(list[object], value)):
            raise self.wrong(key, "a list of tables is needed")
        return [TableReader(self.file, row, f"{self.path}{key}.") for row in cast(list[Table], value)]

    def pairs(self, key: str) -> list[tuple[str, str]]:
        value = cast(Sequence[object], self.values.get(key, []))
        found: list[tuple[str, str]] = []
        for item in value:
            pair = cast(list[object], item) if isinstance(item, list) else []
            if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
                raise self.wrong(key, "a list of pairs of strings is needed")
            found.append((str(pair[0]), str(pair[1])))
        return found

    def brackets(self, key: str) -> tuple[str, ...]:
        """An opening and a closing bracket, or nothing."""
        value = self.texts(key, needed=False)
        if len(value) not in (0, 2):
            raise self.wrong(key, "an opening and a closing bracket are needed")
        return value

    def mapping(self) -> dict[str, str]:
        return {key: self.text(key) for key in self.values}

    def patterns(self, key: str, *, needed: bool = True) -> tuple[re.Pattern[bytes], ...]:
        return tuple(self.pattern(key, text) for text in self.texts(key, needed=needed))

    def pattern_text(self, key: str, *, needed: bool = True) -> str:
        text = self.text(key, needed=needed)
        self.pattern(key, text)
        return text

    def pattern_texts(self, key: str) -> tuple[str, ...]:
        """Patterns that are parts of another, or none."""
        self.patterns(key, needed=False)
        return self.texts(key, needed=False)

    def text_pattern(self, key: str) -> re.Pattern[str] | None:
        """A pattern on text, not on bytes; None where there is none."""
        return re.compile(self.pattern_text(key)) if key in self.values else None

    def pattern(self, key: str, text: str) -> re.Pattern[bytes]:
        try:
            return re.compile(text.replace(r"\w", r"\w\x80-\xff").encode())
        except re.error as error:
            raise self.wrong(key, f"pattern {text!r}: {error}") from error

    def done(self, known: tuple[str, ...]) -> TableReader:
        """Itself, once no key is unknown: a misspelt key would silently mean its default."""
        unknown = sorted(set(self.values) - set(known))
        if unknown:
            raise self.wrong(unknown[0], f"is not a known key; known are {', '.join(known)}")
        return self
