"""What the text just before a cursor says without a tree, so that broken code below or above changes nothing.

Builds no tree and knows no types. Works on `Code`: a stretch of text with its strings filled with quotes and its
comments with spaces, every byte in its place, so that brackets and operators in it are really code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import final

from corpus.syntax.language import Language

QUOTE = 0x22
_IDENTIFIER = re.compile(rb"[A-Za-z0-9_\x80-\xff]+\Z")
_REST = re.compile(rb"[A-Za-z0-9_\x80-\xff]*")
_LONGEST_IDENTIFIER = 512  # bytes
_WINDOW = 1500  # bytes searched at a time
_SPACES = b" \t\r\n\f\\"
_OPENS = {ord(")"): ord("("), ord("]"): ord("["), ord("}"): ord("{")}


@final
@dataclass(frozen=True, kw_only=True)
class Code:
    """Text with its strings and comments blanked.

    `in_text` says that its end lies in a string or comment, `interpolated` that it lies in code within a string.
    """

    masked: bytes
    in_text: bool
    interpolated: bool = False


@final
@dataclass(kw_only=True)
class Bracket:
    """A bracket that is open at the end of some code, and where its arguments start."""

    at: int
    starts: list[int] = field(default_factory=list[int])  # offset after the bracket and after each comma


def identifier_start(data: bytes, offset: int) -> int:
    """Where the identifier that ends at `offset` starts; `offset` itself when there is none."""
    run = _IDENTIFIER.search(data[max(0, offset - _LONGEST_IDENTIFIER) : offset])
    if run is None:
        return offset
    name = ""
    # surrogateescape: bytes that are no character become characters that are no identifier
    for character in reversed(run.group().decode("utf-8", "surrogateescape")):
        if not ("_" + character).isidentifier():
            break
        name = character + name
    return offset - len(name.encode("utf-8")) if name.isidentifier() else offset


def identifier_end(data: bytes, offset: int) -> int:
    """Where the identifier that `offset` is in or before ends."""
    run = _REST.match(data, offset)
    return offset if run is None else run.end()


def code(data: bytes, language: Language | None) -> Code:
    """`data`, which must not start within a string or comment, with its strings and comments blanked."""
    if language is None:
        return Code(masked=data, in_text=False)
    masked = bytearray(data)
    pattern = _texts(language)
    at = 0
    while True:
        for found in pattern.finditer(data, at):
            start, end = found.span()
            kind = found.lastgroup or ""
            if kind == "comment":
                masked[start:end] = b" " * (end - start)
                if end == len(data):
                    return Code(masked=bytes(masked), in_text=True, interpolated=at > 0)
                continue
            masked[start:end] = b'"' * (end - start)
            if kind.startswith("open") and end == len(data):
                break  # a string that is still open where the text ends
        else:
            return Code(masked=bytes(masked), in_text=False, interpolated=at > 0)
        form = language.lexis.strings[int(kind.removeprefix("open"))]
        inner = _open_interpolation(data, found.end(kind), form.interpolation) if form.interpolation else -1
        if inner < 0:
            return Code(masked=bytes(masked), in_text=True, interpolated=at > 0)
        # The cursor is in code inside the string: the rest is read again as code, from there.
        masked[inner - 1 :] = b"[" + data[inner:]
        at = inner


@final
class CodeReader:
    """`code` for a text that is read again and again: what was read up to the last line's start is kept."""

    def __init__(self) -> None:
        self._data, self._masked = b"", b""

    def __call__(self, data: bytes, language: Language | None) -> Code:
        known = len(self._data) if data.startswith(self._data) else 0
        rest = code(data[known:], language)
        masked = self._masked[:known] + rest.masked
        end = data.rfind(b"\n") + 1
        if end > known:
            # What follows may change how an open string reads: only what stands before none is kept.
            start = code(data[known:end], language)
            if not (start.in_text or start.interpolated):
                self._data, self._masked = data[:end], masked[:known] + start.masked
        return Code(masked=masked, in_text=rest.in_text, interpolated=rest.interpolated)


def expression_start(masked: bytes, end: int, language: Language | None) -> int:
    """Where the primary expression (names, members, calls, subscripts, literals) that ends at `end` starts.

    `end` itself when none ends there.
    """
    keywords = language.lexis.keywords if language else frozenset[str]()
    operators = _operators(language)
    position = end
    while position > 0:
        last = masked[position - 1]
        if last in _OPENS:
            opened = _opening(masked, position)
            if opened < 0:
                return position
            position = opened
            continues = position > 0 and (masked[position - 1] in _OPENS or _ends_name(masked, position, keywords))
            if not continues and not (position > 0 and masked[position - 1] == QUOTE):
                return position
            continue
        if last == QUOTE:
            while position > 0 and masked[position - 1] == QUOTE:
                position -= 1
            return position
        if not _ends_name(masked, position, keywords):
            return position
        run = _IDENTIFIER.search(masked[max(0, position - _LONGEST_IDENTIFIER) : position])
        position -= len(run.group()) if run else 1
        before = _skip_spaces(masked, position)
        operator = next((op for op in operators if masked.endswith(op, 0, before)), b"")
        if not operator:
            return position
        owner = _skip_spaces(masked, before - len(operator))
        if owner == 0 or not (
            masked[owner - 1] in _OPENS or masked[owner - 1] == QUOTE or _ends_name(masked, owner, keywords)
        ):
            return position
        position = owner
    return position


