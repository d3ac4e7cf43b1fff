"""A clone that gives up an attempt that takes too long, goes back and tries again; see control/retries.py."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.contract import STATE
from robot_learning.control.retries import Retries
from robot_learning.policies.checkpoint import CheckpointError, load_policy
from robot_learning.policies.chunk_policy import ChunkPolicy


class Retrying:
    """A clone with retries, as a `Policy`.

    Raises:
        CheckpointError: the policy does not know how long an attempt takes.
    """

    def __init__(self, policy: ChunkPolicy, where: str = "the policy") -> None:
        self.policy, self.contract, self.tasks = policy, policy.contract, policy.tasks
        self._retries = retries_of(policy, where)

    def reset(self) -> None:
        """Forget the episode so far."""
        self.policy.reset()
        self._retries.reset()

    def predict(self, observation: Mapping[str, np.ndarray], task: str) -> np.ndarray:
        """See `Policy.predict`."""
        was_retreating = self._retries.is_retreating
        action = self._retries.action(observation[STATE], task)
        if action is not None:
            return action
        if was_retreating:  # plans made before the way back are void
            self.policy.reset()
        return self.policy.predict(observation, task)


def retries_of(policy: Any, where: str, before: Retries | None = None) -> Retries:
    """Fresh retries for a policy, which may take over what those `before`, of the same robot, know of it.

    Raises:
        CheckpointError: it does not know how long an attempt takes.
    """
    plan = policy.retry_plan if isinstance(policy, ChunkPolicy) else None
    if plan is None:
        raise CheckpointError(
            f"{where}: expected a clone that knows how long its attempts may take, found none; train it again with this version "
            "(robot-learning train bc), for a robot whose state has the tool's pose, or leave retries out"
        )
    return Retries(plan, policy.contract, before.wrist if before else None)


def load_retrying(path: str | Path) -> Retrying:
    """The policy of a checkpoint with retries.

    Raises:
        CheckpointError: there is none, or it knows nothing of retries.
    """
    policy: Any = load_policy(path)
    return Retrying(policy, f"checkpoint {path}")


def loader(path: str | Path, retry: bool) -> Any:
    """What `evaluate` and `film` take: the checkpoint itself, or a function that makes it a policy with retries."""
    return partial(load_retrying, path) if retry else path
