"""Statistics of a feature: count, min, max, mean, standard deviation and quantiles; streaming and mergeable.

Mean and variance merge exactly (Chan, Golub and LeVeque 1979). Quantiles are kept as a summary of `LEVELS` points of the
distribution function; merging mixes the two distribution functions, so merged quantiles are close, not exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVELS = np.linspace(0.0, 1.0, 201)
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
MAX_SAMPLED_IMAGES = 32


@dataclass(frozen=True)
class Statistics:
    """Statistics over `count` rows of a feature with D elements.

    `min max mean std` are `(D,)` float64 (std of the population); `summary` `(201, D)` holds the quantiles at `LEVELS`.
    """

    count: int
    min: np.ndarray
    max: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    summary: np.ndarray

    @property
    def q01(self) -> np.ndarray:
        """The 1 % quantile, `(D,)`."""
        return self.quantile(0.01)

    @property
    def q99(self) -> np.ndarray:
        """The 99 % quantile, `(D,)`."""
        return self.quantile(0.99)

    def quantile(self, level: float) -> np.ndarray:
        """The quantile at `level` in [0, 1], `(D,)`."""
        return np.array([np.interp(level, LEVELS, column) for column in self.summary.T])

    @staticmethod
    def from_array(values: np.ndarray) -> Statistics:
        """Exact statistics of `values` `(N, ...)`, flattened to `(N, D)`.

        Raises:
            ValueError: there are no rows.
        """
        rows = np.asarray(values, dtype=np.float64)
        if not len(rows):
            raise ValueError("statistics need at least one row, found none")
        rows = rows.reshape(len(rows), -1)
        # "hazen" gives each row an equal share of the distribution, so that mixtures of small parts are not too narrow.
        summary = np.quantile(rows, LEVELS, axis=0, method="hazen")
        return Statistics(len(rows), rows.min(0), rows.max(0), rows.mean(0), rows.std(0), summary)

    @staticmethod
    def from_images(images: np.ndarray) -> Statistics:
        """Statistics of each colour channel of `images` `(N, H, W, C)` uint8, in [0, 1]; `count` is the number of images."""
        pixels = images.reshape(-1, images.shape[-1])
        parts = [_from_histogram(np.bincount(channel, minlength=256)) for channel in pixels.T]
        low, high, mean, std, summary = (np.stack(values, axis=-1) for values in zip(*parts, strict=True))
        return Statistics(len(images), low, high, mean, std, summary)

    def merge(self, other: Statistics) -> Statistics:
        """Statistics of both sets of rows together."""
        return merge([self, other])

    def to_dict(self, image: bool = False) -> dict[str, list[Any]]:
        """As LeRobot stores it; `image` gives every vector the shape `(C, 1, 1)`."""
        vectors = {"min": self.min, "max": self.max, "mean": self.mean, "std": self.std}
        vectors |= {name: self.quantile(level) for name, level in QUANTILES.items()}
        plain: dict[str, list[Any]] = {
            name: (v.reshape(-1, 1, 1) if image else v).tolist() for name, v in vectors.items()
        }
        plain["count"] = [self.count]
        return plain

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> Statistics:
        """From a LeRobot entry; quantiles between the stored ones are interpolated, absent ones taken from min and max.

        Raises:
            KeyError: min, max, mean, std or count is absent.
        """
        arrays = {name: np.asarray(value, dtype=np.float64).reshape(-1) for name, value in plain.items()}
        known = [name for name in QUANTILES if name in arrays]
        levels = [0.0, *(QUANTILES[name] for name in known), 1.0]
        points = np.stack([arrays["min"], *(arrays[name] for name in known), arrays["max"]])
        summary = np.stack([np.interp(LEVELS, levels, column) for column in points.T], axis=1)
        return Statistics(int(arrays["count"][0]), arrays["min"], arrays["max"], arrays["mean"], arrays["std"], summary)


def merge(parts: Iterable[Statistics]) -> Statistics:
    """Statistics of all the rows behind `parts` together.

    Raises:
        ValueError: there are no parts.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("nothing to merge")
    if len(parts) == 1:
        return parts[0]
    weights = np.array([part.count for part in parts], dtype=np.float64)
    weights /= weights.sum()
    mean = sum(w * p.mean for w, p in zip(weights, parts, strict=True))
    variance = sum(w * (p.std**2 + (p.mean - mean) ** 2) for w, p in zip(weights, parts, strict=True))
    return Statistics(
        sum(part.count for part in parts),
        np.min([part.min for part in parts], axis=0),
        np.max([part.max for part in parts], axis=0),
        np.asarray(mean),
        np.sqrt(variance),
        _mix(parts, weights),
    )


def _mix(parts: list[Statistics], weights: np.ndarray) -> np.ndarray:
    """Quantiles at `LEVELS` of the mixture of the parts' distributions, `(201, D)`."""
    columns = []
    for d in range(parts[0].summary.shape[1]):
        values = np.concatenate([part.summary[:, d] for part in parts])
        # Each summary point stands for an equal share of its part's rows; the end points for half a share.
        share = np.ones(len(LEVELS))
        share[[0, -1]] = 0.5
        mass = np.concatenate([w * share / share.sum() for w in weights])
        order = np.argsort(values, kind="stable")
        values, mass = values[order], mass[order]
        middle = np.cumsum(mass) - mass / 2
        column = np.interp(LEVELS, middle, values)
        column[0], column[-1] = values[0], values[-1]
        columns.append(column)
    return np.stack(columns, axis=1)


def _from_histogram(counts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Min, max, mean, std and summary of 8-bit values in [0, 1] from how often each of the 256 occurs."""
    levels, total = np.arange(256) / 255.0, counts.sum()
    present = np.flatnonzero(counts)
    mean = (levels * counts).sum() / total
    std = np.sqrt((counts * (levels - mean) ** 2).sum() / total)
    ranks = np.minimum(np.searchsorted(np.cumsum(counts), LEVELS * (total - 1), side="right"), 255)
    return levels[present[0]], levels[present[-1]], mean, std, levels[ranks]


def sample_rows(length: int, limit: int = MAX_SAMPLED_IMAGES) -> np.ndarray:
    """Evenly spaced row numbers, at most `limit`, that always include the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, limit)).round().astype(np.int64))