def member_operator(masked: bytes, start: int, language: Language | None) -> int:
    """Where the member operator before the identifier at `start` begins; -1 when there is none."""
    before = _skip_spaces(masked, start)
    for operator in _operators(language):
        if masked.endswith(operator, 0, before):
            return before - len(operator)
    return -1


def open_bracket(masked: bytes, language: Language | None) -> Bracket | None:
    """The innermost bracket still open at the end. A statement's keyword at a line's start closes all before it."""
    stack: list[tuple[int, Bracket]] = []
    for found in _brackets(language).finditer(masked, _last_statement(masked, language)):
        at = found.end() - 1
        byte = masked[at]
        if byte in b"([{":
            stack.append((byte, Bracket(at=at, starts=[at + 1])))
        elif byte in _OPENS:
            depth = next((i for i in range(len(stack) - 1, -1, -1) if stack[i][0] == _OPENS[byte]), -1)
            if depth >= 0:
                del stack[depth:]
        elif byte == ord(","):
            if stack:
                stack[-1][1].starts.append(at + 1)
        else:
            stack.clear()
    return stack[-1][1] if stack else None


def _last_statement(masked: bytes, language: Language | None) -> int:
    """A place that all brackets still open stand behind: the last line that a statement's keyword opens, else 0."""
    statements = _statements(language)
    start = len(masked)
    while statements is not None and start > 0:
        end, start = start, max(0, masked.rfind(b"\n", 0, max(0, start - _WINDOW)) + 1)
        last = -1
        for found in statements.finditer(masked, start, end):
            last = found.start()
        if last >= 0:
            return last
    return 0


def word_before(masked: bytes, position: int) -> str:
    """The identifier or keyword before `position` on the same line, spaces between; '' when there is none."""
    text = masked[max(0, position - _LONGEST_IDENTIFIER) : position].rstrip(b" \t")
    run = _IDENTIFIER.search(text)
    return run.group().decode("utf-8", "replace") if run else ""


def statement_start(masked: bytes, position: int) -> int:
    """Where the line that holds `position` starts."""
    return max(masked.rfind(b"\n", 0, position), masked.rfind(b"\r", 0, position)) + 1


def _open_interpolation(data: bytes, start: int, brackets: tuple[str, ...]) -> int:
    """Offset after the outermost bracket of an interpolation that is still open at the end; -1 when none is."""
    opens, closes = (bracket.encode() for bracket in brackets)
    stack: list[int] = []
    for found in re.finditer(
        rb"(?P<double>%s%s|%s%s)|(?P<open>%s)|(?P<close>%s)"
        % tuple(re.escape(bracket) for bracket in (opens, opens, closes, closes, opens, closes)),
        data[start:],
    ):
        if found.lastgroup == "open" or (found.lastgroup == "double" and stack and found.group()[:1] == opens):
            stack.append(start + found.end())
        elif stack:
            stack.pop()
    return stack[0] if stack else -1


def _opening(masked: bytes, end: int) -> int:
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


def _ends_name(masked: bytes, position: int, keywords: frozenset[str]) -> bool:
    run = _IDENTIFIER.search(masked[max(0, position - _LONGEST_IDENTIFIER) : position])
    return run is not None and run.group().decode("utf-8", "replace") not in keywords


def _skip_spaces(masked: bytes, position: int) -> int:
    while position > 0 and masked[position - 1] in _SPACES:
        position -= 1
    return position


@cache
def _operators(language: Language | None) -> tuple[bytes, ...]:
    names = language.member_operators if language else (".",)
    return tuple(sorted((name.encode() for name in names), key=len, reverse=True))


@cache
def _brackets(language: Language | None) -> re.Pattern[bytes]:
    statements = _statements(language)
    return re.compile(rb"[()\[\]{},]" + (b"|" + statements.pattern if statements else b""), re.MULTILINE)


@cache
def _statements(language: Language | None) -> re.Pattern[bytes] | None:
    words = language.lexis.statement_keywords if language else ()
    joined = b"|".join(re.escape(word.encode()) for word in words)
    return re.compile(rb"^[ \t]*(?:%s)[ \t:\r\n]" % joined, re.MULTILINE) if words else None


@cache
def _texts(language: Language) -> re.Pattern[bytes]:
    """Matches one comment or string; the last group names it: `comment`, `open<form>` (unclosed) or `close`."""
    parts = [b"(?P<comment>%s[^\r\n]*)" % re.escape(language.line_comment.encode())]
    for index, form in enumerate(language.lexis.strings):
        close = re.escape(form.close.encode())
        stop = b"" if form.multiline else b"\r\n"
        first = re.escape(form.close[:1].encode())
        body = rb"(?:[^\\%s%s]|\\(?:\r\n|[\s\S])?|(?!%s)%s)*+" % (first, stop, close, first)
        parts.append(rb"(?P<open%d>%s)%s(?P<close%d>%s)?" % (index, form.opens.encode(), body, index, close))
    return re.compile(b"|".join(parts))
