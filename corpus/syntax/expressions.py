"""Expressions and brackets before a cursor, read backwards from the masked text (`lexical.Code`) alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import final

from corpus.syntax.language import Language
from corpus.syntax.lexical import LONGEST_IDENTIFIER, QUOTE, word_start

_WINDOW = 1500  # bytes searched at a time
_SPACES = b" \t\r\n\f"
_CONTINUATION = "\\"  # at a line's end it is a space, in languages that do not use it as an operator
_OPENS = {ord(")"): ord("("), ord("]"): ord("["), ord("}"): ord("{")}
_BRACES = re.compile(rb"[{}]")


@final
@dataclass(kw_only=True)
class Bracket:
    """A bracket that is open at the end of some code, and where its arguments start."""

    at: int
    starts: list[int] = field(default_factory=list[int])  # offset after the bracket and after each comma


def expression_start(masked: bytes, end: int, language: Language | None) -> int:
    """Where the primary expression (names, members, calls, subscripts, literals) that ends at `end` starts.

    `end` itself when none ends there.
    """
    position = end
    while position > 0:
        last = masked[position - 1]
        if last in _OPENS:
            opened = opening_bracket(masked, position)
            if opened < 0:
                return position
            position = callee_end(masked, opened, language)
            continues = position > 0 and (masked[position - 1] in _OPENS or _ends_name(masked, position, language))
            if not continues and not (position > 0 and masked[position - 1] == QUOTE):
                return position
            continue
        if last == QUOTE:
            while position > 0 and masked[position - 1] == QUOTE:
                position -= 1
            return position
        if not _ends_name(masked, position, language):
            named = before_type_arguments(masked, position, language)
            if named == position or not _ends_name(masked, named, language):
                return position
            position = named
        position = word_start(masked, position, language)
        before = before_type_arguments(masked, _skip_spaces(masked, position, language), language)
        operator = next((op for op in _operators(language) if masked.endswith(op, 0, before)), b"")
        if opens_root(masked, before, language):
            position, operator = before - len(operator), b""
        if not operator:
            return _creation_start(masked, position, language)
        owner = _skip_spaces(masked, before - len(operator), language)
        if owner == 0 or not (
            masked[owner - 1] in _OPENS or masked[owner - 1] == QUOTE or _ends_name(masked, owner, language)
        ):
            return position
        position = owner
    return position


def callee_end(masked: bytes, opened: int, language: Language | None) -> int:
    """Where what stands before an opening bracket ends: type arguments and an operator between are passed over."""
    if language is None:
        return opened
    position = opened
    if masked[opened] == ord("{") and language.lexis.creation:  # the body of a class without a name
        before = _skip_spaces(masked, opened, language)
        return before if masked[before - 1 : before] == b")" else opened
    for operator in _operators(language):
        if len(operator) > 1 and masked.endswith(operator, 0, opened):
            position = opened - len(operator)
            break
    return before_type_arguments(masked, position, language)


def before_type_arguments(masked: bytes, position: int, language: Language | None) -> int:
    """Where type arguments that end at `position` start; `position` itself when none do."""
    brackets = language.lexis.type_arguments if language is not None else ()
    if language is None or not brackets or masked[position - 1 : position] != brackets[1].encode():
        return position
    found = _generic(language).search(masked, max(0, position - _WINDOW // 4), position)
    while found is not None and found.end() != position:
        found = _generic(language).search(masked, found.start() + 1, position)
    return found.start() if found is not None else position


def member_operator(masked: bytes, start: int, language: Language | None) -> int:
    """Where the member operator before the identifier at `start` begins; -1 when there is none."""
    before = before_type_arguments(masked, _skip_spaces(masked, start, language), language)
    if opens_root(masked, before, language):
        return -1
    if language is not None and language.lexis.spread and masked.endswith(language.lexis.spread.encode(), 0, before):
        return -1
    for operator in _operators(language):
        if masked.endswith(operator, 0, before):
            return before - len(operator)
    return -1


def opens_root(masked: bytes, end: int, language: Language | None) -> bool:
    """Whether the text up to `end` ends with the mark of the outermost namespace: with no expression before it."""
    mark = language.lexis.root_prefix.encode() if language is not None else b""
    if not mark or not masked.endswith(mark, 0, end):
        return False
    return not _ends_name(masked, end - len(mark), language)


def open_brackets(masked: bytes, language: Language | None, *, all_of_them: bool = False) -> list[Bracket]:
    """The brackets still open at the end, outermost first.

    A statement's keyword at a line's start closes all before it. Where statements stand in braces it closes those
    within, and brackets outside the innermost brace are left out unless asked for.
    """
    braces = language is not None and language.lexis.braces
    begin = -1 if all_of_them or not braces else _open_brace(masked)
    begin = begin if begin >= 0 else _last_statement(masked, language)
    stack: list[tuple[int, Bracket]] = []
    for found in _brackets(language).finditer(masked, begin):
        at = found.end() - 1
        byte = masked[at]
        if byte in b"([{":
            stack.append((byte, Bracket(at=at, starts=[at + 1])))
        elif found.lastgroup == "generic":
            continue
        elif byte in _OPENS:
            depth = next((i for i in range(len(stack) - 1, -1, -1) if stack[i][0] == _OPENS[byte]), -1)
            if depth >= 0:
                del stack[depth:]
        elif byte == ord(","):
            if stack:
                stack[-1][1].starts.append(at + 1)
        else:
            while stack and not (braces and stack[-1][0] == ord("{")):
                stack.pop()
    return [bracket for _, bracket in stack]


def word_before(masked: bytes, position: int, language: Language | None = None) -> str:
    """The identifier or keyword before `position` on the same line, spaces between; '' when there is none."""
    text = masked[max(0, position - LONGEST_IDENTIFIER) : position].rstrip(b" \t")
    return text[word_start(text, len(text), language) :].decode("utf-8", "replace")


def _creation_start(masked: bytes, position: int, language: Language | None) -> int:
    """`position`, or where the word that creates an instance starts, if that stands before it."""
    word = language.lexis.creation.encode() if language is not None else b""
    before = _skip_spaces(masked, position, language)
    if not word or before == position or not masked.endswith(word, 0, before):
        return position
    start = before - len(word)
    return start if word_start(masked, start, language) == start else position


def _open_brace(masked: bytes) -> int:
    """Offset of the innermost brace that is still open at the end; -1 when there is none."""
    level, start = 0, len(masked)
    while start > 0:
        end, start = start, max(0, start - _WINDOW)
        for found in reversed(list(_BRACES.finditer(masked, start, end))):
            level += 1 if masked[found.start()] == ord("}") else -1
            if level < 0:
                return found.start()
    return -1


def _last_statement(masked: bytes, language: Language | None) -> int:
    """A place that all brackets still open stand behind: the last line that a statement's keyword opens, else 0.

    Where statements stand in braces, only a line without indentation is one.
    """
    statements = _statements(language)
    if language is not None and language.lexis.braces:
        statements = _outer_statements(language)
    start = len(masked)
    while statements is not None and start > 0:
        end, start = start, max(0, masked.rfind(b"\n", 0, max(0, start - _WINDOW)) + 1)
        last = -1
        for found in statements.finditer(masked, start, end):
            last = found.start()
        if last >= 0:
            return last
    return 0


def opening_bracket(masked: bytes, end: int) -> int:
    """Offset of the bracket that matches the closing one before `end`; -1 when it has none."""
    wanted: list[int] = []
    for position in range(end - 1, -1, -1):
        byte = masked[position]
        if byte in _OPENS:
            wanted.append(_OPENS[byte])
        elif byte in b"([{":
            if wanted.pop() != byte:
                return -1
            if not wanted:
                return position
    return -1


def _ends_name(masked: bytes, position: int, language: Language | None) -> bool:
    before = word_start(masked, position, language)
    if before == position:
        return False
    if language is None or masked[before:position].decode("utf-8", "replace") not in language.lexis.keywords:
        return True
    return language.lexis.keyword_members and any(masked.endswith(op, 0, before) for op in _operators(language))


def _skip_spaces(masked: bytes, position: int, language: Language | None) -> int:
    blanks = spaces(language)
    while position > 0 and masked[position - 1] in blanks:
        position -= 1
    return position


@cache
def spaces(language: Language | None) -> bytes:
    """The bytes that may stand between the parts of an expression."""
    used = language is not None and _CONTINUATION in language.member_operators
    return _SPACES if used else _SPACES + _CONTINUATION.encode()


@cache
def _operators(language: Language | None) -> tuple[bytes, ...]:
    names = language.member_operators if language else (".",)
    return tuple(sorted((name.encode() for name in names), key=len, reverse=True))


@cache
def _brackets(language: Language | None) -> re.Pattern[bytes]:
    statements = _statements(language)
    generic = language is not None and language.lexis.type_arguments
    parts = [
        *([b"(?P<generic>%s)" % _generic(language).pattern] if language is not None and generic else []),
        rb"[()\[\]{},]",
        *([statements.pattern] if statements else []),
    ]
    return re.compile(b"|".join(parts), re.MULTILINE)


@cache
def _generic(language: Language) -> re.Pattern[bytes]:
    """Matches type arguments after a name or an operator, two levels deep; comparisons rarely look so."""
    opens, closes = (re.escape(bracket.encode()) for bracket in language.lexis.type_arguments)
    plain = rb"[\w\x80-\xff\s.,:?&*|'\[\]$\"]*+"
    inner = rb"(?>(?:%s%s%s%s)*)" % (opens, plain, closes, plain)
    inner = rb"(?>(?:%s%s%s%s%s)*)" % (opens, plain, inner, closes, plain)
    return re.compile(rb"(?<=[\w\x80-\xff$.:])%s%s%s%s" % (opens, plain, inner, closes))


@cache
def _statements(language: Language | None) -> re.Pattern[bytes] | None:
    words_ = language.lexis.statement_keywords if language else ()
    joined = b"|".join(re.escape(word.encode()) for word in words_)
    return re.compile(rb"^[ \t]*(?:%s)[ \t:\r\n]" % joined, re.MULTILINE) if words_ else None


@cache
def _outer_statements(language: Language) -> re.Pattern[bytes] | None:
    joined = b"|".join(re.escape(word.encode()) for word in language.lexis.statement_keywords)
    return re.compile(rb"^(?:%s)[ \t:\r\n]" % joined, re.MULTILINE) if joined else None
