"""Raw completion items: parse a list, write a ranking on it, and find the original of an item.

Items stay undecoded except for the few members that ranking writes. What an item inserts never changes: if it would insert its
label (it has no textEdit and no insertText), the old label is written to `insertText` before the label changes.
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
COPIED_DEFAULTS = ("commitCharacters", "insertTextFormat", "insertTextMode", "data")
MERGE = b"2"  # ApplyKind.Merge (LSP 3.18, "CompletionList"): the item's value is merged with the default

_items = msgspec.json.Decoder(list[Item])


@dataclass(frozen=True, kw_only=True)
class ItemList:
    """A completion list as a wrapped server sent it.

    `servers`: the key of the wrapped server of each item, or a single key for all items.
    `envelope`: the other members of the CompletionList; None if the result was a plain array.
    `defaults`: the list's `itemDefaults`, without null values.
    """

    servers: tuple[str, ...] = ("",)
    items: list[Item]
    envelope: Item | None
    defaults: Item
    apply_kinds: Item = field(default_factory=Item)  # `applyKind`: how an item's value and the default are combined
    ranking: dict[str, Ranking] = field(default_factory=dict)  # the ranking under the key "", kept for resolve

    @classmethod
    def parse(cls, result: msgspec.Raw | None, *, server: str = "") -> ItemList | None:
        """Parse a result. Returns None if there is nothing to rank: no result, null, an empty list, or not a list."""
        if result is None:
            return None
        start = bytes(memoryview(result)[:64]).lstrip()[:1]
        try:
            if start == b"[":
                items, envelope, defaults, apply_kinds = _items.decode(result), None, {}, {}
            elif start == b"{":
                envelope = wire.fields(result)
                items = _items.decode(envelope.pop("items", msgspec.Raw(b"[]")))
                defaults, apply_kinds = (_object(envelope, name) for name in ("itemDefaults", "applyKind"))
            else:
                return None
        except (wire.WireError, msgspec.DecodeError, RecursionError):
            return None
        if not items:
            return None
        return cls(servers=(server,), items=items, envelope=envelope, defaults=defaults, apply_kinds=apply_kinds)

    def data_of(self, item: Item) -> msgspec.Raw | None:
        """The `data` that a client would send back with an item: its own, the list's default, or both merged."""
        own, default = item.get("data"), self.defaults.get("data")
        if own is None or default is None or bytes(self.apply_kinds.get("data", b"")) != MERGE:
            return default if own is None else own
        objects = all(bytes(memoryview(each)[:1]) == b"{" for each in (own, default))
        return wire.raw({**wire.fields(default), **wire.fields(own)}) if objects else own

    def server_of(self, index: int) -> str:
        """The key of the wrapped server that sent the item at `index`."""
        return self.servers[index if len(self.servers) > 1 else 0]

    def result(self) -> msgspec.Raw:
        """Encode the list as a result."""
        return wire.raw(self.items if self.envelope is None else {**self.envelope, "items": self.items})


def joined(lists: Sequence[ItemList], *, incomplete: bool = False) -> ItemList:
    """Join the lists of several servers. Each list's defaults are copied into its items, because they hold for those only.

    An item that inserts what a preferred server's item of the same label does is listed once, as that server has it.
    `incomplete`: some server has not answered yet, so the editor must ask again. A malformed list is skipped.
    """
    items: list[Item] = []
    servers: list[str] = []
    listed: dict[str, list[Item]] = {}  # by label, those of the servers before
    for each in lists:
        try:
            own = [with_defaults(item, each) for item in each.items]
            new = [(at, item) for at, item in enumerate(own) if not _is_listed(item, listed)]
        except wire.WireError as error:
            log.warning("skipped a malformed list of %s: %s", each.server_of(0), error)
            continue
        items += [item for _, item in new]
        servers += [each.server_of(at) for at, _ in new]
        for _, item in new:
            listed.setdefault(_label_text(item), []).append(item)
    incomplete = incomplete or any(bytes((each.envelope or {}).get("isIncomplete", b"")) == b"true" for each in lists)
    return ItemList(servers=tuple(servers), items=items, envelope={"isIncomplete": wire.raw(incomplete)}, defaults={})


def _is_listed(item: Item, listed: dict[str, list[Item]]) -> bool:
    """Whether an equal item is listed: of one label, which inserts the same. Raises WireError if an item is malformed."""
    others = listed.get(_label_text(item))
    return others is not None and any(_effect(item) == _effect(other) for other in others)


def _label_text(item: Item) -> str:
    """The decoded label, because servers escape characters differently. Raises WireError."""
    return str(wire.loads(item.get("label", NULL)))


def _effect(item: Item) -> tuple[object, ...]:
    """What accepting an item does to the text, and where its name is from if it says so (the module of an import)."""
    inserted = item.get("label") if _absent(item, "insertText") else item["insertText"]
    if not _absent(item, "textEdit"):
        inserted = wire.fields(item["textEdit"]).get("newText")
    described = None if _absent(item, "labelDetails") else wire.fields(item["labelDetails"]).get("description")
    more = None if _absent(item, "additionalTextEdits") else wire.loads(item["additionalTextEdits"])
    return (
        None if inserted is None else wire.loads(inserted),
        None if described is None else wire.loads(described),
        more,
    )


