"""What syntax says of a cursor: the `CompletionSite`. The same code serves live and mines.

Reads the text just before the cursor first, so that it is right in broken code, and the tree for what is further off.
Never raises on any text: it returns less.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final
from weakref import WeakKeyDictionary

from corpus.syntax.language import Language
from corpus.syntax.lexical import (
    Bracket,
    Code,
    CodeReader,
    expression_start,
    identifier_start,
    member_operator,
    open_bracket,
    word_before,
)
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.scopes import innermost, members, outline
from corpus.syntax.types import Types, is_name, visible_scopes

log = logging.getLogger(__name__)

REACH = 24_000  # bytes before the cursor that are read without a tree
PLACEHOLDER = b"_"

_readers: WeakKeyDictionary[SyntaxDocument, CodeReader] = WeakKeyDictionary()


@final
@dataclass(frozen=True, kw_only=True)
class VisibleName:
    """A name that can be used at the site. `distance` counts scopes outwards, `offset` is where it is bound (bytes)."""

    name: str
    kind: str
    distance: int
    offset: int


@final
@dataclass(frozen=True, kw_only=True)
class CompletionSite:
    """Offsets are bytes. Texts are '' and collections empty where nothing is known."""

    language: str
    kind: str  # "member", "name", "import", "declaration" or "text" (a string or comment)
    start: int  # where the identifier starts
    offset: int  # the cursor
    prefix: str
    receiver: str = ""
    receiver_is_self: bool = False  # the receiver is the instance whose method this is
    receiver_type: str = ""  # a class's name, or a module's dotted one
    own_members: frozenset[str] = frozenset()  # of the receiver's class, where this file defines it
    visible: Mapping[str, VisibleName]
    imports: Mapping[str, str]  # local name -> dotted origin
    enclosing: tuple[str, ...] = ()  # names of classes and functions around the cursor, outermost first
    enclosing_signatures: tuple[str, ...] = ()  # the lines that open them
    callee: str = ""
    argument: int | str | None = None  # position from 0, or the keyword
    expected_type: str = ""
    in_comment_or_string: bool = False


def site_at(document: SyntaxDocument, offset: int) -> CompletionSite:
    """The site of a cursor at byte `offset`, clamped to the text."""
    data = document.text.data
    offset = max(0, min(offset, len(data)))
    start = identifier_start(data, offset)
    prefix = data[start:offset].decode("utf-8", "replace")
    language = document.language
    begin = _begin(data, start)
    before = _readers.setdefault(document, CodeReader())(data[begin:start], language)
    lexical = _lexical(before, data, begin, start, language)
    if before.in_text or language is None:
        kind = "text" if before.in_text else lexical.kind
        return CompletionSite(
            language=language.id if language else "",
            kind=kind,
            start=start,
            offset=offset,
            prefix=prefix,
            receiver="" if before.in_text else lexical.receiver,
            visible={},
            imports={},
            in_comment_or_string=before.in_text,
        )
    return _with_tree(document, language, lexical, start, offset, prefix)


@dataclass(frozen=True, kw_only=True)
class _Lexical:
    """What the text alone says."""

    kind: str
    receiver: str = ""
    module: str = ""
    callee: str = ""
    argument: int | str | None = None
    expected: Mapping[str, str]  # groups of the language's `expected` patterns


def _begin(data: bytes, start: int) -> int:
    """A line's start at most REACH before, where no string is likely to be open."""
    if start <= REACH:
        return 0
    at = data.find(b"\n", start - REACH, start)
    while 0 <= at < start - 1:
        following = data[at + 1 : at + 2]
        if following not in (b" ", b"\t", b"\n", b"\r", b"#", b")", b"]", b"}", b'"', b"'"):
            return at + 1
        at = data.find(b"\n", at + 1, start)
    return start - REACH


def _lexical(before: Code, data: bytes, begin: int, start: int, language: Language | None) -> _Lexical:
    masked = before.masked
    text = bytes(data[begin:start])
    statement = _statement(text, masked, language)
    expected: Mapping[str, str] = {}
    if language is not None:
        for pattern in language.lexis.imports:
            found = pattern.search(statement)
            if found:
                module = (found.group("module") or b"").decode("utf-8", "replace")
                return _Lexical(kind="import", module=module, expected={})
        for pattern in language.lexis.expected:
            found = pattern.search(statement)
            if found:
                expected = {
                    name: value.decode("utf-8", "replace") for name, value in found.groupdict().items() if value
                }
                break
    operator = member_operator(masked, len(masked), language)
    receiver = ""
    end = len(masked)
    if operator >= 0:
        end = len(masked[:operator].rstrip())
        first = expression_start(masked, end, language)
        receiver = text[first:end].decode("utf-8", "replace")
        end = first
    kind = "member" if operator >= 0 else "name"
    declared = language.lexis.declaration_keywords if language is not None else frozenset[str]()
    if kind == "name" and word_before(masked, len(masked)) in declared:
        return _Lexical(kind="declaration", expected={})
    bracket = open_bracket(masked, language)
    callee, argument = _call(bracket, masked, text, language)
    return _Lexical(kind=kind, receiver=receiver, callee=callee, argument=argument, expected=expected)


