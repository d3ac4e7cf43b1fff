"""Way: which of several plans a policy follows, so that it does not change its mind from tick to tick."""

from __future__ import annotations

import numpy as np

KEEP = 1.0  # log probability that a plan one standard deviation further from the one before must make up for


class Way:
    """Of the plans that a mixture offers, the most probable, unless another goes on better with what was planned before.

    There is more than one way to do most tasks, and a policy that takes the most probable plan of each tick mixes them: the first
    half of one, the second of another. Each plan's log probability is therefore lowered by how far it is from the rest of the
    plan before, as a mean over the ticks that both reach.

    Args:
        scale: standard deviation of each step of a plan `(T, A)`. displacements: plans are sums of actions from their first on.
        keep: see `KEEP`; 0: the most probable plan.
    """

    def __init__(self, scale: np.ndarray, displacements: bool, keep: float = KEEP) -> None:
        self._scale, self._displacements, self._keep = scale, displacements, keep
        self.reset()

    def reset(self) -> None:
        """Forget what was planned before."""
        self._tick, self._plan = 0, np.zeros((0, self._scale.shape[1]), np.float32)

    def choose(self, log_probabilities: np.ndarray, plans: np.ndarray, tick: int) -> np.ndarray:
        """The plan `(T, A)` to follow of plans `(K, T, A)` with log probabilities `(K,)`, made at a control tick."""
        rest = self._rest(tick - self._tick)
        score = log_probabilities
        if len(rest):
            far = np.abs(plans[:, : len(rest)] - rest) / self._scale[: len(rest)]
            score = log_probabilities - self._keep * far.mean(axis=(1, 2))
        self._tick, self._plan = tick, plans[int(np.argmax(score))]
        return self._plan

    def _rest(self, ticks: int) -> np.ndarray:
        """What the plan of before says for the ticks from now on, so many ticks later."""
        if not 0 < ticks < len(self._plan):
            return self._plan[:0]
        rest = self._plan[ticks:]
        return rest - self._plan[ticks - 1] if self._displacements else rest
