"""A playroom put back into the state that a dataset recorded, so that it can be asked what was true in each frame."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import mujoco
import numpy as np

from robot_learning.contract import STATE, Contract
from robot_learning.envs.observation import ENVIRONMENT_STATE_NAMES
from robot_learning.envs.playroom import COLOURS, FURNITURE_JOINTS, PRESSED, Playroom
from robot_learning.envs.tasks import task as task_named
from robot_learning.errors import UserError

NUDGES = tuple(itertools.product((-1.0, 1.0), repeat=3))
"""Signs of small changes: of the joints and the block's heading, of the block's x, of its y; its height goes with the first."""
HEADING = np.deg2rad(5)  # how far the block's heading is nudged [rad]
_LANDMARKS = {
    "desk": "drawer_handle",
    "shelf": "shelf_inside",
}  # by furniture part, a point of it whose place is recorded


class RecordedStateError(UserError, ValueError):
    """The recorded state is not that of this playroom."""


class RecordedRoom:
    """A playroom that is shown frames of `observation.state` and `observation.environment_state`.

    Objects, furniture joints, desk and shelf stand where they stood, up to float32; arm, gripper, buttons' panel and the
    block's turn about its own axis are not restored, as no task's success depends on them.

    Raises:
        RecordedStateError: the contract has no tool position in its state, or no simulation.
    """

    def __init__(self, contract: Contract) -> None:
        self.room = Playroom(contract)
        names = list(contract.observation[STATE].names)
        wanted = ["tcp.x", "tcp.y", "tcp.z"]
        if not set(wanted) <= set(names):
            raise RecordedStateError(f"{STATE}: expected the elements {wanted}, found {names}")
        self._tcp = [names.index(name) for name in wanted]
        self._column = {name: index for index, name in enumerate(ENVIRONMENT_STATE_NAMES)}

    def show(self, state: np.ndarray, environment_state: np.ndarray) -> None:
        """Put the room into the state of one frame: `(S,)` and `(33,)` float32.

        Raises:
            RecordedStateError: the object state has another size, so another scene recorded it.
        """
        if environment_state.shape != (len(ENVIRONMENT_STATE_NAMES),):
            raise RecordedStateError(
                f"environment_state: expected {len(ENVIRONMENT_STATE_NAMES)} elements, found shape {environment_state.shape}"
            )
        values = environment_state.astype(np.float64)
        tcp = state[self._tcp].astype(np.float64)
        for joint in FURNITURE_JOINTS:
            self.room.set_joint(joint, values[self._column[f"{joint}.pos"]])
        self._place_block(tcp + self._vector(values, "block", "{}_from_tcp"), self._vector(values, "block", "axis_{}"))
        for part in _LANDMARKS:
            cos, sin = (values[self._column[f"{part}.{function}_yaw"]] for function in ("cos", "sin"))
            self.room.place(part, 0.0, 0.0, float(np.arctan2(sin, cos)))
        self._kinematics()
        for part, site in _LANDMARKS.items():
            offset = tcp + self._vector(values, site, "{}_from_tcp") - self.room.site(site)
            self.room.place(part, offset[0], offset[1], self.room.pose(part)[1])
        self._kinematics()

    def answers(
        self, states: np.ndarray, environment_states: np.ndarray, tasks: Sequence[str], tolerance: float = 0.0
    ) -> np.ndarray:
        """Whether each task is done in each frame, `(T, n)` int8 (1 yes, 0 no), from `(T, S)` and `(T, 33)`.

        With a `tolerance` [m], -1 where things that far elsewhere would have turned the answer: no picture tells that.

        Raises:
            UnknownTaskError: there is no such task. RecordedStateError: another scene recorded it.
        """
        predicates = [task_named(name).success for name in tasks]
        done = np.zeros((len(states), len(tasks)), np.int8)
        for row, (state, environment_state) in enumerate(zip(states, environment_states, strict=True)):
            self.show(state, environment_state)
            done[row] = [predicate(self.room) for predicate in predicates]
            for joints, *block in NUDGES if tolerance else ():
                self._nudge(state, environment_state, joints, np.array([*block, joints]), tolerance)
                nudged = np.array([predicate(self.room) for predicate in predicates])
                done[row] = np.where(done[row] == nudged, done[row], -1)
        return done

    def _nudge(
        self, state: np.ndarray, environment_state: np.ndarray, joints: float, block: np.ndarray, tolerance: float
    ) -> None:
        """Move everything a little from where it was recorded: joints, and the block by `tolerance`, half as much in height."""
        values = environment_state.astype(np.float64)
        buttons = {f"button_{colour}" for colour in COLOURS}
        for joint in FURNITURE_JOINTS:
            # the lamp shows whether a button is down, so that a few mm of its travel are plain to see
            step = min(tolerance, 0.1 * PRESSED) if joint in buttons else tolerance
            self.room.set_joint(joint, values[self._column[f"{joint}.pos"]] + joints * step)
        position = state[self._tcp].astype(np.float64) + self._vector(values, "block", "{}_from_tcp")
        axis = self._vector(values, "block", "axis_{}")
        turn = joints * HEADING
        cos, sin = np.cos(turn), np.sin(turn)
        turned = np.array([cos * axis[0] - sin * axis[1], sin * axis[0] + cos * axis[1], axis[2]])
        self._place_block(position + block * tolerance * (1.0, 1.0, 0.5), turned)
        self._kinematics()

    def _vector(self, values: np.ndarray, name: str, suffix: str) -> np.ndarray:
        return np.array([values[self._column[f"{name}.{suffix.format(axis)}"]] for axis in "xyz"])

    def _place_block(self, position: np.ndarray, axis: np.ndarray) -> None:
        """The block at `position` with its head towards `axis`, not turned about it."""
        yaw, pitch = np.arctan2(axis[1], axis[0]), -np.arcsin(np.clip(axis[2], -1.0, 1.0))
        quaternion = np.zeros(4)
        mujoco.mju_euler2Quat(quaternion, np.array([yaw, pitch, 0.0]), "zyx")
        self.room.set_block(position, 0.0)
        self.room.data.joint("block").qpos[3:] = quaternion

    def _kinematics(self) -> None:
        mujoco.mj_kinematics(self.room.model, self.room.data)
