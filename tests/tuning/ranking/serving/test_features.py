"""Columns of a list that do not come from elsewhere."""

import numpy as np

from tuning.ranking.serving.blend import Blend
from tuning.ranking.serving.features import MODEL, SIGNALS, reciprocal_places, with_model


def test_places_are_those_of_the_sorted_list_and_equals_share_the_better() -> None:
    places = reciprocal_places(np.array([0.1, 5.0, 0.1, 3.0]))
    assert places.tolist() == [1 / 3, 1.0, 1 / 3, 0.5]
    assert reciprocal_places(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    assert reciprocal_places(np.zeros(0)).tolist() == []


def test_the_blend_never_falls_as_the_models_score_rises() -> None:
    """What best-first search relies on: an upper bound of the model's score is one of the blended score."""
    blend = Blend.load()
    matrix = np.zeros((3, len(SIGNALS)))
    low, high = (with_model(matrix, np.array([score, -2.0, -3.0])) for score in (-5.0, -1.0))
    for kind, weights in blend.model.items():
        assert len(weights) == len(SIGNALS + MODEL)
        assert (weights[len(SIGNALS) :] >= 0).all()
        gap = {name: blend.scores(columns, kind) for name, columns in (("low", low), ("high", high))}
        assert gap["high"][0] - gap["high"][1] > gap["low"][0] - gap["low"][1]
