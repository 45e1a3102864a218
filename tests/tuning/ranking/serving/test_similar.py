"""Files like one, by the rare names that both have, and what else those have."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from corpus.syntax.tokens import U32, hash_names, name_ids, tokenize
from tuning.ranking.serving.index.similar import NamesOfFiles

COMMON = "import os\nimport sys\n"
SHOPS = [COMMON + f"from shop import Till, Drawer\nclass Shop{n}: pass\n" for n in range(3)]
SEAS = [COMMON + f"from sea import Ship, Harbour\nclass Sea{n}: pass\n" for n in range(9)]


def ids(text: str) -> U32:
    return tokenize(text.encode()).ids()


def columns(own: str, files: list[str], names: list[str]) -> dict[str, list[float]]:
    found = NamesOfFiles([ids(file) for file in files]).like(ids(own)).columns(name_ids(hash_names(names)))
    return {column: values.tolist() for column, values in found.items()}


def test_a_name_of_files_like_this_one_stands_out() -> None:
    found = columns(COMMON + "from shop import Till\n", SHOPS + SEAS, ["Drawer", "Harbour", "os", "nowhere"])
    best, lift = found["similar_best"], found["similar_lift"]
    assert best[0] > 10 * best[1]
    assert lift[0] > 1 > 0 > lift[1]
    assert abs(lift[2]) < 0.01  # what all have says nothing
    assert (best[3], lift[3]) == (0, 0)


def test_a_copy_of_a_file_is_as_like_it_as_can_be() -> None:
    assert columns(SHOPS[0], SHOPS + SEAS, ["Shop0"])["similar_best"][0] > 0.98


def test_no_files_and_an_empty_file() -> None:
    assert columns("", [], ["Till"]) == {"similar_best": [0], "similar_lift": [0]}
    assert columns("", SHOPS, ["Till"])["similar_best"] == [0]


TEXTS = st.lists(st.text(alphabet="ab \n.", max_size=20), max_size=5)


@given(TEXTS, st.text(alphabet="ab \n.", max_size=20))
def test_every_figure_is_a_number(files: list[str], own: str) -> None:
    found = columns(own, files, ["a", "b", "ab", ""])
    assert np.isfinite(list(found.values())).all()
    assert all(0 <= best <= 1 for best in found["similar_best"])
