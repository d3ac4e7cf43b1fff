"""ChunkPlayer: which action of the planned chunks is due at a control tick, also when plans come late or not at all."""

from __future__ import annotations

from collections import deque

import numpy as np

from robot_learning.policies.chunks import ActionChunks


class ChunkPlayer:
    """Plays the blended chunks of one episode, tick by tick.

    Args:
        width: number of elements of an action.
        displacements: plans are sums of actions from their first tick on. They are blended as places to be at each tick, so
            that the noise of single steps does not add up, and an action goes from where the actions played so far led.
        decay, limit: see `ActionChunks`.
    """

    def __init__(self, width: int, displacements: bool, decay: float, limit: int | None) -> None:
        self.width, self.displacements = width, displacements
        self._chunks = ActionChunks(decay, limit)
        self._places: deque[tuple[int, np.ndarray]] = deque()  # (tick, sum of the actions before it), oldest first
        self.reset()

    def reset(self) -> None:
        """Forget the episode so far."""
        self._chunks.clear()
        self._places.clear()
        self._places.append((0, np.zeros(self.width, np.float32)))

    def add(self, tick: int, plan: np.ndarray) -> None:
        """Add the plan `(T, A)` computed from the observation of `tick`, now or some ticks later."""
        self._chunks.add(tick, plan + self._place(tick) if self.displacements else plan)
        while len(self._places) > 1 and self._places[1][0] < tick - len(plan):
            self._places.popleft()

    def action(self, tick: int) -> np.ndarray | None:
        """The action `(A,)` in [-1, 1] of `tick`, or None when no plan reaches it. Ticks never go back, some may be left out."""
        blended = self._chunks.action(tick)
        if blended is None:
            return None
        place = self._place(tick)
        action: np.ndarray = np.clip(blended - place if self.displacements else blended, -1.0, 1.0)
        self._places.append((tick + 1, place + action))
        return action

    def carried_out(self, tick: int, action: np.ndarray) -> None:
        """What was really done at `tick` `(A,)`, where that is not what `action` said: plans then lead on from there."""
        self._places.append((tick + 1, self._place(tick) + action.astype(np.float32)))

    def _place(self, tick: int) -> np.ndarray:
        """The sum of the actions played before `tick`; a tick left out moved nothing."""
        return next((place for since, place in reversed(self._places) if since <= tick), self._places[0][1])
