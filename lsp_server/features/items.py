"""Raw completion items: reading a list, laying a ranking over it, finding an item's original again.

Items stay undecoded but for the few members that ranking writes. What an item inserts is never changed: where a
new label would change it (no textEdit, no insertText), the old one is written down first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.ranking.ranker_client import Ranking

log = logging.getLogger(__name__)

Item = dict[str, msgspec.Raw]

KEY = "starling"
NULL = b"null"
WRITTEN_OUT = ("commitCharacters", "insertTextFormat", "insertTextMode", "data")
MERGE = b"2"  # ApplyKind.Merge (LSP 3.18, "CompletionList"): an item's own goes over the list's, member by member

_items = msgspec.json.Decoder(list[Item])


@dataclass(frozen=True, kw_only=True)
class ItemList:
    """A completion list as it came. `envelope` holds the list's other members; None for a plain array.

    `servers`: the key of the wrapped server that each item is of, or one for all.
    """

    servers: tuple[str, ...] = ("",)
    items: list[Item]
    envelope: Item | None
    defaults: Item
    kinds: Item = field(default_factory=Item)  # applyKind: how defaults and what an item has become one
    ranking: dict[str, Ranking] = field(default_factory=dict)  # "" -> the ranking laid over it, for resolve

    @classmethod
    def parse(cls, result: msgspec.Raw | None, *, server: str = "") -> ItemList | None:
        """None where there is nothing to rank: no result, null, an empty list, or something that is no list."""
        if result is None:
            return None
        start = bytes(memoryview(result)[:64]).lstrip()[:1]
        try:
            if start == b"[":
                items, envelope, defaults, kinds = _items.decode(result), None, {}, {}
            elif start == b"{":
                envelope = wire.fields(result)
                items = _items.decode(envelope.pop("items", msgspec.Raw(b"[]")))
                defaults, kinds = (_object(envelope, name) for name in ("itemDefaults", "applyKind"))
            else:
                return None
        except (wire.WireError, msgspec.DecodeError, RecursionError):
            return None
        if not items:
            return None
        return cls(servers=(server,), items=items, envelope=envelope, defaults=defaults, kinds=kinds)

    def data_of(self, item: Item) -> msgspec.Raw | None:
        """What a client would send back of an item: its own `data`, its list's, or both as one."""
        own, default = item.get("data"), self.defaults.get("data")
        if own is None or default is None or bytes(self.kinds.get("data", b"")) != MERGE:
            return default if own is None else own
        objects = all(bytes(memoryview(each)[:1]) == b"{" for each in (own, default))
        return wire.raw({**wire.fields(default), **wire.fields(own)}) if objects else own

    def server_of(self, index: int) -> str:
        return self.servers[index if len(self.servers) > 1 else 0]

    def result(self) -> msgspec.Raw:
        """The list as one raw result."""
        return wire.raw(self.items if self.envelope is None else {**self.envelope, "items": self.items})


def joined(lists: Sequence[ItemList], *, incomplete: bool = False) -> ItemList:
    """Several servers' lists as one. Each list's defaults go into its own items: they are not the others'.

    incomplete: some server's items are missing, so that the editor is to ask again. A malformed list is left out.
    """
    items: list[Item] = []
    servers: list[str] = []
    for each in lists:
        try:
            items += [with_defaults(item, each) for item in each.items]
        except wire.WireError as error:
            log.warning("a list of %s is malformed and left out: %s", each.server_of(0), error)
        else:
            servers += [each.server_of(index) for index in range(len(each.items))]
    incomplete = incomplete or any(bytes((each.envelope or {}).get("isIncomplete", b"")) == b"true" for each in lists)
    return ItemList(servers=tuple(servers), items=items, envelope={"isIncomplete": wire.raw(incomplete)}, defaults={})


def with_defaults(item: Item, of: ItemList) -> Item:
    """An item with its list's `itemDefaults` written out (LSP 3.17, "CompletionList"). Raises WireError for a malformed one."""
    defaults = of.defaults
    full = {**{name: value for name, value in defaults.items() if name in WRITTEN_OUT}, **item}
    data = of.data_of(item)
    if data is not None:
        full["data"] = data
    name = "commitCharacters"
    if not _absent(item, name) and name in defaults and bytes(of.kinds.get(name, b"")) == MERGE:
        full[name] = wire.raw(list(dict.fromkeys([*_texts(defaults[name]), *_texts(item[name])])))
    if "editRange" in defaults and _absent(item, "textEdit"):
        span = defaults["editRange"]
        given = wire.fields(span)
        edit: Item = dict(given) if "insert" in given else {"range": span}
        edit["newText"] = _label(item) if _absent(item, "textEditText") else item["textEditText"]
        full["textEdit"] = wire.raw(edit)
    return full


@dataclass(frozen=True, kw_only=True)
class Marks:
    """How an editor's items are marked."""

    star: str = "★ "
    place: str = "label"  # or "detail": some editors filter by what a label shows
    ratings: bool = True  # the editor shows label details


