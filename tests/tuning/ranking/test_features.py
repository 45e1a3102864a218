"""Columns of a list that do not come from elsewhere."""

import numpy as np

from tuning.ranking.blend import Blend
from tuning.ranking.features import MODEL, SIGNALS, reciprocal_places, with_model


def test_places_are_those_of_the_sorted_list_and_equals_share_the_better() -> None:
    places = reciprocal_places(np.array([0.1, 5.0, 0.1, 3.0]))
    assert places.tolist() == [1 / 3, 1.0, 1 / 3, 0.5]
    assert reciprocal_places(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    assert reciprocal_places(np.zeros(0)).tolist() == []


def test_the_blend_never_falls_as_the_models_score_rises() -> None:
    """What best-first search relies on: an upper bound of the model's score is one of the blended score."""
    weights = Blend.load().model[len(SIGNALS) :]
    assert len(weights) == len(MODEL)
    assert (weights >= 0).all()
    matrix = np.zeros((3, len(SIGNALS)))
    low, high = (with_model(matrix, np.array([score, -2.0, -3.0])) for score in (-5.0, -1.0))
    assert (Blend.load().scores(high)[0] - Blend.load().scores(high)[1]) > (
        Blend.load().scores(low)[0] - Blend.load().scores(low)[1]
    )
