"""Responses to the requests of features: late ones that nobody waits for, and those that can't be decoded."""

from __future__ import annotations

import asyncio

import pytest
from lsprotocol import types

from lsp_server.jsonrpc import wire
from lsp_server.protocol.typed import ServerClient

WHERE = types.HoverParams(
    text_document=types.TextDocumentIdentifier(uri="file:///a.py"), position=types.Position(line=0, character=0)
)


async def asking() -> tuple[ServerClient, asyncio.Task[types.Hover | None], str]:
    """A client, its request for a hover, and the id of the request."""
    sent: list[bytes] = []
    client = ServerClient(sent.append)
    hover = asyncio.create_task(client.text_document_hover_async(WHERE))
    await asyncio.sleep(0)  # it is sent
    return client, hover, wire.loads(sent[0])["id"]


async def test_a_late_response_to_a_cancelled_request_is_dropped() -> None:
    client, hover, id = await asking()
    hover.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hover
    assert client.protocol.response(id, wire.response(id, None))
    assert not client.protocol.response(id, wire.response(id, None))  # it is forgotten


async def test_a_response_that_can_not_be_decoded_fails_its_own_request() -> None:
    client, hover, id = await asking()
    deep = b"[" * 100_000 + b"]" * 100_000
    body = b'{"jsonrpc":"2.0","id":"%b","result":%b}' % (id.encode(), deep)
    assert not client.protocol.response("another", body)
    assert client.protocol.response(id, body)
    with pytest.raises(wire.WireError):
        await hover
