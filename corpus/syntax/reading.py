"""What the text before a cursor says of it without a tree: member or name, receiver, call, import, expected class.

Right in code that is broken below or above; knows no scopes and no types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import final

from corpus.syntax.ending import ending
from corpus.syntax.expressions import (
    Bracket,
    callee_end,
    expression_start,
    member_operator,
    open_brackets,
    word_before,
)
from corpus.syntax.language import Language
from corpus.syntax.lexical import Code, is_identifier

REACH = 24_000  # bytes before the cursor that are read
AHEAD = 500  # bytes after it
_INDENTED = re.compile(rb"\n([ \t]+)([^\s])")


@final
@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the text alone says of a cursor."""

    kind: str
    receiver: str = ""
    module: str = ""
    callee: str = ""
    argument: int | str | None = None
    leads: bool = False  # the callee opens its line
    ending: bytes = b""  # what would end the statement that the text breaks off in
    expected: Mapping[str, str]  # groups of the language's `expected` patterns


def read(before: Code, data: bytes, begin: int, start: int, offset: int, language: Language | None) -> Reading:
    masked = before.masked
    text = bytes(data[begin:start])
    brackets = open_brackets(masked, language)
    expected: Mapping[str, str] = {}
    after = b""
    if language is not None:
        after = ending(masked, brackets, text, data[offset : offset + AHEAD], language)
        module = _imported(masked, brackets, data[offset : offset + AHEAD], language)
        if module is not None:
            return Reading(kind="import", module=module, ending=after, expected={})
        expected = _expected_here(masked, brackets, language)
    operator = member_operator(masked, len(masked), language)
    receiver = ""
    end = len(masked)
    if operator >= 0:
        end = len(masked[:operator].rstrip())
        first = expression_start(masked, end, language)
        receiver = text[first:end].decode("utf-8", "replace")
        end = first
    kind = "member" if operator >= 0 else "name"
    if kind == "name" and language is not None and _declares(masked, len(masked), language):
        return Reading(kind="declaration", ending=after, expected={})
    callee, argument = _call(brackets[-1] if brackets else None, masked, text, language)
    line = masked[masked.rfind(b"\n", 0, brackets[-1].at) + 1 : brackets[-1].at] if callee else b""
    return Reading(
        kind=kind,
        receiver=receiver,
        callee=callee,
        argument=argument,
        leads=line.strip().decode("utf-8", "replace") == callee,
        ending=after,
        expected=expected,
    )


def reading_start(data: bytes, start: int, language: Language | None) -> int:
    """A line's start at most REACH before, where no string is likely to be open."""
    if start <= REACH:
        return 0
    unlikely = _unlikely_starts(language)
    at = data.find(b"\n", start - REACH, start)
    while 0 <= at < start - 1:
        if data[at + 1] not in unlikely:
            return at + 1
        at = data.find(b"\n", at + 1, start)
    if language is not None and language.lexis.braces:
        # All of it stands in one bracket: the line that is furthest out is likely to be code.
        lines = _INDENTED.finditer(data, start - REACH, start - REACH // 2)
        found = min((line for line in lines if line[2][0] not in unlikely), key=lambda line: len(line[1]), default=None)
        return found.start(1) if found is not None else start - REACH
    return start - REACH


@cache
def _unlikely_starts(language: Language | None) -> bytes:
    """First bytes of lines that may well stand within a string, a comment or a bracket."""
    marks = [language.line_comment] if language is not None else ["#"]
    if language is not None:
        marks += [form.close for form in language.lexis.strings]
        marks += [mark[:1] for pair in language.block_comments for mark in (pair[0], pair[1])]
    return b" \t\n\r)]}\"'" + "".join(mark[:1] for mark in marks).encode()


def _imported(masked: bytes, brackets: list[Bracket], after: bytes, language: Language) -> str | None:
    """The module that a name is imported from, '' when it is a module itself; None where nothing is imported."""
    statement = _statement(masked, brackets, b"([{")
    for pattern in language.lexis.imports:
        found = pattern.search(statement)
        if found:
            named = found.groupdict().get("module")
            for follows in language.lexis.import_ends if not named else ():
                ahead = follows.match(after)
                named = ahead.group("module") if ahead else named
            return (named or b"").decode("utf-8", "replace")
    return None


def _expected_here(masked: bytes, brackets: list[Bracket], language: Language) -> Mapping[str, str]:
    """What the text before an expression says of its class: groups of the language's `expected` patterns."""
    statement = _statement(masked, brackets, b"([" if language.lexis.braces else b"([{")
    for pattern in language.lexis.expected:
        found = pattern.search(statement)
        if found:
            return {name: value.decode("utf-8", "replace") for name, value in found.groupdict().items() if value}
    return {}


def _statement(masked: bytes, brackets: list[Bracket], joining: bytes) -> bytes:
    """The line before the cursor, with the lines before it that an open bracket joins to it; strings blanked."""
    at = masked.rfind(b"\n") + 1
    bracket = brackets[-1] if brackets else None
    if bracket is not None and bracket.at < at and masked[bracket.at] in joining:
        at = masked.rfind(b"\n", 0, bracket.at) + 1
    return masked[at:]


def _declares(masked: bytes, position: int, language: Language) -> bool:
    """Whether a name at `position` would be a new one."""
    if word_before(masked, position, language) in language.lexis.declaration_keywords:
        return True
    line = masked[masked.rfind(b"\n", 0, position) + 1 : position] if language.lexis.declarations else b""
    return any(pattern.search(line) for pattern in language.lexis.declarations)


def _call(
    bracket: Bracket | None, masked: bytes, text: bytes, language: Language | None
) -> tuple[str, int | str | None]:
    """The function whose argument list the end of the text is in, and which argument."""
    if bracket is None or masked[bracket.at : bracket.at + 1] != b"(":
        return "", None
    end = callee_end(masked, bracket.at, language)
    first = expression_start(masked, end, language)
    callee = text[first:end].decode("utf-8", "replace").strip()
    if not callee:
        return "", None
    if language is not None and (callee in language.lexis.constructors or _declares(masked, first, language)):
        return "", None
    written = masked[bracket.starts[-1] :]
    mark = language.lexis.argument_assignment.encode() if language is not None else b""
    name, assigned, rest = written.partition(mark) if mark else (b"", b"", b"")
    keyword = name.strip().decode("utf-8", "replace")
    if assigned and is_identifier(keyword, language) and not rest.startswith(mark):
        return callee, keyword
    return callee, len(bracket.starts) - 1
