from __future__ import annotations

import numpy as np
import pytest

from robot_learning.data.statistics import Statistics, merge, sample_rows


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.normal(3, 2, 4000), rng.exponential(1, 4000), rng.uniform(-1, 1, 4000)], axis=1)


def test_exact_on_one_array(rows: np.ndarray) -> None:
    stats = Statistics.from_array(rows)
    np.testing.assert_allclose(stats.mean, rows.mean(0))
    np.testing.assert_allclose(stats.std, rows.std(0))
    np.testing.assert_allclose(stats.q01, np.quantile(rows, 0.01, axis=0, method="hazen"))
    np.testing.assert_allclose(stats.q99, np.quantile(rows, 0.99, axis=0, method="hazen"))
    assert (stats.min == rows.min(0)).all() and (stats.max == rows.max(0)).all()


def test_merging_parts_of_any_size(rows: np.ndarray) -> None:
    parts = np.split(rows, [100, 150, 1900, 3999])
    merged = merge([Statistics.from_array(part) for part in parts])
    np.testing.assert_allclose(merged.mean, rows.mean(0))
    np.testing.assert_allclose(merged.std, rows.std(0))
    assert merged.count == 4000
    spread = rows.std(0)
    for level in (0.01, 0.1, 0.5, 0.9, 0.99):
        assert (np.abs(merged.quantile(level) - np.quantile(rows, level, axis=0)) < 0.05 * spread).all(), level


def test_merging_one_by_one_stays_close(rows: np.ndarray) -> None:
    merged = Statistics.from_array(rows[:40])
    for start in range(40, 4000, 40):
        merged = merged.merge(Statistics.from_array(rows[start : start + 40]))
    np.testing.assert_allclose(merged.std, rows.std(0))
    for level in (0.01, 0.5, 0.99):
        assert (np.abs(merged.quantile(level) - np.quantile(rows, level, axis=0)) < 0.15 * rows.std(0)).all(), level


def test_merged_parts_that_do_not_overlap() -> None:
    merged = Statistics.from_array(np.zeros((300, 1))).merge(Statistics.from_array(np.full((100, 1), 10.0)))
    assert merged.quantile(0.5) == 0 and merged.quantile(0.9) == 10
    assert merged.mean == 2.5


def test_images_per_channel_in_unit_range() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 9, 3), dtype=np.uint8)
    images[..., 2] = 51
    stats, pixels = Statistics.from_images(images), images.reshape(-1, 3) / 255
    np.testing.assert_allclose(stats.mean, pixels.mean(0))
    np.testing.assert_allclose(stats.std, pixels.std(0), atol=1e-12)
    np.testing.assert_allclose(stats.quantile(0.5), np.quantile(pixels, 0.5, axis=0), atol=1 / 255)
    assert stats.count == 5 and stats.min[2] == stats.max[2] == pytest.approx(0.2)


def test_dict_round_trip(rows: np.ndarray) -> None:
    stats = Statistics.from_array(rows)
    again = Statistics.from_dict(stats.to_dict())
    for name in ("mean", "std", "min", "max", "q01", "q99"):
        np.testing.assert_array_equal(getattr(again, name), getattr(stats, name))
    assert np.shape(stats.to_dict(image=True)["mean"]) == (3, 1, 1)


def test_no_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        Statistics.from_array(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="nothing to merge"):
        merge([])


@pytest.mark.parametrize(("length", "expected"), [(1, [0]), (3, [0, 1, 2]), (9, [0, 2, 4, 6, 8])])
def test_sample_rows(length: int, expected: list[int]) -> None:
    assert sample_rows(length, 5).tolist() == expected
