"""Ranking a list changes its order and marks; what each item inserts and filters by stays."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from lsp_server.features.items import ItemList, Marks, origin, ranked, without_marks
from lsp_server.features.resolve import with_reasons
from lsp_server.jsonrpc import wire
from tests.fakes.editor import ranking

Item = dict[str, Any]
STAR = "★ "
short = st.text("aé😀_(:. $1{}", min_size=1, max_size=6)
plain_json = st.recursive(st.none() | st.integers() | short, lambda v: st.lists(v, max_size=3) | st.dictionaries(short, v, max_size=3), max_leaves=4)  # fmt: skip
span = st.just({"start": {"line": 0, "character": 1}, "end": {"line": 0, "character": 2}})
both_spans = st.fixed_dictionaries({"insert": span, "replace": span})
edit = st.fixed_dictionaries({"newText": short, "range": span}) | st.fixed_dictionaries(
    {"newText": short, "insert": span, "replace": span}
)
details = st.none() | st.fixed_dictionaries({}, optional={"detail": short, "description": short})
items = st.fixed_dictionaries(
    {"label": short},
    optional={
        "kind": st.integers(1, 25), "tags": st.lists(st.just(1), max_size=1), "detail": short,
        "documentation": short, "deprecated": st.booleans(), "preselect": st.booleans(), "sortText": short,
        "filterText": st.none() | short, "insertText": st.none() | short,
        "insertTextFormat": st.sampled_from([1, 2]), "insertTextMode": st.sampled_from([1, 2]),
        "textEdit": st.none() | edit, "textEditText": st.none() | short,
        "additionalTextEdits": st.lists(edit, max_size=2), "commitCharacters": st.lists(short, max_size=2),
        "command": st.fixed_dictionaries({"title": short, "command": short}), "data": plain_json,
        "labelDetails": details, "x-unknown": plain_json,
    },
)  # fmt: skip
defaults = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "editRange": span | both_spans, "data": plain_json, "commitCharacters": st.lists(short, max_size=2),
        "insertTextFormat": st.sampled_from([1, 2]), "insertTextMode": st.sampled_from([1, 2]),
    },
)  # fmt: skip
lists = st.lists(items, min_size=1, max_size=7).flatmap(
    lambda found: (
        st.just(found)
        | st.fixed_dictionaries(
            {"items": st.just(found), "isIncomplete": st.booleans()},
            optional={"itemDefaults": defaults, "applyKind": st.sampled_from([None, {}, {"data": 1}, {"data": 2}])},
        )
    )
)


def inserted(item: Item, given_defaults: Item) -> tuple[Any, ...]:
    """What an editor inserts, where, how, and what it filters by (LSP 3.17, "CompletionItem")."""
    label = item["label"]
    text_edit, default_range = item.get("textEdit"), given_defaults.get("editRange")
    if text_edit is not None:
        text, where = text_edit["newText"], {k: v for k, v in text_edit.items() if k != "newText"}
    elif default_range is not None:
        text, where = (item["textEditText"] if item.get("textEditText") is not None else label), default_range
    else:
        text, where = (item["insertText"] if item.get("insertText") is not None else label), "the word"
    word = item["filterText"] if item.get("filterText") is not None else label
    return (
        text, where, word,
        *(item.get(name, given_defaults.get(name)) for name in ("insertTextFormat", "insertTextMode", "commitCharacters")),
        *(item.get(name) for name in ("additionalTextEdits", "command", "kind", "tags", "deprecated", "x-unknown")),
    )  # fmt: skip


def without_data(given_defaults: Item) -> Item:
    return {name: value for name, value in given_defaults.items() if name != "data"}


def own_data(item: Item, given_defaults: Item, kinds: Item) -> Any:
    """What a client sends back of an item when it is resolved (LSP 3.18, "CompletionItemApplyKinds")."""
    own, default = item.get("data", given_defaults.get("data")), given_defaults.get("data")
    merges = kinds.get("data") == 2 and "data" in item and isinstance(own, dict) and isinstance(default, dict)
    return {**default, **own} if merges else own


def split(result: Any) -> tuple[list[Item], Item]:
    return (result["items"], result.get("itemDefaults") or {}) if isinstance(result, dict) else (result, {})


def check_ranked(
    result: Any, order: list[int], stars: list[int], *, label_details: bool = True
) -> tuple[Any, ItemList]:
    """Rank a list; the laws that hold for every list are asserted. Returns the result and the kept original."""
    parsed = ItemList.parse(wire.raw(result))
    assert parsed is not None
    laid = ranking(order, stars)
    out = wire.loads(wire.dumps(ranked(parsed, laid, number=3, marks=Marks(ratings=label_details))))
    before, base = split(result)
    after, after_defaults = split(out)
    assert without_data(base) == after_defaults  # it is in the items now
    assert [inserted(item, base) for item in before] == [inserted(item, base) for item in after]
    assert [after[i]["label"].removeprefix(STAR).lstrip(" ") for i in order] == [
        before[i]["label"].removeprefix(STAR).lstrip(" ") for i in order
    ]
    assert order == sorted(range(len(after)), key=lambda i: after[i]["sortText"])
    assert [i for i, item in enumerate(after) if item["label"] != before[i]["label"]] == [
        i for i, count in enumerate(stars) if count
    ]
    wanted = [0] * len(order)
    if any(item.get("preselect") for item in before):
        wanted[order[0]] = 1
    assert wanted == [int(item.get("preselect", False)) for item in after]
    if isinstance(result, dict):
        rest = [{k: v for k, v in each.items() if k not in ("items", "itemDefaults")} for each in (result, out)]
        assert rest[0] == rest[1]
        assert without_data(result.get("itemDefaults") or {}) == (out.get("itemDefaults") or {})
    return out, parsed


@given(lists, st.data(), st.booleans())
def test_what_items_insert_and_filter_by_stays(result: Any, data: st.DataObject, label_details: bool) -> None:
    count = len(split(result)[0])
    order = data.draw(st.permutations(range(count)))
    stars = data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    check_ranked(result, list(order), stars, label_details=label_details)


@given(lists)
def test_the_kept_original_is_the_servers_own_bytes(result: Any) -> None:
    count = len(split(result)[0])
    _, parsed = check_ranked(result, list(range(count)), [5] * count)
    assert [json.loads(json.dumps(item)) for item in split(result)[0]] == [
        wire.loads(wire.dumps(item)) for item in parsed.items
    ]


@given(lists)
@example({"items": [{"label": "a"}], "itemDefaults": {"data": None}})
def test_an_item_finds_its_way_back(result: Any) -> None:
    count = len(split(result)[0])
    out, _ = check_ranked(result, list(range(count)), [1] * count)
    before, base = split(result)
    for index, item in enumerate(split(out)[0]):
        found = origin(wire.fields(wire.dumps(item)))
        assert found is not None
        assert (found.number, found.index) == (3, index)
        kinds = (result.get("applyKind") or {}) if isinstance(result, dict) else {}
        own = own_data(before[index], base, kinds)
        assert own == (None if found.data is None else wire.loads(found.data))


def test_without_the_kept_list_label_and_data_are_taken_back() -> None:
    before = {"label": "add", "data": {"uri": "x", "n": 1}}
    out, _ = check_ranked([copy.deepcopy(before)], [0], [5])
    item = wire.fields(wire.dumps(out[0]))
    found = origin(item)
    assert found is not None
    original = wire.loads(wire.dumps(without_marks(item, found, STAR)))
    assert (before["label"], before["data"]) == (original["label"], original["data"])
    nothing, _ = check_ranked([{"label": "add"}], [0], [0])
    item = wire.fields(wire.dumps(nothing[0]))
    found = origin(item)
    assert found is not None
    assert "data" not in without_marks(item, found, STAR)


def test_items_of_others_are_not_taken_for_ours() -> None:
    for data in (None, 1, "x", [], {}, {"starling": [1]}, {"starling": "ab", "more": 1}, {"starling": [1, "0"]},
                 {"starling": [[1], 0]}, {"starling": [1, -1]}):  # fmt: skip
        assert origin(wire.fields(wire.dumps({"label": "x", "data": data}))) is None, data
    assert origin(wire.fields(b'{"label":"x"}')) is None


def test_what_is_no_list_is_not_ranked() -> None:
    for result in (None, [], {"items": []}, 1, "x", [1], {"items": {}}, {"isIncomplete": True}, [None]):
        assert ItemList.parse(wire.raw(result)) is None, result
    assert ItemList.parse(wire.raw([{"label": "\ud800"}])) is None  # the fast library can't carry it: unranked
    assert ItemList.parse(None) is None


def test_rating_stands_before_the_servers_own_description() -> None:
    out, _ = check_ranked([{"label": "a", "labelDetails": {"detail": "()", "description": "shop"}}], [0], [4])
    assert out[0]["labelDetails"] == {"detail": "()", "description": "★★★★☆ shop"}


def test_untouched_members_keep_their_bytes() -> None:
    raw = msgspec.Raw(b'[{"label":"a","x":1.50,"big":123456789012345678901234567890}]')
    parsed = ItemList.parse(raw)
    assert parsed is not None
    out = wire.dumps(ranked(parsed, ranking([0], [5]), number=1, marks=Marks()))
    assert b'"x":1.50,"big":123456789012345678901234567890' in out


def test_reasons_stand_after_documentation_of_any_shape() -> None:
    def check_reasons(documentation: Any, *, markdown: bool = True) -> Any:
        return with_reasons(None if documentation is None else wire.raw(documentation), "why", markdown=markdown)

    line = "★ Starling: why"
    assert check_reasons("Adds.") == f"Adds.\n\n{line}"
    assert check_reasons({"kind": "plaintext", "value": "Adds."})["value"] == f"Adds.\n\n{line}"
    assert check_reasons({"kind": "markdown", "value": "Adds."})["value"] == f"Adds.\n\n---\n{line}"
    assert check_reasons(None, markdown=False) == {"kind": "plaintext", "value": line}
    assert check_reasons("") == {"kind": "markdown", "value": line}
