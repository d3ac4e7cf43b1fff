"""A playroom that shows the state of another one, perhaps in another process."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from robot_learning.contract import Contract
from robot_learning.envs.playroom import Playroom
from robot_learning.errors import UserError

STATE = int(
    mujoco.mjtState.mjSTATE_FULLPHYSICS | mujoco.mjtState.mjSTATE_MOCAP_POS | mujoco.mjtState.mjSTATE_MOCAP_QUAT
)
"""What makes two playrooms look alike: time (the first element), joint positions and velocities, furniture poses."""


class MirrorError(UserError, ValueError):
    """The state comes from another scene or another robot."""


def room_state(room: Playroom) -> np.ndarray:
    """The state `(N,)` float64 of a playroom, as `Mirror.show` takes it; element 0 is its time [s]."""
    state = np.empty(mujoco.mj_stateSize(room.model, STATE))
    mujoco.mj_getState(room.model, room.data, state, STATE)
    return state


class Mirror:
    """A playroom without a life of its own: `room` shows whatever state it is given.

    Demonstrator, success predicates and cameras read it like the original.
    """

    def __init__(self, contract: Contract) -> None:
        self.room = Playroom(contract)
        self._size = mujoco.mj_stateSize(self.room.model, STATE)

    def show(self, state: ArrayLike) -> None:
        """Take over the state `(N,)` of another playroom.

        Raises:
            MirrorError: it has another size, so it is the state of another scene or robot.
        """
        values = np.asarray(state, dtype=np.float64)
        if values.shape != (self._size,):
            raise MirrorError(
                f"expected the {self._size} numbers of a playroom with {self.room.contract.name!r}, found shape "
                f"{values.shape}; both sides need the same contract and the same version of the package"
            )
        mujoco.mj_setState(self.room.model, self.room.data, values, STATE)
        self.room.refresh()
