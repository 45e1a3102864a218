"""Ranking changes order keys and marks, never what an item inserts or filters by."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.features.items import ItemList, Marks, joined, origin, ranked, without_marks
from lsp_server.features.resolve import with_reasons
from lsp_server.jsonrpc import wire
from lsp_server.ranking.ranker_client import Ranking
from tests.fakes.editor import ranking

RANGE = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
words = st.sampled_from(["a", "b()", "★ c", "é", "d$0"])
edits = st.sampled_from([{"range": RANGE, "newText": "n"}, {"insert": RANGE, "replace": RANGE, "newText": "m"}])
items = st.fixed_dictionaries(
    {"label": words},
    optional={
        "insertText": words, "textEdit": edits, "textEditText": words, "filterText": words, "sortText": words,
        "preselect": st.booleans(), "labelDetails": st.sampled_from([{"description": "d"}, {"detail": "t"}, {}]),
        "data": st.sampled_from([None, 1, "x", {"k": [1]}, {"starling": 2}]), "command": st.just({"command": "c"}),
        "additionalTextEdits": st.just([{"range": RANGE, "newText": "import"}]), "tags": st.just([1]),
        "commitCharacters": st.just(["."]), "insertTextFormat": st.just(2), "odd": st.just({"x": None}),
    },
)  # fmt: skip
defaults = st.fixed_dictionaries({}, optional={"editRange": st.just(RANGE), "data": st.just({"default": 1})})


def inserted(item: dict, default: dict) -> tuple:
    """What an editor inserts and filters by (LSP 3.17, CompletionItem and CompletionList.itemDefaults)."""
    if "textEdit" in item:
        text = ("edit", item["textEdit"])
    elif "editRange" in default:
        text = ("range", item.get("textEditText", item["label"]))
    else:
        text = ("word", item.get("insertText", item["label"]))
    rest = [
        item.get(name) for name in ("additionalTextEdits", "command", "commitCharacters", "insertTextFormat", "odd")
    ]
    return text, item.get("filterText", item["label"]), rest


def test_a_list_whose_scores_are_still_coming_is_to_be_asked_for_again() -> None:
    for result in ([{"label": "a"}], {"isIncomplete": False, "items": [{"label": "a"}], "odd": 1}):
        for complete in (False, True):
            parsed = ItemList.parse(msgspec.Raw(json.dumps(result).encode()))
            assert parsed is not None
            ranking = Ranking(
                order=[0], p=[1.0], places=[0], uses_here=[0], uses_workspace=[0], stars=[0], ranker="model",
                complete=complete, milliseconds=1.0,
            )  # fmt: skip
            got = json.loads(wire.dumps(ranked(parsed, ranking, number=1, marks=Marks())))
            if isinstance(result, list) and complete:
                assert [item["label"] for item in got] == ["a"]
            else:
                assert got["isIncomplete"] is not complete
                assert [item["label"] for item in got["items"]] == ["a"]
                assert got.get("odd") == (1 if isinstance(result, dict) else None)


def check_ranked(listed: list[dict], default: dict | None, stars: list[int]) -> list[dict]:
    n = len(listed)
    result = listed if default is None else {"isIncomplete": True, "odd": 1, "items": listed, "itemDefaults": default}
    parsed = ItemList.parse(msgspec.Raw(json.dumps(result).encode()))
    assert parsed is not None
    ranking = Ranking(
        order=list(reversed(range(n))), p=[0.5] * n, places=list(range(n)), uses_here=[0] * n, uses_workspace=[0] * n,
        stars=stars, ranker="signals", complete=True, milliseconds=1.0,
    )  # fmt: skip
    got = json.loads(wire.dumps(ranked(parsed, ranking, number=3, marks=Marks())))
    if default is not None:
        rest = {name: value for name, value in default.items() if name != "data"}  # that is in the items now
        assert (got["isIncomplete"], got["odd"], got["itemDefaults"]) == (True, 1, rest)
    return got if default is None else got["items"]


@given(st.lists(items, min_size=1, max_size=6), st.none() | defaults, st.integers(0, 5))
def test_inserted_and_filtered_text_stay(listed: list[dict], default: dict | None, starred: int) -> None:
    got = check_ranked(listed, default, [starred] * len(listed))
    assert [inserted(item, default or {}) for item in got] == [inserted(item, default or {}) for item in listed]
    assert sorted(item["sortText"] for item in got) == [item["sortText"] for item in reversed(got)]
    assert sum(bool(item.get("preselect")) for item in got) <= 1


@given(items, st.none() | defaults)
def test_an_item_finds_its_way_back(item: dict, default: dict | None) -> None:
    got = check_ranked([item], default, [0])[0]
    raw = wire.fields(json.dumps(got).encode())
    found = origin(raw)
    assert found is not None
    assert (found.number, found.index) == (3, 0)
    data = without_marks(raw, found, "★ ").get("data")
    expected = item["data"] if "data" in item else (default or {}).get("data")
    assert (None if data is None else json.loads(bytes(data))) == expected


def test_data_that_a_client_would_merge_comes_back_merged() -> None:
    """LSP 3.18, `applyKind`: an item's members go over the list's."""
    listed = [{"label": "a", "data": {"own": 1, "both": 2}}, {"label": "b"}, {"label": "c", "data": "text"}]
    result = {
        "items": listed,
        "itemDefaults": {"data": {"uri": "u", "both": 0}, "commitCharacters": ["."]},
        "applyKind": {"data": 2, "commitCharacters": 2},
    }
    parsed = ItemList.parse(wire.raw(result))
    assert parsed is not None
    got = json.loads(wire.dumps(ranked(parsed, None, number=3, marks=Marks())))
    assert "data" not in got["itemDefaults"]
    assert [item["data"]["data"] for item in got["items"]] == [
        {"uri": "u", "own": 1, "both": 2},
        {"uri": "u", "both": 0},
        "text",
    ]
    full = [json.loads(wire.dumps(item)) for item in joined([parsed, parsed]).items]
    assert [item["commitCharacters"] for item in full] == [["."]] * 3
    assert full[0]["data"] == {"uri": "u", "own": 1, "both": 2}


def test_commit_characters_of_a_list_and_of_an_item_are_added_up_where_the_server_says_so() -> None:
    result = {"items": [{"label": "a", "commitCharacters": ["(", "."]}], "itemDefaults": {"commitCharacters": ["."]}}
    for kinds, expected in (({}, ["(", "."]), ({"applyKind": {"commitCharacters": 2}}, [".", "("])):
        parsed = ItemList.parse(wire.raw({**result, **kinds}))
        assert parsed is not None
        assert json.loads(wire.dumps(joined([parsed]).items[0]))["commitCharacters"] == expected


def test_what_should_not_count_as_the_typed_word_is_filtered_by_a_word_with_a_space_behind_it() -> None:
    listed = [{"label": "A", "additionalTextEdits": []}, {"label": "Any"}, {"label": " A", "filterText": "A"}]
    parsed = ItemList.parse(wire.raw(listed))
    assert parsed is not None
    laid = Ranking(
        order=[1, 0, 2], p=[0.3] * 3, places=[0, 1, 2], uses_here=[0] * 3, uses_workspace=[0] * 3, stars=[2, 0, 0],
        ranker="signals", complete=True, milliseconds=1.0, unequal=[0, 2],
    )  # fmt: skip
    got = json.loads(wire.dumps(ranked(parsed, laid, number=3, marks=Marks(ratings=False))))
    assert [item.get("filterText") for item in got] == ["A ", None, "A "]
    assert got[0]["insertText"] == "A"  # it carries a star: what it inserts is written down


def test_a_mark_in_the_detail_leaves_everything_else_alone() -> None:
    listed = [{"label": "a", "detail": "int"}, {"label": "b"}, {"label": "c", "detail": "str"}]
    parsed = ItemList.parse(wire.raw(listed))
    assert parsed is not None
    laid = Ranking(
        order=[1, 0, 2], p=[0.3] * 3, places=[0, 1, 2], uses_here=[0] * 3, uses_workspace=[0] * 3, stars=[2, 3, 0],
        ranker="signals", complete=True, milliseconds=1.0,
    )  # fmt: skip
    got = json.loads(wire.dumps(ranked(parsed, laid, number=3, marks=Marks(place="detail"))))
    assert [item.get("detail") for item in got] == ["★ int", "★", "str"]
    for item, before in zip(got, listed, strict=True):
        assert {name: item[name] for name in item if name not in ("detail", "sortText", "data")} == {
            "label": before["label"]
        }
        raw = wire.fields(json.dumps(item).encode())
        found = origin(raw)
        assert found is not None
        assert without_marks(raw, found, "★ ").get("detail") == (
            wire.raw(before["detail"]) if "detail" in before else None
        )


def test_reasons_go_under_any_documentation() -> None:
    for given_, expected in (
        (None, {"kind": "markdown", "value": "★ Starling: why"}),
        ("text", "text\n\n★ Starling: why"),
        ({"kind": "plaintext", "value": "t"}, {"kind": "plaintext", "value": "t\n\n★ Starling: why"}),
    ):
        raw = None if given_ is None else wire.raw(given_)
        assert with_reasons(raw, "why", markdown=True) == expected


def test_an_item_that_two_servers_have_is_listed_once() -> None:
    def of(server: str, *items: dict[str, object]) -> ItemList:
        parsed = ItemList.parse(wire.raw(list(items)), server=server)
        assert parsed is not None
        return parsed

    edit = {"range": {}, "newText": "a"}
    first = of("one", {"label": "a", "kind": 2}, {"label": "a"}, {"label": "P", "labelDetails": {"description": "x"}})
    second = of(
        "two",
        {"label": "a", "textEdit": edit, "detail": "of two"},  # inserts the same
        {"label": "a", "insertText": "a()"},
        {"label": "P", "labelDetails": {"description": "y"}},
        {"label": "P", "labelDetails": {"description": "x"}, "additionalTextEdits": [{}]},
    )
    both = joined([first, second])
    assert [json.loads(bytes(item["label"])) for item in both.items] == ["a", "a", "P", "a", "P", "P"]
    assert both.servers == ("one", "one", "one", "two", "two", "two")
    escaped = ItemList.parse(msgspec.Raw(rb'[{"label":"\u0061"},{"label":"b"}]'), server="two")
    assert escaped is not None
    assert joined([first, escaped]).servers == ("one", "one", "one", "two")


@pytest.mark.parametrize("rate_all", [False, True])
def test_items_without_a_star_show_a_rating_where_every_item_is_rated(rate_all: bool) -> None:
    listed = [{"label": "a", "labelDetails": {"description": "int"}}, {"label": "b"}, {"label": "c"}]
    parsed = ItemList.parse(wire.raw(listed))
    assert parsed is not None
    laid = msgspec.structs.replace(ranking([1, 0, 2], [0, 4, 0]), ratings=[2, 4, 5])
    got = json.loads(wire.dumps(ranked(parsed, laid, number=3, marks=Marks(rate_all=rate_all))))
    assert [item["label"] for item in got] == ["a", "★ b", "c"]
    ratings = [item.get("labelDetails", {}).get("description") for item in got]
    assert ratings == (["★★☆☆☆ int", "★★★★☆", "★★★★★"] if rate_all else ["int", "★★★★☆", None])
