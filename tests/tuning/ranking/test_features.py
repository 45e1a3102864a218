"""Columns of a list that do not come from elsewhere."""

import numpy as np

from tuning.ranking.features import reciprocal_places


def test_places_are_those_of_the_sorted_list_and_equals_share_the_better() -> None:
    places = reciprocal_places(np.array([0.1, 5.0, 0.1, 3.0]))
    assert places.tolist() == [1 / 3, 1.0, 1 / 3, 0.5]
    assert reciprocal_places(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    assert reciprocal_places(np.zeros(0)).tolist() == []
