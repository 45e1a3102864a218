"""Edits of open documents, against plain strings."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lsp_server.documents.positions import ENCODINGS, Encoding
from lsp_server.documents.texts import Documents
from tests.lsp_server.documents.test_positions import reference, texts

URI = "file:///a.py"
spans = st.tuples(st.integers(0, 6), st.integers(0, 12), st.integers(0, 6), st.integers(0, 12))
changes = st.lists(st.tuples(st.none() | spans, texts), max_size=6)


def opened(text: str, encoding: Encoding = "utf-16") -> Documents:
    documents = Documents()
    documents.encoding = encoding
    documents.did_open({"textDocument": {"uri": URI, "languageId": "x", "version": 1, "text": text}})
    return documents


def change(span: tuple[int, int, int, int] | None, text: str) -> dict[str, Any]:
    if span is None:
        return {"text": text}
    start, end = sorted([span[:2], span[2:]])
    edges = {name: {"line": at[0], "character": at[1]} for name, at in (("start", start), ("end", end))}
    return {"range": edges, "text": text}


def check_edits(before: str, edits: list[dict[str, Any]], encoding: Encoding) -> None:
    """One notification with all edits leaves what a plain string would be."""
    documents = opened(before, encoding)
    documents.did_change({"textDocument": {"uri": URI, "version": 2}, "contentChanges": edits})
    expected = before.encode("utf-8", "surrogatepass")
    for edit in edits:
        new = edit["text"].encode("utf-8", "surrogatepass")
        if "range" not in edit:
            expected = new
            continue
        text = expected.decode("utf-8", "surrogatepass")
        start, end = (
            reference(text, edit["range"][edge]["line"], edit["range"][edge]["character"], encoding)
            for edge in ("start", "end")
        )
        expected = expected[:start] + new + expected[end:]
    document = documents.get(URI)
    assert document is not None
    assert expected == bytes(document.text.data)
    assert document.as_item() == {
        "uri": URI, "languageId": "x", "version": 2, "text": expected.decode("utf-8", "surrogatepass"),
    }  # fmt: skip


@given(texts, changes, st.sampled_from(ENCODINGS))
def test_edits_equal_those_of_a_plain_string(
    before: str, edits: list[tuple[tuple[int, int, int, int] | None, str]], encoding: Encoding
) -> None:
    check_edits(before, [change(span, text) for span, text in edits], encoding)


def test_a_range_the_wrong_way_round_is_turned() -> None:
    documents = opened("abc")
    span = {"start": {"line": 0, "character": 2}, "end": {"line": 0, "character": 1}}
    documents.did_change({"textDocument": {"uri": URI}, "contentChanges": [{"range": span, "text": "X"}]})
    document = documents.get(URI)
    assert document is not None
    assert bytes(document.text.data) == b"aXc"
    assert document.version == 1  # none given, none taken


def test_changes_to_what_is_not_open_change_nothing() -> None:
    documents = opened("abc")
    documents.did_change({"textDocument": {"uri": "file:///b.py"}, "contentChanges": [{"text": "X"}]})
    assert [bytes(document.text.data) for document in documents] == [b"abc"]


def test_closing_forgets_and_closing_twice_is_no_error() -> None:
    documents = opened("abc")
    for _ in range(2):
        documents.did_close({"textDocument": {"uri": URI}})
    assert list(documents) == []
