"""Texts that a parser can't get through: no tree, no stall, and a tree again once the text is another."""

import sys

import pytest

from corpus.syntax import parse
from corpus.syntax.language import languages
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.site import site_at


def test_a_text_that_takes_too_long_has_no_tree_until_it_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "PARSE_SECONDS", 0.02)
    document = SyntaxDocument(b"/* " * 8000 + b"x.", languages()["c"])
    assert document.tree is None
    assert document.tree_with(0, b"_") is None
    assert site_at(document, len(document.text.data)).start == len(document.text.data)
    document.edit(0, 3, b"")
    assert not document.has_tree  # not tried again at each key
    document.edit(0, len(document.text.data), b"int x;\n")
    assert document.tree is not None


def test_a_text_that_is_tried_first_is_not_kept_and_can_be_queried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "LARGE", 10)
    data = b"class A:\n    def f(self, v):\n        if isinstance(v, A):\n            v.f()\n" * 300
    document = SyntaxDocument(data, languages()["python"])
    assert site_at(document, len(data) - 4).receiver_type == "A"  # by a predicate of a query
    before = sys.getrefcount(data)
    for _ in range(5):
        document.edit(0, len(document.text.data), data + b"x" * parse.PASTED)
        assert document.tree is not None
        assert document.tree.root_node.child_count == 301
        document.edit(0, len(document.text.data), data)
    assert sys.getrefcount(data) <= before


def test_keys_after_a_paste_are_parsed_into_the_same_tree() -> None:
    document = SyntaxDocument(b"x = 1\n" * 2000, languages()["python"])
    assert document.tree is not None
    document.edit(0, 0, b"y = 2\n" * 1000)
    document.edit(0, 0, "é = 1\n".encode())
    assert document.tree.root_node.child_count == 3001
    document.edit(0, 2, b"e")
    assert not document.tree.root_node.has_error
