"""How good an order is, and the orders that need no learning: exact on small cases, and fair to ties."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.lists.list_files import Recorded
from tuning.ranking.evaluating.baselines import LISTS, NO_MATCH, TEXT, vscode_scores
from tuning.ranking.evaluating.metrics import FIGURES, rank_in, rank_of, summary

RANKS = st.lists(st.integers(0, 500), min_size=1, max_size=40)


def rank(scores: Sequence[float], *truths: int) -> int:
    return rank_of(np.array(scores, np.float64), np.isin(np.arange(len(scores)), truths))


def row(*names: str) -> Recorded:
    return Recorded(
        repository="o/n", revision="r", path="a.py", language="python", sha256="", form="line", kind="member", start=0,
        end=1, offset=0, tail=1, truth="a", server="ty", offered=len(names), names=names, kinds=[0] * len(names),
        flags=[0] * len(names),
    )  # fmt: skip


def check_order(baseline: str, names: str, expected: str, before: str | None = None) -> None:
    """The names in the order of a baseline's scores, best first; no two of them alike."""
    listed = row(*names.split())
    scores = LISTS[baseline](listed) if before is None else TEXT[baseline](listed, before)
    assert scores.shape == (len(listed.names),) and scores.dtype == np.float64
    assert len(set(scores.tolist())) == len(scores)
    assert [listed.names[place] for place in np.argsort(-scores)] == expected.split()


# Figures


def test_figures_of_known_ranks() -> None:
    found = summary([0, 1, 4, 5, 9])
    assert {name: mean for name, (mean, _, _) in found.items()} == pytest.approx(
        {"R@1": 1 / 5, "R@5": 3 / 5, "MRR": (1 + 1 / 2 + 1 / 5 + 1 / 6 + 1 / 10) / 5}
    )
    assert list(found) == list(FIGURES)


@pytest.mark.parametrize(("ranks", "mrr"), [([0] * 7, 1.0), ([9] * 3, 0.1), ([2], 1 / 3)])
def test_positions_that_are_all_alike_leave_no_doubt(ranks: list[int], mrr: float) -> None:
    assert summary(ranks)["MRR"] == pytest.approx((mrr, mrr, mrr))


@given(RANKS)
def test_an_interval_holds_its_mean_and_is_the_same_every_time(ranks: list[int]) -> None:
    found = summary(ranks)
    for mean, low, high in found.values():
        assert 0 <= low <= mean + 1e-12 and mean <= high + 1e-12 and high <= 1 + 1e-12
    assert found == summary(np.array(ranks).tolist())
    assert found["R@1"][0] <= found["MRR"][0] + 1e-12 and found["R@1"][0] <= found["R@5"][0]


def test_more_positions_leave_less_doubt() -> None:
    few, many = (summary([0, 3] * count)["R@1"] for count in (10, 1000))
    assert few[0] == many[0] == 0.5
    assert many[2] - many[1] == pytest.approx(2 * 1.96 * 0.5 / 2000**0.5, rel=0.15)  # the normal approximation
    assert few[2] - few[1] > 5 * (many[2] - many[1])


# A truth's place


def test_the_place_of_the_truth_counts_what_scores_higher() -> None:
    assert [rank([3, 1, 2], truth) for truth in range(3)] == [0, 2, 1]
    assert rank([-np.inf, 5], 0) == 1
    assert rank([7], 0) == 0


@pytest.mark.parametrize(("alike", "expected"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
def test_a_tie_counts_against_the_truth_half_the_time(alike: int, expected: int) -> None:
    assert {rank([1.0] * alike, truth) for truth in range(alike)} == {expected}
    assert rank([2.0, 2.0, *[1.0] * alike, 0.0], 2) == 2 + expected


def test_of_several_truths_the_best_counts() -> None:
    assert rank([1, 3, 2], 0, 2) == 1
    assert rank([4, 3, 2, 1], 1, 3) == 1


def test_truths_do_not_stand_in_each_others_way() -> None:
    assert rank([1, 1, 1], 0, 1, 2) == 0  # overloads: one name, three times
    assert rank([2, 1, 1, 1, 1, 1], 1, 2, 3, 4, 5) == 1


@given(st.permutations(range(7)), st.sets(st.integers(0, 6), min_size=1))
def test_a_place_in_an_order_is_that_of_scores_which_give_the_order(order: list[int], truths: set[int]) -> None:
    falling = np.empty(7)
    falling[order] = range(7, 0, -1)
    is_truth = np.isin(np.arange(7), list(truths))
    assert rank_in(np.array(order), is_truth) == rank_of(falling, is_truth)


def test_a_score_that_is_no_number_is_not_the_best() -> None:
    assert rank([float("nan"), 1.0], 0) > 0


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.randoms())
def test_the_order_of_the_list_does_not_matter_to_the_place(scores: list[int], generator: object) -> None:
    order = list(range(len(scores)))
    generator.shuffle(order)  # pyright: ignore[reportAttributeAccessIssue]
    shuffled = [scores[place] for place in order]
    assert rank(scores, 0) == rank(shuffled, order.index(0))
    above, alike = sum(score > scores[0] for score in scores), scores.count(scores[0])
    assert above <= rank(scores, 0) < above + alike


# Orders


def test_orders_of_the_list_alone() -> None:
    check_order("wrapped server", "c a b", "c a b")
    check_order("alphabetical", "b A c", "A b c")
    check_order("alphabetical", "b A a B", "A a b B")  # names that differ in case alone stay as they came
    check_order("wrapped server", "", "")
    check_order("alphabetical", "", "")


def test_orders_of_the_text_before() -> None:
    check_order("most frequent in the file", "a b c d", "c b a d", before="x.c x.c b c b a")
    check_order("most recent in the file", "a b c d", "b a c d", before="a.c() c a b.")
    check_order("most recent in the file", "a b", "a b", before="")
    check_order("most frequent in the file", "get $get größe", "größe $get get", before="größe größe $get getter")
    check_order("most frequent in the file", "", "", before="a")


# VS Code's own


def test_without_the_package_or_node_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_node(tmp_path, monkeypatch, "")
    with pytest.raises(FileNotFoundError, match=r"no-fuzzy is missing; run: npm install .*@vtsls/vscode-fuzzy"):
        vscode_scores(tmp_path / "no-fuzzy", [("a", ["b"])])
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="node is missing"):
        vscode_scores(tmp_path, [])


def test_names_that_it_would_drop_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_node(
        tmp_path,
        monkeypatch,
        "print(json.dumps([[9 if n[0] == typed else None for n in names] for typed, names in asked]))",
    )
    (tmp_path / "package.json").write_text("{}")
    first, second = vscode_scores(tmp_path, [("a", ["ab", "ba", "ac"]), ("ü", [])])
    assert (first.tolist(), second.tolist()) == ([9, NO_MATCH, 9], [])
    assert first.dtype == second.dtype == np.float64


def fake_node(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Something called node on the path, which reads what it is asked and runs `script`."""
    node = folder / "bin" / "node"
    node.parent.mkdir()
    node.write_text(f"#!{sys.executable} -S\nimport json, sys\nasked = json.load(sys.stdin)\n{script}\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(node.parent), prepend=os.pathsep)
