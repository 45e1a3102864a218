"""The sentence that says why an item stands where it does."""

from __future__ import annotations

import msgspec
import pytest

from lsp_server.features.resolve import reasons
from lsp_server.ranking.ranker_client import Ranking


def ranking(place: int, rank: int, here: int, elsewhere: int) -> Ranking:
    """Of 30 items; the one that is asked about is the first of the reply."""
    n = 30
    order = [*range(1, rank), 0, *range(rank, n)]
    return Ranking(
        order=order, p=[0.604] * n, places=[place - 1] * n, uses_here=[here] * n, uses_workspace=[elsewhere] * n,
        stars=[0] * n, ranker="signals", complete=True, milliseconds=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "rank", "here", "elsewhere", "said"),
    [
        (24, 1, 22, 0, "60 % likely · used like this 22 times in this file · moved up from 24th"),
        (
            1,
            3,
            1,
            1200,
            "60 % likely · used like this once in this file, 1,200 times in other files · moved down from 1st",
        ),
        (2, 2, 0, 1, "60 % likely · used like this once in other files · 2nd in your server's order too"),
        (12, 3, 0, 0, "60 % likely · moved up from 12th"),
        (23, 3, 0, 0, "60 % likely · moved up from 23rd"),
    ],
)
def test_reasons_are_a_sentence(place: int, rank: int, here: int, elsewhere: int, said: str) -> None:
    assert reasons(ranking(place, rank, here, elsewhere), 0) == said


@pytest.mark.parametrize(
    ("projects", "written", "said"),
    [
        (312, "written after `np.`", "60 % likely · written after `np.` in 312 other projects · moved up from 12th"),
        (1, "imported from `os`", "60 % likely · imported from `os` in 1 other project · moved up from 12th"),
        (0, "written after `np.`", "60 % likely · moved up from 12th"),
        (312, "", "60 % likely · moved up from 12th"),
    ],
)
def test_reasons_name_other_projects(projects: int, written: str, said: str) -> None:
    known = msgspec.structs.replace(ranking(12, 3, 0, 0), projects=[projects] * 30, written=written)
    assert reasons(known, 0) == said
