"""The blend learned from lists, and judged by repositories that it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tuning.ranking.learning.blend_fitting import (
    GROUPS,
    Sample,
    fitted,
    left_out,
    weights_without,
    without,
)
from tuning.ranking.serving.blend import KINDS, Blend, BlendError, fit
from tuning.ranking.serving.features import MODEL, SIGNALS

NOTHING = {kind: np.zeros(len(SIGNALS)) for kind in KINDS}


def made(count: int, *, kind: str = "member", column: int = 3, seed: int = 0) -> list[Sample]:
    """Lists in which the truth is the candidate whose `column` is largest, but for some noise."""
    generator = np.random.default_rng(seed)
    found: list[Sample] = []
    for number in range(count):
        columns = generator.normal(size=(8, len(SIGNALS))).astype(np.float32)
        truth = int((columns[:, column] + generator.normal(scale=0.2, size=8)).argmax())
        found.append(
            Sample(
                columns=columns, truth=truth, kind=kind, named=kind, language="python", group=f"repository {number % 9}"
            )
        )
    return found


def test_weights_are_learned_by_kind() -> None:
    weights = fitted([*made(300), *made(300, kind="name", column=5, seed=1)], NOTHING)
    assert set(weights) == set(KINDS)
    assert np.abs(weights["member"]).argmax() == 3
    assert np.abs(weights["name"]).argmax() == 5
    assert not weights["import"].any()  # no list of its own: as it was before


def test_each_list_is_judged_once_by_weights_that_never_saw_its_repository() -> None:
    judged = left_out(made(270), lambda here, out: fitted(here, NOTHING))
    assert len(judged) == 270
    assert np.mean([one.rank == 0 for one in judged]) > 0.7


def test_what_it_is_drawn_to_holds_where_lists_say_nothing() -> None:
    toward = np.zeros(4)
    toward[2] = 5.0
    silent = [(np.ones((3, 4)) * [[0, 0, 1, 0]], 0) for _ in range(20)]  # all candidates alike
    assert fit(silent, toward=toward) == pytest.approx(toward, abs=0.2)


def test_rising_columns_never_fall() -> None:
    lists = [(np.array([[1.0, 0.0], [0.0, 1.0]]), 1) for _ in range(50)]
    weights = fit(lists, monotone=(0,))
    assert weights[0] == 0
    assert weights[1] > 0


def test_a_blend_is_written_and_read(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    blend = Blend(
        signals={kind: generator.normal(size=len(SIGNALS)) for kind in KINDS},
        model={kind: generator.normal(size=len(SIGNALS + MODEL)) for kind in KINDS},
    )
    blend.save(tmp_path / "blend.json")
    again = Blend.load(tmp_path / "blend.json")
    for kind in KINDS:
        assert again.signals[kind] == pytest.approx(blend.signals[kind], abs=1e-4)
        assert again.model[kind] == pytest.approx(blend.model[kind], abs=1e-4)
    matrix = generator.normal(size=(3, len(SIGNALS)))
    assert again.scores(matrix, "text").tolist() == again.scores(matrix, "name").tolist()
    text = (tmp_path / "blend.json").read_text().replace('"uses_file"', '"uses_files"', 1)
    (tmp_path / "blend.json").write_text(text)
    with pytest.raises(BlendError, match=r"columns differ: .*uses_file"):
        Blend.load(tmp_path / "blend.json")


def test_every_column_is_in_a_group_that_can_be_left_out() -> None:
    assert [name for name in SIGNALS if not any(group.match(name) for group in GROUPS.values())] == []
    found = made(3)
    for name, group in GROUPS.items():
        left = without(found, name)
        for place, column in enumerate(SIGNALS):
            same = all(
                (one.columns[:, place] == other.columns[:, place]).all() for one, other in zip(found, left, strict=True)
            )
            assert same == (group.match(column) is None)


def test_without_a_group_nothing_of_it_is_seen_or_weighed() -> None:
    group = next(name for name in GROUPS if "(index)" in name)
    ones = {kind: np.ones(len(SIGNALS + MODEL)) for kind in KINDS}
    left = weights_without(ones, group)["member"]
    names = (*SIGNALS, *MODEL)
    assert left[names.index("index")] == left[names.index("place_by_index")] == left[names.index("mixture")] == 0
    assert left[names.index("model")] == left[names.index("order")] == 1
    (sample,) = without(made(1), group)
    assert not sample.columns[:, names.index("receiver_file")].any()
    assert sample.columns[:, names.index("order")].any()
