"""What is code and what is not in a text without a tree, so that broken code below or above changes nothing.

Builds no tree and knows no types. `Code` is a stretch of text with its strings filled with quotes and its comments with
spaces, every byte in its place, so that brackets and operators in it are really code.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import cache
from typing import final

from corpus.syntax.language import Language, StringForm

QUOTE = 0x22
LONGEST_IDENTIFIER = 512  # bytes
_TAG = "?P<tag>"  # the group of what a heredoc ends with
_NESTED = 3  # literals within a literal's interpolation that are told apart in one reading


@final
@dataclass(frozen=True, kw_only=True)
class Words:
    """A language's identifiers: `has` says which bytes they are made of, `rest` matches one at a place.

    `marks` are their characters beyond letters, digits and "_".
    """

    has: tuple[bool, ...]
    rest: re.Pattern[bytes]
    marks: str


@final
@dataclass(frozen=True, kw_only=True)
class Code:
    """Text with its strings and comments blanked.

    `in_text` says that its end lies in a string or comment, `interpolated` that it lies in code within a string. `form`
    is the form of a string that is open at its end.
    """

    masked: bytes
    in_text: bool
    interpolated: bool = False
    form: StringForm | None = None


@cache
def words(language: Language | None) -> Words:
    marks = language.lexis.identifier_marks if language is not None else ""
    rest = re.compile(rb"[A-Za-z0-9_\x80-\xff%s]*" % re.escape(marks.encode()))
    return Words(has=tuple(rest.fullmatch(bytes([byte])) is not None for byte in range(256)), rest=rest, marks=marks)


def word_start(data: bytes, end: int, language: Language | None) -> int:
    """Where the run of an identifier's bytes that ends at `end` starts; `end` itself when there is none."""
    has = words(language).has
    first = max(0, end - LONGEST_IDENTIFIER)
    while end > first and has[data[end - 1]]:
        end -= 1
    return end


def identifier_start(data: bytes, offset: int, language: Language | None = None) -> int:
    """Where the identifier that ends at `offset` starts; `offset` itself when there is none."""
    known = words(language)
    run = data[word_start(data, offset, language) : offset]
    name = ""
    # surrogateescape: bytes that are no character become characters that are no identifier
    for character in reversed(run.decode("utf-8", "surrogateescape")):
        if not ("_" + character).isidentifier() and character not in known.marks:
            break
        name = character + name
    return offset - len(name.encode("utf-8")) if is_identifier(name, language) else offset


def is_identifier(name: str, language: Language | None) -> bool:
    """Whether a text is one identifier of the language."""
    if name.isidentifier():
        return True
    marks = words(language).marks
    return bool(marks and name) and "".join("_" if mark in marks else mark for mark in name).isidentifier()


def code(data: bytes, language: Language | None) -> Code:
    """`data`, which must not start within a string or comment, with its strings and comments blanked."""
    if language is None:
        return Code(masked=data, in_text=False)
    masked = bytearray(data)
    if data.startswith(codecs.BOM_UTF8):
        masked[: len(codecs.BOM_UTF8)] = b" " * len(codecs.BOM_UTF8)
    pattern = _texts(language)
    at = 0
    while True:
        for found in pattern.finditer(data, at):
            start, end = found.span()
            kind = found.lastgroup or ""
            if kind.startswith("comment"):
                masked[start:end] = b" " * (end - start)
                if end == len(data) and kind != "commented":
                    return Code(masked=bytes(masked), in_text=True, interpolated=at > 0)
                continue
            masked[start:end] = b'"' * (end - start)
            if kind.startswith("open") and (end == len(data) or _nested_opening(data, end, _form(kind, language))):
                break  # a string that is still open where the text ends
        else:
            return Code(masked=bytes(masked), in_text=False, interpolated=at > 0)
        form = _form(kind, language)
        if form.nested:
            inner = end + len(_nested_opening(data, end, form)) if end < len(data) else -1
        else:
            inner = _open_interpolation(data, found.end(kind), form.interpolation) if form.interpolation else -1
        if inner < 0:
            return Code(masked=bytes(masked), in_text=True, interpolated=at > 0, form=form)
        # The cursor is in code inside the string: the rest is read again as code, from there.
        masked[inner - 1 :] = b"[" + data[inner:]
        if form.nested:
            masked[end : inner - 1] = b'"' * (inner - 1 - end)
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
        return Code(masked=masked, in_text=rest.in_text, interpolated=rest.interpolated, form=rest.form)


def embedded(before: Code, text: bytes, mark: bytes) -> Code | None:
    """Code that stands in the string in which `text` ends, without brackets around it; None where there is none.

    `mark` is the first byte of the name at the text's end, if that is the mark of a name.
    """
    pattern = before.form.embedded if before.form is not None else ""
    found = _pattern(rf"(?:{pattern})\Z").search(text + mark) if pattern else None
    if found is None:
        return None
    return Code(masked=before.masked[: found.start()] + text[found.start() :], in_text=False, interpolated=True)


