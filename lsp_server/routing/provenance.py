"""Marks on results that come back in a later request (codeLens/resolve and its like): which server made them.

A mark is put around an item's own `data` and taken off again; nothing else of an item is changed.
"""

from __future__ import annotations

import msgspec

from lsp_server.jsonrpc import wire

KEY = "starling"


def marked(result: msgspec.Raw, server: str, member: str = "") -> msgspec.Raw:
    """A result with the server's mark in each item: an object, or the elements of an array; anything else as it is.

    member: the member of each element that is the item; "" for the element itself.
    """
    start = _start(result)
    if start == b"[":
        return wire.raw([_marked(item, server, member) for item in wire.read(result, list[msgspec.Raw])])
    return _marked(result, server, member) if start == b"{" else result


def _marked(element: msgspec.Raw, server: str, member: str) -> msgspec.Raw:
    if _start(element) != b"{":
        return element
    members = wire.fields(element)
    if member:
        if member in members:
            members[member] = _marked(members[member], server, "")
        return wire.raw(members)
    data = members.get("data")
    mark = {KEY: server} if data is None else {KEY: server, "data": data}
    return wire.raw({**members, "data": mark})


def unmarked(params: msgspec.Raw, member: str = "") -> tuple[str | None, msgspec.Raw]:
    """The server that made an item (None where it carries no mark), and the params with the item as that server made it.

    member: the member of the params that is the item; "" where the params are.
    """
    if _start(params) != b"{":
        return None, params
    members = wire.fields(params)
    if member:
        if member not in members:
            return None, params
        server, members[member] = unmarked(members[member])
        return server, wire.raw(members)
    data = members.get("data")
    if data is None or _start(data) != b"{":
        return None, params
    mark = wire.fields(data)
    server = wire.loads(mark[KEY]) if KEY in mark else None
    if not isinstance(server, str) or not set(mark) <= {KEY, "data"}:
        return None, params
    original = {name: value for name, value in members.items() if name != "data"}
    if "data" in mark:
        original["data"] = mark["data"]
    return server, wire.raw(original)


def _start(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:16]).lstrip()[:1]
