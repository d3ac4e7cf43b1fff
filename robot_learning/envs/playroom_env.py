"""The playroom as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from robot_learning.contract import ENVIRONMENT_STATE, Contract
from robot_learning.envs import observation, tasks
from robot_learning.envs.playroom import Playroom
from robot_learning.envs.rendering import Camera, load_compilers, require_display

RENDER_SIZE = (480, 640)  # height, width of `render()`


class PlayroomEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """One of the 18 tasks of the playroom: a UR5e with a 2F-85 at a desk with drawer, sliding door, buttons and block.

    ## Action `Box(-1, 1, (5,), float32)`
    Increments of the commanded tool pose in one control tick of 0.1 s (10 Hz, 25 physics steps of 4 ms); the tool points
    straight down. Zero holds still. Limits of `robot_learning.control` apply; `info["clamps"]` names those that did.

    | index | meaning | at 1 | unit |
    |---|---|---|---|
    | 0, 1, 2 | move along x (forward), y (left), z (up) of the base frame | 0.03 | m |
    | 3 | turn about the vertical, anticlockwise seen from above | 0.25 | rad |
    | 4 | close (+) or open (-) the gripper, share of its travel | 0.5 | 1 |

    ## Observation `Dict`
    `observation.state` `(18,)` float32, as on the real robot:

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0-5 | joint positions, shoulder to wrist | -6.28 .. 6.28 (elbow 3.14) | rad |
    | 6-11 | joint velocities | -3 .. 3 | rad/s |
    | 12 | gripper, 0 open .. 1 closed | 0 .. 1 | 1 |
    | 13-15 | tool centre point in the base frame | the contract's workspace | m |
    | 16, 17 | cosine and sine of the tool's yaw | -1 .. 1 | 1 |

    `observation.environment_state` `(33,)` float32, in simulation only:

    | index | meaning | range | unit |
    |---|---|---|---|
    | 0 | drawer, closed .. open | 0 .. 0.15 | m |
    | 1 | sliding door, closed .. open | 0 .. 0.17 | m |
    | 2-4 | red, green, blue button, free .. pressed | 0 .. 0.012 | m |
    | 5-25 | drawer handle, door handle, red, green, blue button, shelf, block: position minus the tool's | -1 .. 1 | m |
    | 26-28 | direction of the block's white head | -1 .. 1 | 1 |
    | 29-32 | cosine, sine of the yaw of desk and shelf | -1 .. 1 | 1 |

    `observation.images.<camera>` `(H, W, 3)` uint8 RGB, for each of `cameras` (`front`, `wrist`).

    ## Reward, success, end
    1 at success, else 0; success (`info["is_success"]`) is a predicate on the state of the objects and terminates. The
    registered time limit of 150 ticks (15 s) truncates, and so does a physics that diverges (`info["diverged"]`).

    ## Start
    Furniture moves some cm and degrees between episodes (`variation`), block and arm start anywhere sensible;
    `reset(options={"task": name})` changes the task. The same seed and actions repeat a rollout exactly.

    ## Versions
    v0: first version.

    Args:
        task: a name of `robot_learning.envs.tasks.TASKS`.
        cameras: which pictures to observe; none: state only.
        image_size: height and width of pictures [pixel], one number for square ones.
        contract: the robot, a name in `config/contracts/` or a YAML file.
        variation: scales how far the furniture moves between episodes, 0: not at all.
        furniture: seed of where the furniture stands in all episodes; None: elsewhere in each.
        render_mode: `rgb_array` (pretty 480x640 pictures) or `human` (MuJoCo's viewer; needs a display).
        render_camera: the camera of `render()`: `overview`, `front` or `wrist`.
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(
        self,
        task: str = "open_drawer",
        cameras: Sequence[str] = (),
        image_size: int | tuple[int, int] = 96,
        contract: str | Path | Contract = "ur5e_2f85",
        variation: float = 1.0,
        furniture: int | None = None,
        render_mode: str | None = None,
        render_camera: str = "overview",
    ) -> None:
        self.task = tasks.task(task)
        if render_mode == "human":
            require_display()
        robot = contract if isinstance(contract, Contract) else Contract.load(contract)
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.contract = observation.observed_contract(robot, cameras, height, width)
        self.room = Playroom(robot)
        self.variation, self.furniture = variation, furniture
        self.cameras = tuple(cameras)
        self.render_mode = render_mode
        self.render_camera = render_camera
        self._camera = Camera(self.room.model, height, width)
        self._pretty = Camera(self.room.model, *RENDER_SIZE, pretty=True)
        self._viewer: Any = None
        spaces: dict[str, gymnasium.Space[Any]] = {
            key: _space(stream.shape, stream.dtype) for key, stream in sorted(self.contract.observation.items())
        }
        self.observation_space: Any = Dict(spaces)
        self.action_space = Box(-1.0, 1.0, (len(robot.action.names),), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything anew: furniture, objects and arm. `options={"task": name}` changes the task.

        Raises:
            UnknownTaskError: no such task.
        """
        super().reset(seed=seed)
        if options and "task" in options:
            self.task = tasks.task(options["task"])
        tasks.begin(self.room, self.task, self.np_random, self.variation, self.furniture)
        return self.observe(), self.info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control tick.

        Raises:
            ActionError: the action is not finite or has the wrong shape; nothing moves.
        """
        command = self.room.step(action)
        info = self.info()
        info["clamps"] = command.clamps
        info["diverged"] = self.room.diverged
        success = info["is_success"] = info["is_success"] and not info["diverged"]
        if self.render_mode == "human":
            self.render()
        return self.observe(), float(success), success, info["diverged"], info

    def set_task(self, name: str) -> None:
        """Ask for another task from here on; nothing moves (`UnknownTaskError`)."""
        self.task = tasks.task(name)

    def observe(self) -> dict[str, np.ndarray]:
        """The observation of this instant."""
        return {
            "observation.state": observation.proprioception(self.room),
            ENVIRONMENT_STATE: observation.environment_state(self.room),
            **observation.pictures(self.room, self._camera, self.cameras),
        }

    def info(self) -> dict[str, Any]:
        """`is_success`, and the task's name and instruction."""
        return {
            "is_success": bool(self.task.success(self.room)),
            "task": self.task.name,
            "instruction": self.task.instruction,
        }

    def render(self) -> np.ndarray | None:
        """A pretty picture `(480, 640, 3)` uint8 in mode `rgb_array`; in mode `human` updates the viewer's window."""
        if self.render_mode == "rgb_array":
            return self._pretty.render(self.room.data, self.render_camera)
        if self.render_mode == "human":
            if self._viewer is None:
                import mujoco.viewer

                load_compilers()
                self._viewer = mujoco.viewer.launch_passive(self.room.model, self.room.data)
            self._viewer.sync()
        return None

    def close(self) -> None:
        """Free GL contexts and the viewer."""
        self._camera.close()
        self._pretty.close()
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None


def _space(shape: tuple[int, ...], dtype: str) -> Box:
    if dtype == "uint8":
        return Box(0, 255, shape, np.uint8)
    return Box(-np.inf, np.inf, shape, np.dtype(dtype).type)
