"""Which tasks are done, read off recorded `observation.environment_state`: to relabel play without simulating it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from robot_learning.contract import ENVIRONMENT_STATE
from robot_learning.envs.furnishing import DOOR_CLOSED, DOOR_OPEN, DRAWER_CLOSED, DRAWER_OPEN
from robot_learning.envs.observation import ENVIRONMENT_STATE_NAMES
from robot_learning.envs.playroom import PRESSED

SuccessFunction = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def _joint(name: str, done: Callable[[np.ndarray], np.ndarray]) -> SuccessFunction:
    column = ENVIRONMENT_STATE_NAMES.index(f"{name}.pos")
    return lambda frames: done(frames[ENVIRONMENT_STATE][:, column])


STATE_SUCCESS: dict[str, SuccessFunction] = {
    "open_drawer": _joint("drawer", lambda x: x > DRAWER_OPEN),
    "close_drawer": _joint("drawer", lambda x: x < DRAWER_CLOSED),
    "open_sliding": _joint("door", lambda x: x > DOOR_OPEN),
    "close_sliding": _joint("door", lambda x: x < DOOR_CLOSED),
    **{f"push_{c}_button": _joint(f"button_{c}", lambda x: x > PRESSED) for c in ("red", "green", "blue")},
}
"""By task name, frames `(T, ...)` by key to `(T,)` bool. The block's tasks need the desk's place, which is not recorded."""
