import numpy as np
import pytest

from robot_learning.policies import Normalizer, StatisticsError

COLUMN = np.random.default_rng(0).normal(3.0, 2.0, (1000, 2)).astype(np.float32)


def test_the_data_becomes_standard() -> None:
    standard = Normalizer.fit({"x": COLUMN}).normalize("x", COLUMN)
    np.testing.assert_allclose([standard.mean(0), standard.std(0)], [[0, 0], [1, 1]], atol=1e-4)


def test_restore_reverses_normalize() -> None:
    normalizer = Normalizer.fit({"x": COLUMN})
    np.testing.assert_allclose(normalizer.restore("x", normalizer.normalize("x", COLUMN)), COLUMN, atol=1e-5)


def test_an_element_that_never_moved_does_not_amplify_noise() -> None:
    normalizer = Normalizer.fit({"x": np.full((10, 1), 5.0)})
    assert abs(normalizer.normalize("x", np.array([5.001])))[0] < 0.2


def test_it_survives_plain_data() -> None:
    normalizer = Normalizer.fit({"x": COLUMN})
    again = Normalizer.from_dict(normalizer.to_dict())
    np.testing.assert_array_equal(again.scale["x"], normalizer.scale["x"])


@pytest.mark.parametrize("data", [[], {"x": 1}, {"x": {"mean": [0.0]}}, {"x": {"mean": [0.0], "scale": [0.0]}}])
def test_malformed_statistics_are_refused(data: object) -> None:
    with pytest.raises(StatisticsError):
        Normalizer.from_dict(data)
