"""The Policy protocol, and the checks that keep a wrong observation from becoming a motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from robot_learning.contract import Contract, Stream
from robot_learning.errors import UserError


class ObservationError(UserError, ValueError):
    """An observation lacks a stream the policy needs, has another shape or type, or numbers that are not finite."""


class UnknownTaskError(UserError, KeyError):
    """An instruction the policy was not trained on."""

    def __str__(self) -> str:
        return str(self.args[0])


@runtime_checkable
class Policy(Protocol):
    """Turns observations into actions at the contract's control rate.

    Attributes:
        contract: the streams it reads (and only those), the action it writes, the rate it expects.
        tasks: the instructions it knows.
    """

    contract: Contract
    tasks: list[str]

    def reset(self) -> None:
        """Forget the episode so far; call it before each episode and after each pause."""

    def predict(self, observation: Mapping[str, np.ndarray], task: str) -> np.ndarray:
        """The action `(A,)` float32 in [-1, 1] for this control tick.

        Raises:
            ObservationError: a stream is missing or malformed.
            UnknownTaskError: `task` is not one of `tasks`.
        """


def check_observation(observation: Mapping[str, np.ndarray], contract: Contract, who: str = "the policy") -> None:
    """Check that `observation` holds every stream of `contract` as described there.

    Raises:
        ObservationError: names the stream, what was expected and what was found.
    """
    for key, stream in contract.observation.items():
        if key not in observation:
            raise ObservationError(f"{who} needs {key!r}, which the observation lacks; it has {sorted(observation)}")
        _check_stream(key, np.asarray(observation[key]), stream, who)


def _check_stream(key: str, value: np.ndarray, stream: Stream, who: str) -> None:
    if value.shape != stream.shape:
        raise ObservationError(
            f"{key}: {who} expects shape {stream.shape}, found {value.shape}; "
            f"give it what the checkpoint's contract.yaml describes (for a camera: its height and width)"
        )
    expected = np.dtype(stream.dtype)
    if (expected == np.uint8) != (value.dtype == np.uint8):
        raise ObservationError(f"{key}: {who} expects {expected}, found {value.dtype}; images are uint8, 0 to 255")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        bad = np.flatnonzero(~np.isfinite(value))
        names = [stream.names[i] if stream.names else str(i) for i in bad]
        raise ObservationError(f"{key}: not finite at {names}: {value.ravel()[bad].tolist()}; check that sensor")


def task_index(task: str, tasks: Sequence[str]) -> int:
    """The place of `task` among the known instructions (`UnknownTaskError` lists them)."""
    if task not in tasks:
        raise UnknownTaskError(f"this policy does not know the task {task!r}; it was trained on {list(tasks)}")
    return list(tasks).index(task)
