"""Practice without resets: the arm goes home by itself, the objects stay where they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np

from robot_learning.control.homing import Homes
from robot_learning.control.wrist import Wrist
from robot_learning.envs.playroom import Playroom
from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.envs.scene import SceneError

SCENE = mujoco.mjtState.mjSTATE_INTEGRATION
HOMING_TICKS = 60


class ResetFreePlayroomEnv(PlayroomEnv):
    """The playroom for reset-free practice (EARL, arXiv 2112.09605; RoboFuME, arXiv 2310.15145).

    As `PlayroomEnv`, except for `reset()`: it opens the gripper, lifts the hand and drives it home through the same
    controller as every action, and leaves furniture, objects and joints as they are. A full reset happens at the first
    `reset()`, and when asked for by `reset(options={"full_reset": True})`, which is what a person would have to do:
    it is counted in `info["interventions"]`. `options={"task": name}` or `set_task` changes the task in either case.

    `reset(seed=...)` seeds full resets and the choice of the home; it does not cause a full reset.

    Attributes:
        homes: where `reset` takes the tool.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.interventions = 0
        self.homes = Homes()
        self._begun = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Drive the arm home; with `options={"full_reset": True}` everything anew, counted as an intervention."""
        options = options or {}
        full = bool(options.get("full_reset", False))
        if full or not self._begun:
            self.interventions += int(self._begun)
            self._begun = True
            return super().reset(seed=seed, options=options)
        if seed is not None:
            self._np_random, self._np_random_seed = _seeded(seed)
        if "task" in options:
            self.set_task(options["task"])
        self.go_home()
        return self.observe(), self.info()

    def go_home(self) -> None:
        """Open the gripper, rise, and drive above the desk; every motion is a bounded action, from where the arm is."""
        self.room.controller.reset(self.room.joints, self.room.gripper)
        for action in homing(self.room, self.homes, self.np_random):
            self.room.step(action)

    def scene(self) -> np.ndarray:
        """The state of arm, furniture and objects, float64; after `restore` the next `reset` does what it would do now."""
        state = np.empty(mujoco.mj_stateSize(self.room.model, SCENE))
        mujoco.mj_getState(self.room.model, self.room.data, state, SCENE)
        return state

    def restore(self, scene: np.ndarray) -> None:
        """Put everything back as `scene()` had it, also in another process; the next `reset` is then no full one.

        Raises:
            SceneError: it is the state of another scene.
        """
        expected = mujoco.mj_stateSize(self.room.model, SCENE)
        if scene.shape != (expected,) or not np.isfinite(scene).all():
            raise SceneError(
                f"scene: expected {expected} finite numbers, found shape {scene.shape}; it is another room's"
            )
        mujoco.mj_setState(self.room.model, self.room.data, scene, SCENE)
        self.room.refresh()
        self._begun = True

    def info(self) -> dict[str, Any]:
        """As `PlayroomEnv.info`, and the number of full resets after the first."""
        return {**super().info(), "interventions": self.interventions}


def homing(room: Playroom, homes: Homes, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Actions `(5,)` that open the gripper, lift the hand, drive it home and unwind its wrist; carry out each before the next."""
    scale, home = np.array(room.contract.action.scale), homes.draw(rng)
    wrist = Wrist(room.contract, room.controller.kinematics)
    for _ in range(HOMING_TICKS):
        action = home.action(room.tcp, room.tcp_yaw, scale, wrist.turned(room.joints[-1]))
        if action is None:
            return
        yield action


def _seeded(seed: int) -> tuple[np.random.Generator, int]:
    from gymnasium.utils import seeding

    return seeding.np_random(seed)
