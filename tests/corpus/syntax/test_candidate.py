"""Completion items as ranking sees them, from lists of every shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.syntax.candidate import Candidate, candidates

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
members = ("kind", "sortText", "filterText", "detail", "labelDetails", "tags", "deprecated", "additionalTextEdits")
items = st.dictionaries(st.sampled_from(("label", *members)), anything, max_size=6)


def check_candidates(result: Any, **expected: list[Any]) -> list[Candidate]:
    """One candidate an item, in the reply's order; `expected` is by field."""
    found = candidates(json.dumps(result).encode())
    listed = result.get("items") if isinstance(result, dict) else result
    assert len(listed or ()) == len(found)
    assert sorted(candidate.place for candidate in found) == list(range(len(found)))
    for field, values in expected.items():
        assert [getattr(candidate, field) for candidate in found] == values
    return found


@given(st.lists(items | anything, max_size=5), st.booleans())
def test_bad_items_cost_only_themselves(listed: list[Any], in_a_list: bool) -> None:
    check_candidates({"items": listed} if in_a_list else listed)


@pytest.mark.parametrize(
    "result", [b"null", b"1", b'"x"', b"{}", b'{"items":null}', b'{"items":{}}', b"", b"{", b"\xff"]
)
def test_what_is_no_list_has_no_candidates(result: bytes) -> None:
    assert candidates(result) == []


def test_places_are_the_servers_own_order() -> None:
    listed = [
        {"label": "b", "sortText": "2"},
        {"label": "a"},
        {"label": "c", "sortText": "1"},
        {"label": "d", "sortText": "2"},
    ]
    check_candidates(listed, place=[1, 3, 0, 2])


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("add", "add"), ("add(x)", "add"), (".add", "add"), ("_private", "_private"), ("$scope", "$scope"),
        ("größe: int", "größe"), ("★ total", "total"), ("()", "fallback"), ("name=", "name"), ("2d", "2d"),
        (" boil", "boil"), ("•boil(int)", "boil"), ("lid.open", "fallback"), ("std::string", "fallback"),
        ("Tea\\Pot", "fallback"), ("~Kettle()", "fallback"), ("...rest", "rest"), ("vec![]", "vec"),
    ],
)  # fmt: skip
def test_an_items_name_is_its_identifier(label: str, name: str) -> None:
    check_candidates([{"label": label, "filterText": "fallback"}], name=[name])


def test_marks_are_read_from_either_form() -> None:
    listed = [
        {"label": "a", "deprecated": True},
        {"label": "b", "tags": [1]},
        {"label": "c", "labelDetails": {"description": "shop"}, "kind": 5, "additionalTextEdits": None},
    ]
    check_candidates(
        {"items": listed},
        deprecated=[True, True, False], detail=["", "", "shop"], kind=[0, 0, 5], edits_elsewhere=[False] * 3,
    )  # fmt: skip


def test_an_import_is_seen_and_costs_no_other_mark() -> None:
    edit = {"newText": "import b", "range": {}}
    listed = [
        {"label": "a", "additionalTextEdits": []},
        {"label": "b", "additionalTextEdits": [edit]},
        {"label": "c", "tags": [1]},
    ]
    check_candidates(listed, edits_elsewhere=[False, True, False], deprecated=[False, False, True])


def test_half_a_surrogate_pair_costs_no_other_item() -> None:
    check_candidates([{"label": "\ud800d"}, {"label": "b", "kind": 5}], name=["d", "b"], kind=[0, 5])
