"""Marks items that come back in a later request (such as codeLens/resolve) with the server that made them.

The mark wraps the `data` of an item and is removed again. Nothing else in an item changes.
"""

from __future__ import annotations

import msgspec

from lsp_server.jsonrpc import wire

KEY = "starling"


def marked(result: msgspec.Raw, server: str, member: str = "") -> msgspec.Raw:
    """Return a result with the server's mark in each item: in an object, or in the elements of an array.

    Any other result is returned unchanged.

    member: the member of each element that is the item; "" if the element itself is the item.
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
    """Return the server that made an item (None if it has no mark), and the params with the original item.

    member: the member of the params that is the item; "" if the params themselves are the item.
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
