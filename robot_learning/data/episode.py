"""Episode: one recorded attempt at a task, as arrays over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Episode:
    """One episode of T frames.

    Attributes:
        task: the instruction in plain words, e.g. "open the drawer".
        frames: arrays `(T, ...)` by feature key. Row t holds the observation at t, the action taken at t, and the
            `next.reward`, `next.done` and `next.success` that resulted from it.
        success: whether the attempt reached its goal.
        info: anything else worth keeping (seed, operator, interventions), JSON-serialisable.
    """

    task: str
    frames: dict[str, np.ndarray]
    success: bool = False
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.frames.values())))


@dataclass(frozen=True)
class Segment:
    """A stretch of one task: frames `start` to `end` (exclusive, global numbers) of an episode, and whether it was done."""

    episode: int
    start: int
    end: int
    task: str
    success: bool
