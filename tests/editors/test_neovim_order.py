"""Comparators for nvim-cmp and blink.cmp, run by a real Neovim over entries of the shapes that those plugins pass."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.editors.test_neovim import find_nvim

pytestmark = pytest.mark.nvim

HERE = Path(__file__).parent
RUNTIME = HERE.parent.parent / "starling_lsp" / "nvim"
STARLINGS = ["better match", "first", "second", "third"]  # a better match first, then by sortText


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> dict:
    home = str(tmp_path_factory.mktemp("home"))
    done = subprocess.run(
        [find_nvim(), "--headless", "--clean", "-S", str(HERE / "compare.lua")],
        env={**os.environ, "HOME": home, "XDG_STATE_HOME": home, "STARLING_RUNTIME": str(RUNTIME)},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return json.loads(done.stdout)


def test_nvim_cmp_takes_starlings_order_where_matches_tie(orders: dict) -> None:
    assert orders["cmp"][:4] == STARLINGS


def test_nvim_cmps_other_entries_keep_their_own_order(orders: dict) -> None:
    assert orders["cmp_others"] == [True, True]
    assert orders["cmp"][4:] == ["other", "word"]  # by what was used last


def test_nvim_cmp_sorts_the_same_from_any_start(orders: dict) -> None:
    assert orders["cmp_reversed"] == orders["cmp"]


def test_nvim_cmps_comparators_get_starlings_behind_score(orders: dict) -> None:
    assert orders["comparators"] == [3, 4, True, True, True]


def test_blink_takes_starlings_order_where_matches_tie(orders: dict) -> None:
    assert orders["blink"][:4] == STARLINGS
    assert set(orders["blink"][4:]) == {"other", "word"}
    assert orders["blink_reversed"][:4] == STARLINGS


def test_blink_adds_no_points_of_its_own(orders: dict) -> None:
    assert orders["blink_fuzzy"] == [False, False, True]
