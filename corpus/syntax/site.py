"""What syntax says of a cursor: the `CompletionSite`. The same code serves live and mines.

Reads the text just before the cursor first, so that it is right in broken code, and the tree for what is further off.
Never raises on any text: it returns less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final
from weakref import WeakKeyDictionary

from corpus.syntax.language import Language
from corpus.syntax.lexical import CodeReader, embedded, identifier_start, words
from corpus.syntax.origins import Origins
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.queries import has_capture, query
from corpus.syntax.reading import Reading, read, reading_start
from corpus.syntax.scopes import innermost, outline
from corpus.syntax.types import Types, is_name, visible_scopes

if TYPE_CHECKING:
    import tree_sitter


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
    receiver_origin: str = ""  # where the receiver comes from, in words that other projects share: `origins`
    own_members: frozenset[str] = frozenset()  # of the receiver's class, where this file defines it
    visible: Mapping[str, VisibleName]
    imports: Mapping[str, str]  # local name -> dotted origin
    enclosing: tuple[str, ...] = ()  # names of classes and functions around the cursor, outermost first
    enclosing_signatures: tuple[str, ...] = ()  # the lines that open them
    callee: str = ""
    callee_origin: str = ""
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
    begin = reading_start(data, start, language)
    before = _readers.setdefault(document, CodeReader())(data[begin:start], language)
    if before.in_text:
        mark = data[start : start + 1] if prefix and prefix[0] in words(language).marks else b""
        inside = embedded(before, data[begin:start], mark)
        if inside is None:
            return _text_site(language, start, offset, prefix)
        before = inside
    lexical = read(before, data, begin, start, offset, language)
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


def _with_tree(
    document: SyntaxDocument, language: Language, lexical: Reading, start: int, offset: int, prefix: str
) -> CompletionSite:
    data = document.text.data
    inserted = (b"" if prefix else PLACEHOLDER) + lexical.ending
    tree = document.tree_with(offset, inserted) if inserted else document.tree
    visible: dict[str, VisibleName] = {}
    imports: dict[str, str] = {}
    receiver_type = lexical.module
    receiver_origin = callee_origin = ""
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
        origins = Origins(types)
        scope = innermost(root, start)
        if scope.kind == "class" and lexical.leads and language.lexis.braces:
            # What reads like a call is the head of a method, or of a constructor that has its class's name.
            bare = language.lexis.bare_methods or lexical.callee == scope.name
            lexical = replace(lexical, callee="", argument=None) if bare else lexical
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
            receiver_origin = origins.of(lexical.receiver, start)
            own = frozenset(binding.name for _, binding, _ in types.members(receiver_type))
        for outer in reversed(list(scope.chain())):
            owner = types.annotation(outer.local.owner) if outer.local.owner else ""
            if outer.kind in ("class", "function") and (outer.name or owner):
                enclosing += [name for name in (owner, outer.name) if name]
                first, last = outer.signature
                signatures.append(" ".join(whole[first:last].decode("utf-8", "replace").split()))
        expected = _expected(types, lexical, start, language)
        callee_origin = origins.of(lexical.callee, start)
    return CompletionSite(
        language=language.id,
        kind=lexical.kind,
        start=start,
        offset=offset,
        prefix=prefix,
        receiver=lexical.receiver,
        receiver_is_self=lexical.receiver in language.lexis.self_names,
        receiver_type=receiver_type,
        receiver_origin=receiver_origin,
        own_members=own,
        visible=visible,
        imports=imports,
        enclosing=tuple(enclosing),
        enclosing_signatures=tuple(signatures),
        callee=lexical.callee,
        callee_origin=callee_origin,
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


def _expected(types: Types, lexical: Reading, start: int, language: Language) -> str:
    """The class that the expression at the cursor should have."""
    if lexical.callee:
        function = types.function(lexical.callee, start)
        parameters = types.parameters(function) if function is not None else []
        if isinstance(lexical.argument, int) and lexical.argument < len(parameters):
            return types.annotation(parameters[lexical.argument].type)
        marks = language.lexis.identifier_marks  # the name of an argument has none
        return next((types.annotation(p.type) for p in parameters if p.name.lstrip(marks) == lexical.argument), "")
    if "type" in lexical.expected:
        return types.annotation(lexical.expected["type"])
    if "returned" in lexical.expected:
        scope = next((s for s in innermost(types.root, start).chain() if s.kind == "function"), None)
        return types.annotation(scope.local.type, language.types.awaited) if scope is not None else ""
    if "target" in lexical.expected:
        return types.of(lexical.expected["target"], start)
    return ""