def ranked(items: ItemList, ranking: Ranking | None, *, number: int, marks: Marks) -> Any:
    """The result to send: the same items in the same places, each with a new sortText and a way back in `data`.

    Without a ranking, with the way back alone.
    """
    out: list[Item] = [dict(item) for item in items.items]
    keys = {server: b"," + wire.dumps(server) if server else b"" for server in set(items.servers)}
    start = b'{"%b":[%d,' % (KEY.encode(), number)
    for index, item in enumerate(out):
        data = items.data_of(item)
        way_back = b"%b%d%b]" % (start, index, keys[items.server_of(index)])
        item["data"] = msgspec.Raw(way_back + b"}" if data is None else b'%b,"data":%b}' % (way_back, data))
    if ranking is not None:
        items.ranking[""] = ranking
        _lay_over(out, items.defaults, ranking, marks)
    if items.envelope is None:
        return out
    envelope = {**items.envelope, "items": out}
    if not _absent(items.envelope, "itemDefaults"):
        defaults = wire.fields(items.envelope["itemDefaults"])
        if "data" in defaults:  # it is in the items now, and a client that merges would put it around our way back
            del defaults["data"]
            envelope["itemDefaults"] = wire.raw(defaults)
    return envelope


def _lay_over(out: list[Item], defaults: Item, ranking: Ranking, marks: Marks) -> None:
    """Write a ranking's order and stars on the items."""
    preselects = [item for item in out if item.get("preselect") is not None and bytes(item["preselect"]) == b"true"]
    for item in preselects:
        del item["preselect"]
    for rank, index in enumerate(ranking.order):
        item = out[index]
        item["sortText"] = msgspec.Raw(b'"%05d"' % rank)
        if ranking.stars[index]:
            star(item, defaults, ranking.stars[index], marks)
    # VS Code puts what equals the typed word before all else; with a space behind, it only begins with it.
    for index in ranking.unequal:
        item = out[index]
        word = _label(item) if _absent(item, "filterText") else item["filterText"]
        item["filterText"] = wire.raw(_text(word).lstrip(" ") + " ")
    if preselects:
        out[ranking.order[0]]["preselect"] = msgspec.Raw(b"true")


def star(item: Item, defaults: Item, stars: int, marks: Marks) -> None:
    """Mark an item. Where its label changes, what filtered and inserted by the label is written down first."""
    if marks.place == "detail":
        given = "" if _absent(item, "detail") else _text(item["detail"])
        item["detail"] = wire.raw((marks.star + given).strip())
        return
    label = _label(item)
    item.setdefault("filterText", label)
    if _absent(item, "textEdit"):
        has_range = "editRange" in defaults
        if has_range and _absent(item, "textEditText"):  # LSP 3.17: with editRange, textEditText ?? label is inserted
            item["textEditText"] = label
        if _absent(item, "insertText"):
            item["insertText"] = label
    if _absent(item, "filterText"):
        item["filterText"] = label
    item["label"] = wire.raw(marks.star + _text(label).lstrip(" "))  # some servers indent their labels
    if marks.ratings:
        given = item.get("labelDetails")
        details: Item = {} if given is None or bytes(given) == NULL else wire.fields(given)
        described = details.get("description")
        description = wire.loads(described) if described is not None else None
        mark = rating(stars)
        details["description"] = wire.raw(f"{mark} {description}" if description else mark)
        item["labelDetails"] = wire.raw(details)


def rating(stars: int) -> str:
    return "★" * stars + "☆" * (5 - stars)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a ranked item came from: list number, index, wrapped server, and its own `data` (None where it had none)."""

    server: str
    number: int
    index: int
    data: msgspec.Raw | None


class _WayBack(msgspec.Struct, array_like=True):
    """What `ranked` writes into an item's `data`."""

    number: int
    index: int
    server: str = ""


def origin(item: Item) -> Origin | None:
    """The way back that `ranked` wrote into an item's `data`; None for an item that we never touched."""
    data = item.get("data")
    if data is None or bytes(memoryview(data)[:1]) != b"{":
        return None
    members = wire.fields(data)
    if KEY not in members or not set(members) <= {KEY, "data"}:
        return None
    try:
        way_back = wire.read(members[KEY], _WayBack)
    except wire.Malformed:
        return None
    if way_back.index < 0:
        return None
    return Origin(server=way_back.server, number=way_back.number, index=way_back.index, data=members.get("data"))


def without_marks(item: Item, found: Origin, star_text: str) -> Item:
    """An item's original, rebuilt from the item itself, for a list that is no longer kept."""
    original = {**item}
    del original["data"]
    if found.data is not None:
        original["data"] = found.data
    label = wire.loads(item["label"]) if "label" in item else None
    if isinstance(label, str) and star_text and label.startswith(star_text):
        original["label"] = wire.raw(label.removeprefix(star_text))
    detail = wire.loads(item["detail"]) if not _absent(item, "detail") else ""
    if isinstance(detail, str) and star_text and (detail + " ").startswith(star_text):
        own = detail.removeprefix(star_text.strip()).lstrip(" ")
        original["detail"] = wire.raw(own)
        if not own:
            del original["detail"]
    return original


def _label(item: Item) -> msgspec.Raw:
    if "label" not in item:
        raise wire.Malformed("an item without a label")
    return item["label"]


def _text(raw: msgspec.Raw) -> str:
    return wire.read(raw, str)


def _texts(raw: msgspec.Raw) -> list[str]:
    return wire.read(raw, list[str])


def _object(members: Item, name: str) -> Item:
    """A member that is an object, without what is null in it."""
    if _absent(members, name):
        return {}
    return {each: value for each, value in wire.fields(members[name]).items() if bytes(value) != NULL}


def _absent(item: Item, name: str) -> bool:
    return name not in item or bytes(item[name]) == NULL
