"""Places of a file at which its author could have been offered a list: a sample of its identifiers, with their kind.

Reads the whole file's tree, so it is quick; what is known of such a cursor while the rest is not yet written is
`corpus.syntax.site`'s matter, which examples are made with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from corpus.syntax.expressions import opens_root, spaces
from corpus.syntax.language import Language
from corpus.syntax.tokens import Bools, Names

if TYPE_CHECKING:
    import tree_sitter

KINDS = ("member", "name", "import", "keyword", "decorator")
PER_FILE = 8
TRIES = 2  # identifiers looked at for each that is wanted: many are declared where they stand, or text
ANCESTORS = 4  # nodes upwards in which an import or a decorator is looked for
# What grammars call the nodes that hold an identifier: tree-sitter's own conventions, not one language's. A language
# whose grammar has other names lists them under `nodes` in its language.toml.
DECORATORS = ("decorator", "annotation", "marker_annotation", "attribute_item")
USES = ("call", "invocation", "expression", "access", "import", "annotation", "element", "scoped", "qualified")
GOLDEN = (5**0.5 - 1) / 2
PATHS = ("qualified", "scoped", "namespace_name")  # nodes that join the parts of a name


@dataclass(frozen=True, kw_only=True)
class Site:
    """An identifier that its author wrote. Offsets are bytes."""

    start: int
    end: int
    kind: str  # one of KINDS


def sites(
    data: bytes, names: Names, tree: tree_sitter.Tree, language: Language, seed: int, limit: int = PER_FILE
) -> list[Site]:
    """At most `limit` of the file's `names`, by their offsets, half of them members where there are as many.

    The same for the same seed.
    """
    if not len(names.first) or not limit:
        return []
    member = _ends_operator(language)[names.before]
    root = tree.root_node
    found: list[Site] = []
    for places, wanted in ((np.flatnonzero(member), limit // 2), (np.flatnonzero(~member), limit)):
        tried = places[_spread(len(places), TRIES * limit, seed)]
        for start, end in zip(names.first[tried].tolist(), names.last[tried].tolist(), strict=True):
            if len(found) >= wanted:
                break
            kind = _kind(data, root, language, start, end)
            if kind:
                found.append(Site(start=start, end=end, kind=kind))
    return sorted(found, key=lambda site: site.start)


def _spread(n: int, count: int, seed: int) -> list[int]:
    """`count` different numbers below n (all, where there are fewer), far apart: multiples of the golden section from a start."""
    if n <= count:
        return list(range(n))
    step = round(n * GOLDEN)
    while math.gcd(step, n) != 1:
        step += 1
    start = seed % n
    return [(start + step * i) % n for i in range(count)]


def _kind(data: bytes, root: tree_sitter.Node, language: Language, start: int, end: int) -> str:
    """What an identifier is, or '' where no list would be asked for: text, a keyword, a name's own declaration.

    Most of its time are questions to tree-sitter, so those that leave out the most come first.
    """
    node = root.descendant_for_byte_range(start, end)
    if node is None or node.end_byte != end or node.start_byte != start or not _is_identifier(node.type, language):
        return ""
    above = node.parent
    if above is not None:
        if "argument" in above.type and _is_assigned(data[end : end + 80].lstrip(spaces(language)), language):
            return "keyword" if language.lexis.argument_assignment else ""
        if _declares(above, language.nodes.declarations):
            return ""
        if not _uses(above.type, language) and above.child_by_field_name("name") == node:
            return ""
    ancestor = above
    for _ in range(ANCESTORS):
        if ancestor is None:
            break
        kind = _kind_below(ancestor.type, language)
        if kind:
            return kind
        ancestor = ancestor.parent
    before = data[max(0, start - 80) : start].rstrip(spaces(language))
    member = before.endswith(_operators(language)) and not opens_root(before, len(before), language)
    return "member" if member else "name"


def _is_assigned(follows: bytes, language: Language) -> bool:
    mark = language.lexis.argument_assignment.encode() or b"="
    return follows.startswith(mark) and not follows.startswith(mark * 2)


def _declares(node: tree_sitter.Node | None, types: frozenset[str]) -> bool:
    """Whether a node of one of these types declares the name in `node`, or the dotted name that this is a part of."""
    while node is not None and types:
        if node.type in types:
            return True
        node = node.parent if any(word in node.type for word in PATHS) else None
    return False


@cache
def _is_identifier(type: str, language: Language) -> bool:
    known = language.nodes.identifiers
    return type in known if known else type.endswith("identifier")


@cache
def _uses(type: str, language: Language) -> bool:
    """Whether a node with a field `name` uses the name that stands there, rather than declare it."""
    return type in language.nodes.decorators or any(word in type for word in USES)


@cache
def _kind_below(type: str, language: Language) -> str:
    """The kind of all identifiers in a node of this type, or ''."""
    if "import" in type or type in language.nodes.imports:
        return "import"
    return "decorator" if type in DECORATORS or type in language.nodes.decorators else ""


@cache
def _operators(language: Language) -> tuple[bytes, ...]:
    return tuple(operator.encode() for operator in language.member_operators)


@cache
def _ends_operator(language: Language) -> Bools:
    """bool [256]: whether a byte is the last of a member operator."""
    table = np.zeros(256, np.bool_)
    for operator in _operators(language):
        table[operator[-1]] = True
    return table
