"""Frames and envelopes, whatever the bytes and wherever they are split."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import Frames, frame

bodies = st.lists(st.binary(max_size=200), max_size=6)


def fed(data: bytes, cuts: list[int], **limits: int) -> list[bytes | wire.WireError]:
    frames = Frames(**limits)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [found for a, b in pairwise(edges) for found in frames.feed(data[a:b])]


@given(bodies, st.lists(st.integers(min_value=0), max_size=20))
def test_frames_come_out_whole_however_they_are_split(messages: list[bytes], cuts: list[int]) -> None:
    assert fed(b"".join(map(frame, messages)), cuts) == messages


@given(st.text("abc:\r\n ", max_size=60), st.lists(st.integers(min_value=0), max_size=5))
def test_garbage_is_reported_and_what_follows_arrives(garbage: str, cuts: list[int]) -> None:
    found = fed(garbage.encode() + frame(b"{}") + frame(b"[]"), cuts)
    assert [body for body in found if isinstance(body, bytes)][-1] == b"[]"


def test_oversized_message_is_skipped() -> None:
    found = fed(frame(b"x" * 50) + frame(b"y"), [3, 20, 60], max_body=10)
    assert isinstance(found[0], wire.WireError)
    assert found[1:] == [b"y"]


def test_torn_stream_is_known() -> None:
    frames = Frames()
    assert list(frames.feed(frame(b"abc")[:-1])) == []
    assert frames.torn


def test_half_a_surrogate_pair_survives() -> None:
    text = "a\ud83d"
    assert wire.loads(wire.dumps({"text": text})) == {"text": text}


def test_untouched_members_keep_their_bytes() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"params":{"big":123456789012345678901234567890,"float":1.0,"text":"\\u00e9"}}'
    changed = wire.with_id(body, "new")
    assert b'{"big":123456789012345678901234567890,"float":1.0,"text":"\\u00e9"}' in changed
    assert json.loads(changed)["id"] == "new"


DEEP = b'{"range":"{[,:\\"","parent":' * 5000 + b"null" + b"}" * 5000


def test_messages_that_are_nested_deep_are_routed_like_others() -> None:
    body = b' { "jsonrpc":"2.0" ,"id":"a\\"}", "result" : [' + DEEP + b'], "odd":1.50, "last":[]}\n'
    envelope = wire.peek(body)
    assert envelope.id == 'a"}'
    assert envelope.is_response and isinstance(envelope.result, msgspec.Raw)
    assert bytes(envelope.result) == b"[" + DEEP + b"]"
    assert wire.with_id(body, 2) == b'{"jsonrpc":"2.0","id":2,"result":[' + DEEP + b'],"odd":1.50,"last":[]}'


@pytest.mark.parametrize("odd", [b"[%b]", b'{"id":1,"result":[%b}', b'{"id":1,"result":%b}}', b'{"id":1,"result":%b,}',
                                 b'{"id":1,%b}', b'{"id":1,"result":%b} "x"', b'x{"id":1,"result":%b}', b'{"id":[%b]}'])  # fmt: skip
def test_what_is_no_message_is_none_however_deep(odd: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.peek(odd % DEEP)


def test_messages_with_half_a_surrogate_pair_are_routed_like_others() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"text":"\\ud83d"}}'
    envelope = wire.peek(body)
    assert (envelope.id, envelope.method) == (1, "m")
    assert json.loads(wire.with_id(body, 2)) == {**json.loads(body), "id": 2}


class _Item(msgspec.Struct, rename="camel"):
    language_id: str
    version: int | None = None


def test_reads_what_is_named_and_skips_the_rest():
    assert wire.read(b'{"languageId":"x","other":[1]}', _Item) == _Item(language_id="x")
    assert wire.read(b'{"languageId":"\\ud800"}', _Item).language_id == "\ud800"


@pytest.mark.parametrize("raw", [b'{"languageId":1}', b"{}", b"[]", b"{", b'{"languageId":' + b"[" * 5000])
def test_says_which_part_is_malformed(raw: bytes):
    with pytest.raises(wire.Malformed):
        wire.read(raw, _Item)
