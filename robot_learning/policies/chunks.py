"""ActionChunks: overlapping chunks of actions blended into one stream."""

from __future__ import annotations

from collections import deque

import numpy as np


class ActionChunks:
    """Temporal ensemble of action chunks, indexed by control tick (after ACT, Zhao et al. 2023, section IV-B).

    A chunk holds the actions of the ticks `start, start + 1, ...`, where `start` is the tick whose observation it was
    computed from. A result that arrives late is added with its own `start`, and only its still future part acts.

    Args:
        decay: weight of a chunk `k` ticks old is `exp(-decay k)`: 0 averages all, large follows the newest only,
            negative trusts the oldest most (ACT's own choice is -0.01).
        limit: chunks whose `start` lies more than this many ticks back are ignored; None keeps their whole length.
    """

    def __init__(self, decay: float = 0.1, limit: int | None = None) -> None:
        self.decay, self.limit = decay, limit
        self._chunks: deque[tuple[int, np.ndarray]] = deque()

    def __len__(self) -> int:
        return len(self._chunks)

    def clear(self) -> None:
        """Forget every chunk."""
        self._chunks.clear()

    def add(self, start: int, chunk: np.ndarray) -> None:
        """Add the actions `(T, A)` planned from the observation of tick `start`."""
        if chunk.ndim != 2:
            raise ValueError(f"a chunk is (T, A), found shape {chunk.shape}")
        self._chunks.append((start, chunk))

    def action(self, tick: int) -> np.ndarray | None:
        """The blended action `(A,)` for `tick`, or None when no chunk reaches it; chunks that ended are dropped."""
        self._chunks = deque((s, c) for s, c in self._chunks if s + len(c) > tick)
        alive = [(s, c) for s, c in self._chunks if s <= tick and (self.limit is None or tick - s <= self.limit)]
        if not alive:
            return None
        exponents = np.array([-self.decay * (tick - start) for start, _ in alive])
        weights = np.exp(exponents - exponents.max())  # the largest is 1: a large decay leaves no sum of zeros
        actions = np.stack([chunk[tick - start] for start, chunk in alive])
        blended: np.ndarray = (weights / weights.sum()) @ actions
        return blended.astype(np.float32)
