"""What a policy saw in training, and what it sees now that lies outside of that: a wrong unit, another home, a joint wound up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_learning.contract import Contract
from robot_learning.policies.normalizer import Normalizer, StatisticsError

MARGIN = (
    0.5  # beyond the range of training data, as a share of it: a few demonstrations leave room between and about them
)
LONG = 10  # ticks in a row


class Familiar:
    """Between which values each element of each vector lay in the training data: `low` and `high` by key, `(n,)` each.

    Raises:
        StatisticsError: the two do not fit together, or are not finite.
    """

    def __init__(self, low: Mapping[str, np.ndarray], high: Mapping[str, np.ndarray]) -> None:
        self.low = {key: np.asarray(value, np.float32) for key, value in low.items()}
        self.high = {key: np.asarray(value, np.float32) for key, value in high.items()}
        for key, value in self.low.items():
            if key not in self.high or value.shape != self.high[key].shape:
                raise StatisticsError(f"ranges of {key!r}: expected as many highest values as lowest")
            if not (np.isfinite(value).all() and np.isfinite(self.high[key]).all()):
                raise StatisticsError(f"ranges of {key!r} are not finite; look for NaN with `dataset check`")

    @staticmethod
    def of(vectors: Mapping[str, np.ndarray]) -> Familiar:
        """The ranges over the rows of each column `(N, n)`."""
        return Familiar({k: v.min(axis=0) for k, v in vectors.items()}, {k: v.max(axis=0) for k, v in vectors.items()})

    def joined(self, other: Familiar) -> Familiar:
        """What either has seen."""
        return Familiar(
            {k: np.minimum(v, other.low.get(k, v)) for k, v in self.low.items()},
            {k: np.maximum(v, other.high.get(k, v)) for k, v in self.high.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: `{key: [low, high]}`."""
        return {key: [self.low[key].tolist(), self.high[key].tolist()] for key in self.low}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Familiar:
        """Reverse of `to_dict` (`StatisticsError` if malformed)."""
        try:
            return Familiar({k: v[0] for k, v in data.items()}, {k: v[1] for k, v in data.items()})
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, StatisticsError):
                raise
            raise StatisticsError(f"ranges: expected {{key: [lowest values, highest values]}}: {error}") from error

    def require(self, normalizer: Normalizer) -> None:
        """Check that it is of the vectors that `normalizer` knows. Raises `StatisticsError` where not."""
        found = {key: value.shape for key, value in self.low.items()}
        expected = {key: value.shape for key, value in normalizer.mean.items() if key != "action"}
        if found != expected:
            raise StatisticsError(
                f"ranges: expected those of {expected}, found {found}; copy or train the checkpoint again"
            )

    def strange(self, key: str, value: np.ndarray) -> np.ndarray:
        """Which elements of a vector `(n,)` are well outside of what was seen, `(n,)` bool."""
        low, high = self.low[key], self.high[key]
        margin = MARGIN * (high - low) + 1e-3  # an element that never moved is no more exact than this
        outside: np.ndarray = (value < low - margin) | (value > high + margin)
        return outside


class StrangerWatch:
    """Tells of elements that stay outside of all that a policy saw in training.

    Args:
        familiar: what it saw; None: it does not know, and nothing is told.
        selected: for each vector, the indices of the elements that count.

    Attributes:
        found: the value of each such element, by its name, after the last `look`.
    """

    def __init__(self, familiar: Familiar | None, contract: Contract, selected: Mapping[str, list[int]]) -> None:
        self._familiar = familiar
        self._selected = {key: np.array(chosen) for key, chosen in selected.items() if chosen}
        self._names = {key: contract.observation[key].names for key in self._selected}
        self._ticks = {key: np.zeros(len(chosen), int) for key, chosen in self._selected.items()}
        self.found: dict[str, float] = {}
        self._shown: dict[str, str] = {}

    @property
    def told(self) -> str:
        """What is to be said now, of one of them, without what changes from tick to tick; empty: nothing."""
        first = next(iter(self.found), "")
        return f"{first} is well outside of {self._shown[first]}" if first else ""

    def say(self, element: str) -> str:
        """What is to be said of an element of `found`, with its value now."""
        return f"{element} is {self.found[element]:.2f}, well outside of {self._shown[element]}"

    def look(self, observation: Mapping[str, np.ndarray]) -> None:
        """At each control tick."""
        self.found = {}
        if self._familiar is None:
            return
        for key, chosen in self._selected.items():
            value, low, high = observation[key], self._familiar.low[key], self._familiar.high[key]
            self._ticks[key] = np.where(self._familiar.strange(key, value)[chosen], self._ticks[key] + 1, 0)
            for i in chosen[self._ticks[key] >= LONG]:
                name = self._names[key][i]
                self.found[name] = float(value[i])
                self._shown[name] = f"all that the policy was shown ({low[i]:.2f} to {high[i]:.2f})"
