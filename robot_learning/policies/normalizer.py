"""Normalizer: mean and scale of each vector, kept in the checkpoint so that no caller can forget or swap them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_learning.errors import UserError

MIN_SCALE = 1e-2  # an element that hardly moved in the data must not amplify sensor noise


class StatisticsError(UserError, ValueError):
    """Statistics are missing, malformed or not finite."""


class Normalizer:
    """Standardises vectors by key: `(value - mean) / scale`, both `(n,)` float32."""

    def __init__(self, mean: Mapping[str, np.ndarray], scale: Mapping[str, np.ndarray]) -> None:
        self.mean = {k: np.asarray(v, np.float32) for k, v in mean.items()}
        self.scale = {k: np.asarray(v, np.float32) for k, v in scale.items()}
        for key in self.mean:
            if key not in self.scale or self.mean[key].shape != self.scale[key].shape:
                raise StatisticsError(f"statistics of {key!r}: mean and scale must have the same shape")
            if not (np.isfinite(self.mean[key]).all() and np.isfinite(self.scale[key]).all()):
                raise StatisticsError(f"statistics of {key!r} are not finite; look for NaN with `dataset check`")
            if (self.scale[key] <= 0).any():
                raise StatisticsError(f"statistics of {key!r}: every scale must be positive")

    @staticmethod
    def fit(columns: Mapping[str, np.ndarray]) -> Normalizer:
        """Mean and standard deviation over the rows of each column `(N, n)`."""
        mean = {k: v.mean(axis=0, dtype=np.float64) for k, v in columns.items()}
        return Normalizer(mean, {k: np.maximum(v.std(axis=0, dtype=np.float64), MIN_SCALE) for k, v in columns.items()})

    def extended(self, key: str, mean: np.ndarray, deviation: np.ndarray) -> Normalizer:
        """With one more key, of any shape that broadcasts with its values."""
        scale = np.maximum(deviation, MIN_SCALE)
        return Normalizer({**self.mean, key: mean}, {**self.scale, key: scale})

    def normalize(self, key: str, value: np.ndarray) -> np.ndarray:
        """`(..., n)` in units of the data -> float32 in standard deviations."""
        out: np.ndarray = ((value - self.mean[key]) / self.scale[key]).astype(np.float32)
        return out

    def restore(self, key: str, value: np.ndarray) -> np.ndarray:
        """Reverse of `normalize`."""
        out: np.ndarray = (value * self.scale[key] + self.mean[key]).astype(np.float32)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: `{key: {"mean": [...], "scale": [...]}}`."""
        return {k: {"mean": self.mean[k].tolist(), "scale": self.scale[k].tolist()} for k in self.mean}

    @staticmethod
    def from_dict(data: Any) -> Normalizer:
        """Reverse of `to_dict` (`StatisticsError` if malformed)."""
        try:
            return Normalizer({k: v["mean"] for k, v in data.items()}, {k: v["scale"] for k, v in data.items()})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, StatisticsError):
                raise
            raise StatisticsError(f"expected {{key: {{mean: [...], scale: [...]}}}}: {error}") from error