def _form(kind: str, language: Language) -> StringForm:
    return language.lexis.strings[int(kind.removeprefix("open"))]


def _nested_opening(data: bytes, end: int, form: StringForm) -> bytes:
    """The bracket of an interpolation at `end`, where the literals that it may hold nest; b'' when there is none."""
    for mark in map(str.encode, form.interpolation[::2] if form.nested else ()):
        if data.startswith(mark, end) and _pattern(form.follows).match(data, end + len(mark)):
            return mark
    return b""


@cache
def _pattern(text: str) -> re.Pattern[bytes]:
    return re.compile(text.encode())


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


@cache
def _texts(language: Language) -> re.Pattern[bytes]:
    """Matches one comment or string.

    The last group names it: `comment` (to the line's end), `comment_open<form>`, `commented`, `open<form>` (unclosed),
    `close`.
    """
    follows = language.comment_follows.encode()
    allowed = rb"(?:^|(?<=%s))" % follows if follows else b""
    marks = [re.escape(language.line_comment.encode()), *(mark.encode() for mark in language.more_comments)]
    rest = rb"(?>(?:(?!%s)[^\r\n])*)" % language.comment_end.encode() if language.comment_end else rb"[^\r\n]*"
    parts = [rb"(?P<comment>%s(?:%s)%s)" % (allowed, b"|".join(marks), rest)]
    for index, pair in enumerate(language.block_comments):
        opens, closes = (re.escape(mark.encode()) for mark in pair)
        name = b"commented" if index == 0 else b"commented%d" % index
        parts.append(rb"(?P<comment_open%d>%s)(?:(?!%s)[\s\S])*+(?P<%s>%s)?" % (index, opens, closes, name, closes))
    for index, form in enumerate(language.lexis.strings):
        ends = rb"(?P<close%d>%s%s)?" % (index, _close(form), form.tail.encode())
        whole = rb"(?P<open%d>%s)%s%s" % (index, form.opens.encode(), _body(form), ends)
        parts.append(whole.replace(rb"?P<tag>", rb"?P<tag%d>" % index).replace(rb"?P=tag)", rb"?P=tag%d)" % index))
    return re.compile(b"|".join(parts))


def _body(form: StringForm) -> bytes:
    """Matches what stands between a literal's ends, up to an interpolation that does not end.

    Atomic groups, not possessive repeats: those match wrongly over alternatives before Python 3.11.5.
    """
    close = _close(form)
    first = re.escape(form.close[:1].encode())
    stop = b"" if form.multiline else b"\r\n"
    parts: list[bytes] = [form.whole.encode()] if form.whole else []
    brackets = [bracket.encode() for bracket in form.interpolation]
    pairs = list(zip(brackets[::2], brackets[1::2], strict=True)) if form.nested else []
    plain = rb"[^%s%s%s%s]++" % (b"" if form.raw else rb"\\", first, stop, b"".join(re.escape(o[:1]) for o, _ in pairs))
    parts.append(plain)
    if not form.raw:
        parts.append(rb"\\(?:\r\n|[\s\S])?")
    if len(close) > len(first):
        parts.append(rb"(?!%s)%s" % (close, first))
    follows = form.follows.encode()
    if pairs:
        opens = b"|".join(rb"%s(?=%s)" % (re.escape(o), follows) for o, _ in pairs)
        parts.append(rb"(?!%s)[%s]" % (opens, b"".join(re.escape(o[:1]) for o, _ in pairs)))
    literal = b""
    for _ in range(_NESTED if pairs and _TAG not in form.opens else 0):
        inner = [_interpolated(opens, closes, follows, first, literal) for opens, closes in pairs]
        literal = rb"%s(?>(?:%s)*)%s" % (form.opens.encode(), b"|".join([*parts, *inner]), close)
    return rb"(?>(?:%s)*)" % b"|".join([*parts, *(_interpolated(o, c, follows, first, literal) for o, c in pairs)])


def _close(form: StringForm) -> bytes:
    """Matches what ends a literal."""
    close = re.escape(form.close.encode())
    return rb"%s[ \t]*(?P=tag)\b" % close if _TAG in form.opens else close


def _interpolated(opens: bytes, closes: bytes, follows: bytes, quote: bytes, literal: bytes) -> bytes:
    """Matches one whole interpolation: brackets of its kind, literals of one line, and `literal` within it."""
    opening, closing = re.escape(opens[-1:]), re.escape(closes[:1])
    within = rb"""'[^'\\\r\n]*+'|"[^"\\\r\n]*+"|""" + (literal + b"|" if literal else b"")
    plain = rb"[^%s%s%s]" % (opening, closing, quote)
    deeper = rb"%s(?>(?:%s%s)*)%s" % (opening, within, plain, closing)
    return rb"%s(?=%s)(?>(?:%s%s|%s)*)%s" % (re.escape(opens), follows, within, deeper, plain, re.escape(closes))
