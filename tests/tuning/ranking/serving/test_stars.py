"""What a probability is worth in stars."""

from __future__ import annotations

import numpy as np
import pytest

from tuning.ranking.evaluating.calibration import by_stars
from tuning.ranking.serving.stars import STARRED, THRESHOLDS, ratings


def test_a_threshold_itself_has_the_star() -> None:
    p = np.array([0.0, 0.049, 0.05, 0.2, 0.49, 0.5, 0.7, 0.9, 1.0])
    assert ratings(p) == [0, 0, 1, 2, 2, 3, 4, 5, 5]


def test_a_marked_name_is_likelier_than_all_others_together() -> None:
    assert THRESHOLDS[STARRED - 1] >= 0.5


def test_how_often_each_count_of_stars_is_right() -> None:
    found = by_stars([(0.95, True), (0.92, False), (0.6, True)])
    assert found == {3: (1, 1.0), 5: (2, pytest.approx(0.5))}
