import numpy as np
import pytest

from tuning.ranking.evaluating.calibration import calibration_error, error_by_chance


def drawn(count: int, less: float = 0.0) -> list[tuple[float, bool]]:
    generator = np.random.default_rng(0)
    return [(p, bool(generator.random() < p - less)) for p in generator.uniform(0.3, 1, count).tolist()]


def test_exact_p_has_no_error_on_many_lists() -> None:
    assert calibration_error(drawn(20_000)) < 0.02
    assert error_by_chance(drawn(20_000)) < 0.02


def test_p_that_is_too_high_shows() -> None:
    assert calibration_error([(0.9, False)] * 10) == pytest.approx(0.9)
    assert calibration_error(drawn(20_000, less=0.1)) == pytest.approx(0.1, abs=0.02)


def test_few_lists_show_an_error_where_there_is_none() -> None:
    assert error_by_chance(drawn(100)) > 0.05
    assert calibration_error(drawn(100)) == pytest.approx(error_by_chance(drawn(100)), abs=0.05)


def test_no_lists_have_no_error() -> None:
    assert calibration_error([]) == error_by_chance([]) == 0
