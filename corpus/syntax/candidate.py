"""A wrapped server's raw completion list, as far as ranking looks at it. The same code live and offline.

Never changes an item: it reads the reply's bytes and returns what it saw, in the reply's order.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import msgspec

# An item's own name: the first run of identifier characters ("$" counts in several languages).
IDENTIFIER = re.compile(r"[^\W\d][\w$]*|[$][\w$]*|\w+")
FURTHER = re.compile(r"(?:\.|::|->|\\)[^\W\d]")  # what makes an identifier the first of several
DEPRECATED = 1  # CompletionItemTag.Deprecated, LSP 3.17


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One completion item. `place` is its 0-based place in the wrapped server's own order."""

    label: str
    name: str  # the identifier that it would put at the cursor, "" where it has none
    kind: int  # CompletionItemKind, 0 when unknown
    place: int
    detail: str
    deprecated: bool
    edits_elsewhere: bool  # an auto-import, as a rule


class _LabelDetails(msgspec.Struct):
    detail: str | None = None
    description: str | None = None


class _Item(msgspec.Struct):
    label: str
    kind: int | None = None
    sortText: str | None = None
    filterText: str | None = None
    detail: str | None = None
    labelDetails: _LabelDetails | None = None
    tags: list[int] | None = None
    deprecated: bool | None = None
    additionalTextEdits: msgspec.Raw = msgspec.Raw(b"null")


class _List(msgspec.Struct):
    items: list[_Item]


_array = msgspec.json.Decoder(list[_Item])
_list = msgspec.json.Decoder(_List)


def candidates(result: bytes) -> list[Candidate]:
    """The candidates of a `textDocument/completion` result (array, list or null); [] where it is none of these."""
    items = _decoded(result)
    keys = [_sort_key(item) for item in items]
    places = [0] * len(items)
    for place, index in enumerate(sorted(range(len(items)), key=keys.__getitem__)):  # equal keys stay in their order
        places[index] = place
    return [_candidate(item, place) for item, place in zip(items, places, strict=True)]


def _decoded(result: bytes) -> list[_Item]:
    start = result.lstrip()[:1]
    try:
        if start == b"[":
            return _array.decode(result)
        return _list.decode(result).items if start == b"{" else []
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _tolerant(result)


def _tolerant(result: bytes) -> list[_Item]:
    """For lists with lone surrogates or values of a wrong type: slower, and a bad field costs only itself."""
    try:
        value: Any = json.loads(result)
    except ValueError:
        return []
    items: Any = value.get("items") if isinstance(value, dict) else value
    if not isinstance(items, list):
        return []
    found: list[_Item] = []
    for item in items:
        if not isinstance(item, dict):
            found.append(_Item(label=""))
            continue
        text = {key: item[key] for key in ("sortText", "filterText", "detail") if isinstance(item.get(key), str)}
        kind = item.get("kind")
        found.append(
            _Item(
                label=str(item.get("label", "")),
                kind=kind if isinstance(kind, int) else None,
                deprecated=item.get("deprecated") is True,
                **text,
            )
        )
    return found


def _sort_key(item: _Item) -> str:
    return item.sortText if item.sortText is not None else item.label


def _candidate(item: _Item, place: int) -> Candidate:
    details = item.labelDetails
    described = (details.detail or details.description or "") if details is not None else ""
    edits = item.additionalTextEdits
    return Candidate(
        label=item.label,
        name=name_of(item.label) or name_of(item.filterText or ""),
        kind=item.kind or 0,
        place=place,
        detail=item.detail or described,
        deprecated=bool(item.deprecated) or DEPRECATED in (item.tags or ()),
        edits_elsewhere=bytes(edits) not in (b"[]", b"null"),
    )


def matches(name: str, prefix: str) -> bool:
    """Whether the letters of `prefix` occur in order in `name`, as editors filter; give both case-folded."""
    if name.startswith(prefix):
        return True
    letters = iter(name)
    return all(letter in letters for letter in prefix)


@lru_cache(maxsize=50_000)  # the same members come in list after list
def name_of(label: str) -> str:
    """The identifier that a label starts with, past any punctuation.

    "" for a path of several (`lid.open`, an item two steps away), which is not as likely as its first; and for a
    destructor, which is not as likely as its class.
    """
    found = IDENTIFIER.search(label)
    if found is None or FURTHER.match(label, found.end()) or label[: found.start()].endswith("~"):
        return ""
    return found.group()
