"""Frames come out whole however they arrive, and what is not read is not changed."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import Frames, frame
from lsp_server.jsonrpc.wire import WireError

bodies = st.lists(st.binary(max_size=60), max_size=6)
garbage = st.binary(max_size=80).filter(lambda data: b"content-length" not in data.lower())
lone = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | lone,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(lone, inner, max_size=4),
    max_leaves=8,
)


def check_frames(stream: bytes, cuts: list[int], *, max_body: int = 1 << 20) -> list[bytes | WireError]:
    """What comes out of a stream that arrives in these pieces."""
    frames = Frames(max_body)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    out: list[bytes | WireError] = []
    for start, end in pairwise(edges):
        out.extend(frames.feed(stream[start:end]))
    return out


def whole(out: list[bytes | WireError]) -> list[bytes]:
    return [body for body in out if isinstance(body, bytes)]


@given(bodies, st.lists(st.integers(0, 500), max_size=12))
def test_bodies_come_out_whole_wherever_the_stream_is_cut(given_bodies: list[bytes], cuts: list[int]) -> None:
    assert given_bodies == check_frames(b"".join(map(frame, given_bodies)), cuts)


def test_one_byte_at_a_time() -> None:
    stream = frame(b'{"a":1}') + frame(b"") + frame(b"\r\n\r\n")
    assert check_frames(stream, list(range(len(stream)))) == [b'{"a":1}', b"", b"\r\n\r\n"]


@given(st.lists(st.tuples(garbage, st.binary(max_size=40)), min_size=1, max_size=4), st.lists(st.integers(0, 400)))
def test_frames_after_garbage_still_arrive(parts: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(junk + frame(body) for junk, body in parts)
    out = check_frames(stream, cuts)
    assert [body for _, body in parts] == whole(out)


@pytest.mark.parametrize(
    "junk", [b"hello\r\n\r\n", b"warning: x\n", b"\r\n\r\n", b"x" * 20_000, b"Content-Length: no\r\n\r\n"]
)
def test_garbage_is_reported(junk: bytes) -> None:
    out = check_frames(frame(b"1") + junk + frame(b"2"), [])
    assert whole(out) == [b"1", b"2"]
    assert any(isinstance(found, WireError) for found in out)


@given(st.integers(11, 300), st.lists(st.integers(0, 400), max_size=8))
def test_oversized_bodies_are_skipped_and_reported(size: int, cuts: list[int]) -> None:
    out = check_frames(frame(b"a") + frame(b"x" * size) + frame(b"b"), cuts, max_body=10)
    assert whole(out) == [b"a", b"b"]
    assert [str(size) in str(found) for found in out if isinstance(found, WireError)] == [True]


def test_other_headers_and_any_case_are_understood() -> None:
    stream = b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-length: 2\r\n\r\n{}" + frame(b"1")
    assert check_frames(stream, [3, 40]) == [b"{}", b"1"]


def test_torn_tells_whether_a_frame_is_open() -> None:
    frames = Frames()
    assert not frames.torn
    assert list(frames.feed(frame(b"{}")[:-1])) == []
    assert frames.torn
    assert list(frames.feed(b"}")) == [b"{}"]
    assert not frames.torn


@given(json_values)
def test_what_is_encoded_decodes_to_the_same(value: object) -> None:
    encoded = wire.dumps(value)
    assert json.loads(json.dumps(value)) == wire.loads(encoded)
    encoded.decode("utf-8")  # whatever is sent is UTF-8


@given(json_values, st.one_of(st.integers(-(2**53), 2**53), st.text(max_size=5)))
def test_untouched_members_keep_their_bytes(value: object, id: int | str) -> None:
    data = json.dumps(value)
    body = f'{{"jsonrpc":"2.0","id":7,"method":"a/b","params":{{"data":{data}}}}}'.encode()
    changed = wire.with_id(body, id)
    assert wire.peek(changed).id == id
    kept = bytes(wire.fields(wire.fields(changed)["params"])["data"])
    assert wire.loads(kept) == json.loads(data)
    if not re.search("[\ud800-\udfff]", json.dumps(json.loads(data), ensure_ascii=False)):
        assert kept == data.encode()  # half a pair means the slower library, which writes its own spaces


@pytest.mark.parametrize(
    "literal", ["1.0", "1e2", "1E400", "123456789012345678901234567890", r'"\ud800"', "-0.0", r'"A\/"', '{"a":1,"a":2}']
)
def test_unusual_literals_go_through_byte_for_byte(literal: str) -> None:
    body = f'{{"id":1,"result":{{"x":{literal},"y":2}}}}'.encode()
    result = wire.fields(wire.fields(wire.with_id(body, "n"))["result"])
    assert bytes(result["x"]) == literal.encode()
    again = wire.dumps({**result, "y": 3})
    assert again == f'{{"x":{literal},"y":3}}'.encode()


def test_a_lone_surrogate_in_one_member_leaves_the_others_as_they_were() -> None:
    others = wire.fields(b'{"n":1.0,"big":123456789012345678901234567890}')
    again = wire.fields(wire.dumps({**others, "text": "\ud800"}))
    assert bytes(again["n"]) == b"1.0"
    assert bytes(again["big"]) == b"123456789012345678901234567890"
    assert wire.loads(again["text"]) == "\ud800"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"1", b"{}", b'{"jsonrpc":"2.0"}', b'{"id":{}}', b"\xff\xfe", b"[" * 5000]
)
def test_what_is_no_message_says_so(body: bytes) -> None:
    with pytest.raises(WireError):
        wire.peek(body)


def test_nesting_beyond_any_use_is_no_crash() -> None:
    envelope = wire.peek(b'{"id":1,"method":"a","params":' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    assert envelope.is_request
    with pytest.raises(WireError):
        wire.loads(wire.params_of(envelope))


def test_messages_are_told_apart() -> None:
    assert wire.peek(wire.request(None, "a", None)).is_request
    assert wire.peek(wire.notification("a", None)).is_notification
    assert wire.peek(wire.response("1", None)).is_response
    assert wire.peek(wire.failure(1, wire.INVALID_PARAMS, "no")).is_response


def test_raw_values_nest_in_plain_ones() -> None:
    assert wire.dumps({"a": [msgspec.Raw(b"1.50"), {"b": wire.raw("é")}]}) == '{"a":[1.50,{"b":"é"}]}'.encode()
