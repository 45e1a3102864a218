"""What syntax says of a cursor: the `CompletionSite`. The same code serves live and mines.

Reads the text just before the cursor first, so that it is right in broken code, and the tree for what is further off.
Never raises on any text: it returns less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, final
from weakref import WeakKeyDictionary

from corpus.syntax.expressions import (
    Bracket,
    callee_end,
    ending,
    expression_start,
    member_operator,
    open_brackets,
    word_before,
)
from corpus.syntax.language import Language
from corpus.syntax.lexical import Code, CodeReader, identifier_start, is_identifier
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.queries import has_capture, query
from corpus.syntax.scopes import innermost, members, outline
from corpus.syntax.types import Types, is_name, visible_scopes

if TYPE_CHECKING:
    import tree_sitter


REACH = 24_000  # bytes before the cursor that are read without a tree
AHEAD = 500  # bytes after it
PLACEHOLDER = b"_"
TEXT = "region.text"

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
    language = document.language
    start = identifier_start(data, offset, language)
    prefix = data[start:offset].decode("utf-8", "replace")
    begin = _begin(data, start, language)
    before = _readers.setdefault(document, CodeReader())(data[begin:start], language)
    lexical = _lexical(before, data, begin, start, offset, language)
    if before.in_text:
        return _text_site(language, start, offset, prefix)
    if language is None:
        return CompletionSite(
            language="",
            kind=lexical.kind,
            start=start,
            offset=offset,
            prefix=prefix,
            receiver=lexical.receiver,
            visible={},
            imports={},
        )
    return _with_tree(document, language, lexical, start, offset, prefix)


def _text_site(language: Language | None, start: int, offset: int, prefix: str) -> CompletionSite:
    return CompletionSite(
        language=language.id if language else "",
        kind="text",
        start=start,
        offset=offset,
        prefix=prefix,
        visible={},
        imports={},
        in_comment_or_string=True,
    )


@dataclass(frozen=True, kw_only=True)
class _Lexical:
    """What the text alone says."""

    kind: str
    receiver: str = ""
    module: str = ""
    callee: str = ""
    argument: int | str | None = None
    ending: bytes = b""  # what would end the statement that the text breaks off in
    expected: Mapping[str, str]  # groups of the language's `expected` patterns


def _begin(data: bytes, start: int, language: Language | None) -> int:
    """A line's start at most REACH before, where no string is likely to be open."""
    if start <= REACH:
        return 0
    unlikely = _unlikely_starts(language)
    at = data.find(b"\n", start - REACH, start)
    while 0 <= at < start - 1:
        if data[at + 1] not in unlikely:
            return at + 1
        at = data.find(b"\n", at + 1, start)
    return start - REACH


@cache
def _unlikely_starts(language: Language | None) -> bytes:
    """First bytes of lines that may well stand within a string, a comment or a bracket."""
    marks = [language.line_comment] if language is not None else ["#"]
    if language is not None:
        marks += [form.close for form in language.lexis.strings]
        marks += [mark[:1] for pair in language.block_comments for mark in (pair[0], pair[1])]
    return b" \t\n\r)]}\"'" + "".join(mark[:1] for mark in marks).encode()


def _lexical(before: Code, data: bytes, begin: int, start: int, offset: int, language: Language | None) -> _Lexical:
    masked = before.masked
    text = bytes(data[begin:start])
    brackets = open_brackets(masked, language)
    expected: Mapping[str, str] = {}
    after = b""
    if language is not None:
        after = ending(masked, brackets, data[offset : offset + AHEAD], language)
        module = _imported(masked, brackets, data[offset : offset + AHEAD], language)
        if module is not None:
            return _Lexical(kind="import", module=module, ending=after, expected={})
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
        return _Lexical(kind="declaration", ending=after, expected={})
    callee, argument = _call(brackets[-1] if brackets else None, masked, text, language)
    return _Lexical(kind=kind, receiver=receiver, callee=callee, argument=argument, ending=after, expected=expected)


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


def _with_tree(
    document: SyntaxDocument, language: Language, lexical: _Lexical, start: int, offset: int, prefix: str
) -> CompletionSite:
    data = document.text.data
    inserted = (b"" if prefix else PLACEHOLDER) + lexical.ending
    tree = document.tree_with(offset, inserted) if inserted else document.tree
    visible: dict[str, VisibleName] = {}
    imports: dict[str, str] = {}
    receiver_type = lexical.module
    own: frozenset[str] = frozenset()
    enclosing: list[str] = []
    signatures: list[str] = []
    expected = ""
    if tree is not None and _in_text(tree, language, start):
        return _text_site(language, start, offset, prefix)
    if tree is not None:
        whole = b"".join((data[:offset], inserted, data[offset:])) if inserted else bytes(data)
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


def _in_text(tree: tree_sitter.Tree, language: Language, start: int) -> bool:
    """Whether the cursor is in text that only the tree tells from code."""
    import tree_sitter

    compiled = query(language, "sites")
    if not has_capture(compiled, TEXT):
        return False
    leaf = tree.root_node.descendant_for_byte_range(start, start + 1)
    cursor = tree_sitter.QueryCursor(compiled)
    cursor.set_max_start_depth(0)
    return leaf is not None and TEXT in cursor.captures(leaf)


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
        return types.annotation(scope.local.type, language.types.awaited) if scope is not None else ""
    if "target" in lexical.expected:
        return types.of(lexical.expected["target"], start)
    return ""
