"""Marks on results that come back in a later request (codeLens/resolve and its like): which server they are of.

A mark is put around an item's own `data` and taken off again; nothing else of an item is touched.
"""

from __future__ import annotations

import msgspec

from lsp_server.jsonrpc import wire

KEY = "starling"
Item = dict[str, msgspec.Raw]

_list = msgspec.json.Decoder(list[msgspec.Raw])


def marked(result: msgspec.Raw, server: str) -> msgspec.Raw:
    """An array of objects with the server's mark in each; anything else as it is."""
    if bytes(memoryview(result)[:1]) != b"[":
        return result
    return wire.raw([marked_one(item, server) for item in _list.decode(result)])


def marked_one(item: msgspec.Raw, server: str) -> msgspec.Raw:
    """An object with the server's mark in its `data`; anything else as it is."""
    if bytes(memoryview(item)[:1]) != b"{":
        return item
    members = wire.fields(item)
    data = members.get("data")
    mark = {KEY: server} if data is None else {KEY: server, "data": data}
    return wire.raw({**members, "data": mark})


def unmarked(params: msgspec.Raw) -> tuple[str | None, msgspec.Raw]:
    """The server that an item is of (None where it carries no mark), and the item as that server made it."""
    if bytes(memoryview(params)[:1]) != b"{":
        return None, params
    members = wire.fields(params)
    data = members.get("data")
    if data is None or bytes(memoryview(data)[:1]) != b"{":
        return None, params
    mark = wire.fields(data)
    server = wire.loads(mark[KEY]) if KEY in mark else None
    if not isinstance(server, str) or not set(mark) <= {KEY, "data"}:
        return None, params
    original = {name: value for name, value in members.items() if name != "data"}
    if "data" in mark:
        original["data"] = mark["data"]
    return server, wire.raw(original)
