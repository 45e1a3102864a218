"""Places of a file at which its author could have been offered a list: a sample of its identifiers, with their kind.

Reads the whole file's tree, so it is quick; what is known of such a cursor while the rest is not yet written is
`corpus.syntax.site`'s matter, which examples are made with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from corpus.syntax.language import Language
from corpus.syntax.tokens import I64

if TYPE_CHECKING:
    import tree_sitter

KINDS = ("member", "name", "import", "keyword", "decorator")
PER_FILE = 8
TRIES = 2  # identifiers looked at for each that is wanted: many are declared where they stand, or text
ANCESTORS = 4  # nodes upwards in which an import or a decorator is looked for
# What grammars call the nodes that hold an identifier: tree-sitter's own conventions, not one language's.
DECORATORS = ("decorator", "annotation", "marker_annotation", "attribute_item")
USES = ("call", "invocation", "expression", "access", "import", "annotation", "element", "scoped", "qualified")
GOLDEN = (5**0.5 - 1) / 2
SPACE = b" \t\r\n\\"


Spans = tuple[I64, I64]  # where each starts and ends, byte offsets [n]


@dataclass(frozen=True, kw_only=True)
class Site:
    """An identifier that its author wrote. Offsets are bytes."""

    start: int
    end: int
    kind: str  # one of KINDS


def sites(
    data: bytes, names: Spans, tree: tree_sitter.Tree, language: Language, seed: int, limit: int = PER_FILE
) -> list[Site]:
    """At most `limit` of the file's `names`, by their offsets, half of them members where there are as many.

    The same for the same seed.
    """
    first, last = names
    if not len(first) or not limit:
        return []
    before = np.frombuffer(data, np.uint8)[np.maximum(first - 1, 0)]
    member = np.zeros(len(first), np.bool_)
    for operator in language.member_operators:
        member |= before == operator.encode()[-1]
    found: list[Site] = []
    for places, wanted in ((np.flatnonzero(member), limit // 2), (np.flatnonzero(~member), limit)):
        for chosen in _spread(len(places), TRIES * limit, seed):
            if len(found) >= wanted:
                break
            start, end = int(first[places[chosen]]), int(last[places[chosen]])
            kind = _kind(data, tree, language, start, end)
            if kind:
                found.append(Site(start=start, end=end, kind=kind))
    return sorted(found, key=lambda site: site.start)


def _spread(n: int, count: int, seed: int) -> Iterator[int]:
    """`count` different numbers below n (all, where there are fewer), far apart: multiples of the golden section from a start."""
    if n <= count:
        yield from range(n)
        return
    step = round(n * GOLDEN)
    while math.gcd(step, n) != 1:
        step += 1
    for number in range(count):
        yield (seed + number * step) % n


def _kind(data: bytes, tree: tree_sitter.Tree, language: Language, start: int, end: int) -> str:
    """What an identifier is, or '' where no list would be asked for: text, a keyword, a name's own declaration."""
    node = tree.root_node.descendant_for_byte_range(start, end)
    if node is None or node.start_byte != start or node.end_byte != end or not node.type.endswith("identifier"):
        return ""
    above = node.parent
    follows = data[end : end + 80].lstrip(SPACE)[:2]
    if above is not None and "argument" in above.type and follows[:1] == b"=" and follows != b"==":
        return "keyword" if language.lexis.argument_assignment else ""
    if above is not None and above.child_by_field_name("name") == node and not _uses(above.type):
        return ""
    ancestor = above
    for _ in range(ANCESTORS):
        if ancestor is None:
            break
        if "import" in ancestor.type:
            return "import"
        if ancestor.type in DECORATORS:
            return "decorator"
        ancestor = ancestor.parent
    before = data[max(0, start - 80) : start].rstrip(SPACE)
    return "member" if before.endswith(tuple(operator.encode() for operator in language.member_operators)) else "name"


def _uses(type: str) -> bool:
    """Whether a node with a field `name` uses the name that stands there, rather than declare it."""
    return any(word in type for word in USES)