def _statement(text: bytes, masked: bytes, language: Language | None) -> bytes:
    """The line before the cursor, with the lines before it that an open bracket joins to it; strings blanked."""
    at = masked.rfind(b"\n") + 1
    bracket = open_bracket(masked, language)
    if bracket is not None and bracket.at < at:
        at = masked.rfind(b"\n", 0, bracket.at) + 1
    return masked[at:]


def _call(
    bracket: Bracket | None, masked: bytes, text: bytes, language: Language | None
) -> tuple[str, int | str | None]:
    """The function whose argument list the end of the text is in, and which argument."""
    if bracket is None or masked[bracket.at : bracket.at + 1] != b"(":
        return "", None
    first = expression_start(masked, bracket.at, language)
    callee = text[first : bracket.at].decode("utf-8", "replace").strip()
    if not callee or (language is not None and word_before(masked, first) in language.lexis.declaration_keywords):
        return "", None
    written = masked[bracket.starts[-1] :]
    mark = language.lexis.argument_assignment.encode() if language is not None else b""
    name, assigned, rest = written.partition(mark) if mark else (b"", b"", b"")
    keyword = name.strip().decode("utf-8", "replace")
    if assigned and keyword.isidentifier() and not rest.startswith(mark):
        return callee, keyword
    return callee, len(bracket.starts) - 1


def _with_tree(
    document: SyntaxDocument, language: Language, lexical: _Lexical, start: int, offset: int, prefix: str
) -> CompletionSite:
    data = document.text.data
    tree = document.tree if prefix else document.tree_with(offset, PLACEHOLDER)
    visible: dict[str, VisibleName] = {}
    imports: dict[str, str] = {}
    receiver_type = lexical.module
    own: frozenset[str] = frozenset()
    enclosing: list[str] = []
    signatures: list[str] = []
    expected = ""
    if tree is not None:
        whole = bytes(data) if prefix else bytes(data[:offset]) + PLACEHOLDER + bytes(data[offset:])
        root = outline(document, tree, whole)
        types = Types(root, language)
        scope = innermost(root, start)
        for distance, outer in enumerate(visible_scopes(scope, language)):
            for at, binding in outer.bindings():
                if not is_name(binding) or binding.offset < 0 or at == start:
                    continue
                known = visible.get(binding.name)
                if known is None or (known.distance == distance and known.offset < at < start):
                    visible[binding.name] = VisibleName(
                        name=binding.name, kind=binding.kind, distance=distance, offset=at
                    )
                if binding.origin:
                    imports.setdefault(binding.name, binding.origin)
        if lexical.receiver:
            receiver_type = types.of(lexical.receiver, start)
            cls = types.classes.get(receiver_type)
            if cls is not None:
                own = frozenset(binding.name for _, binding, _ in members(cls, language.lexis.self_names))
        for outer in reversed(list(scope.chain())):
            if outer.kind in ("class", "function") and outer.name:
                enclosing.append(outer.name)
                first, last = outer.signature
                signatures.append(" ".join(whole[first:last].decode("utf-8", "replace").split()))
        expected = _expected(types, lexical, start, language)
    return CompletionSite(
        language=language.id,
        kind=lexical.kind,
        start=start,
        offset=offset,
        prefix=prefix,
        receiver=lexical.receiver,
        receiver_is_self=lexical.receiver in language.lexis.self_names,
        receiver_type=receiver_type,
        own_members=own,
        visible=visible,
        imports=imports,
        enclosing=tuple(enclosing),
        enclosing_signatures=tuple(signatures),
        callee=lexical.callee,
        argument=lexical.argument,
        expected_type=expected,
    )


def _expected(types: Types, lexical: _Lexical, start: int, language: Language) -> str:
    """The class that the expression at the cursor should have."""
    if lexical.callee:
        function = types.function(lexical.callee, start)
        parameters = types.parameters(function) if function is not None else []
        if isinstance(lexical.argument, int) and lexical.argument < len(parameters):
            return types.annotation(parameters[lexical.argument].type)
        return next((types.annotation(p.type) for p in parameters if p.name == lexical.argument), "")
    if "type" in lexical.expected:
        return types.annotation(lexical.expected["type"])
    if "returned" in lexical.expected:
        scope = next((s for s in innermost(types.root, start).chain() if s.kind == "function"), None)
        return types.annotation(scope.local.type) if scope is not None else ""
    if "target" in lexical.expected:
        return types.of(lexical.expected["target"], start)
    return ""