def with_defaults(item: Item, items: ItemList) -> Item:
    """An item with its list's `itemDefaults` copied in (LSP 3.17, "CompletionList"). Raises WireError if it is malformed."""
    defaults = items.defaults
    full = {**{name: value for name, value in defaults.items() if name in COPIED_DEFAULTS}, **item}
    data = items.data_of(item)
    if data is not None:
        full["data"] = data
    name = "commitCharacters"
    if not _absent(item, name) and name in defaults and bytes(items.apply_kinds.get(name, b"")) == MERGE:
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
    """How starred items are marked in this editor."""

    star: str = "★ "
    place: str = "label"  # or "detail", for editors that filter by the label that they show
    ratings: bool = True  # whether the editor shows `labelDetails`
    rate_all: bool = False  # every item shows its rating, with a star or without


def ranked(items: ItemList, ranking: Ranking | None, *, number: int, marks: Marks) -> Any:
    """The result to send to the editor: the same items in the same places, each with a new sortText and its origin in `data`.

    Without a ranking, only the origin is written. `number` is the list's number in RecentLists. Raises WireError.
    """
    out: list[Item] = [dict(item) for item in items.items]
    keys = {server: b"," + wire.dumps(server) if server else b"" for server in set(items.servers)}
    start = b'{"%b":[%d,' % (KEY.encode(), number)
    for index, item in enumerate(out):
        data = items.data_of(item)
        own = b"%b%d%b]" % (start, index, keys[items.server_of(index)])
        item["data"] = msgspec.Raw(own + b"}" if data is None else b'%b,"data":%b}' % (own, data))
    if ranking is not None:
        items.ranking[""] = ranking
        _write_ranking(out, items.defaults, ranking, marks)
    # The model is not done yet: the editor should ask again at the next key, when it is.
    cut = ranking is not None and not ranking.complete
    if items.envelope is None:
        return {"isIncomplete": True, "items": out} if cut else out
    envelope = {**items.envelope, "items": out}
    if cut:
        envelope["isIncomplete"] = wire.raw(True)
    if not _absent(items.envelope, "itemDefaults"):
        defaults = wire.fields(items.envelope["itemDefaults"])
        if "data" in defaults:  # the items have it now; a client with ApplyKind.Merge would merge it into our `data`
            del defaults["data"]
            envelope["itemDefaults"] = wire.raw(defaults)
    return envelope


def _write_ranking(out: list[Item], defaults: Item, ranking: Ranking, marks: Marks) -> None:
    """Write sortText and stars on the items, and move `preselect` to the first one."""
    preselects = [item for item in out if item.get("preselect") is not None and bytes(item["preselect"]) == b"true"]
    for item in preselects:
        del item["preselect"]
    for rank, index in enumerate(ranking.order):
        item = out[index]
        item["sortText"] = msgspec.Raw(b'"%05d"' % rank)
        if ranking.stars[index]:
            star(item, defaults, ranking.stars[index], marks)
        elif marks.rate_all and marks.ratings and ranking.ratings:
            rate(item, ranking.ratings[index])
    # VS Code puts an item that equals the typed word first. With a space at its end, the item only starts with that word.
    for index in ranking.unequal:
        item = out[index]
        word = _label(item) if _absent(item, "filterText") else item["filterText"]
        item["filterText"] = wire.raw(_text(word).lstrip(" ") + " ")
    if preselects:
        out[ranking.order[0]]["preselect"] = msgspec.Raw(b"true")


def star(item: Item, defaults: Item, stars: int, marks: Marks) -> None:
    """Mark an item with its stars. If the label changes, the old one is written to filterText and insertText first."""
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
        rate(item, stars)


def rate(item: Item, stars: int) -> None:
    """Write an item's rating before what `labelDetails` says of it."""
    given = item.get("labelDetails")
    details: Item = {} if given is None or bytes(given) == NULL else wire.fields(given)
    described = details.get("description")
    description = wire.loads(described) if described is not None else None
    mark = rating(stars)
    details["description"] = wire.raw(f"{mark} {description}" if description else mark)
    item["labelDetails"] = wire.raw(details)


def rating(stars: int) -> str:
    """A rating of 0 to 5 stars as text, such as ★★★☆☆."""
    return "★" * stars + "☆" * (5 - stars)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an item came from: the key of its server, the number of its list, its index there, and its own `data` if any."""

    server: str
    number: int
    index: int
    data: msgspec.Raw | None


class _EncodedOrigin(msgspec.Struct, array_like=True):
    """What `ranked` writes into an item's `data` under KEY."""

    number: int
    index: int
    server: str = ""


def origin(item: Item) -> Origin | None:
    """Read the origin that `ranked` wrote into an item's `data`. Returns None if there is none."""
    data = item.get("data")
    if data is None or bytes(memoryview(data)[:1]) != b"{":
        return None
    members = wire.fields(data)
    if KEY not in members or not set(members) <= {KEY, "data"}:
        return None
    try:
        encoded = wire.read(members[KEY], _EncodedOrigin)
    except wire.Malformed:
        return None
    if encoded.index < 0:
        return None
    return Origin(server=encoded.server, number=encoded.number, index=encoded.index, data=members.get("data"))


def without_marks(item: Item, found: Origin, star_text: str) -> Item:
    """Rebuild an item's original from the item itself, because its list is not kept any more."""
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
    """The members of the object `members[name]` that are not null."""
    if _absent(members, name):
        return {}
    return {each: value for each, value in wire.fields(members[name]).items() if bytes(value) != NULL}


def _absent(item: Item, name: str) -> bool:
    return name not in item or bytes(item[name]) == NULL
