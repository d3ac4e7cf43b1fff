"""A robot as `nodes.ros_env.RobotEnv` shows one, without ROS: what goes wrong with it is written in a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.envs.registration import EnvSpec

from robot_learning.contract import STATE, Contract
from robot_learning.data import DatasetWriter
from robot_learning.errors import UserError
from robot_learning.training.practice_env import ROBOT

FRONT = "observation.images.front"
PICTURE = (16, 20)
TASK = "go forward"
REACH = 8  # ticks of full speed to the goal


class LostError(UserError, TimeoutError):
    """Stands for `GraphIncompleteError`."""


def small_contract() -> Contract:
    return Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(*PICTURE)


class RobotStandIn(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Done when the first entry of the state, the sum of the actions' first, has come to REACH.

    Class attributes, which a test sets before the run makes the environment:
        script: by the number of a step, counted over all episodes, what happens then: "hold", "lost" or "teleop".
        hindrances: what `probe` answers after that, one after the other; an exception is raised.
        arguments: those it was made with. probes: tasks that were asked for.
    """

    script: ClassVar[dict[int, str]] = {}
    hindrances: ClassVar[list[str | Exception]] = []
    arguments: ClassVar[dict[str, Any]] = {}
    probes: ClassVar[list[str]] = []
    on_probe: ClassVar[Any] = None

    def __init__(self, contract: str, task: str, streams: tuple[str, ...], **arguments: Any) -> None:
        type(self).arguments = {"contract": contract, "task": task, "streams": streams, **arguments}
        self.contract, self.task = Contract.load(contract).select(list(streams)), task
        self.observation_space: Any = gymnasium.spaces.Dict(
            {
                key: gymnasium.spaces.Box(0, 255, stream.shape, np.uint8)
                if key == FRONT
                else gymnasium.spaces.Box(-np.inf, np.inf, stream.shape, np.float32)
                for key, stream in self.contract.observation.items()
            }
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (5,), np.float32)
        self.steps = 0

    def probe(self, task: str = "") -> str:
        cls = type(self)
        cls.probes.append(task)
        if cls.on_probe is not None:
            cls.on_probe()
        hindrance = cls.hindrances.pop(0) if cls.hindrances else ""
        if isinstance(hindrance, Exception):
            raise hindrance
        return hindrance

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.task, self.place = (options or {}).get("task", self.task), 0.0
        return self.observe(), self.info()

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        event = type(self).script.get(self.steps, "")
        self.steps += 1
        if event == "lost":
            raise LostError("joint_states: stale")
        sent, source = {"hold": (np.zeros(5), "hold"), "teleop": (np.full(5, 0.5), "teleop")}.get(
            event, (action, "env")
        )
        self.place += float(sent[0])
        done = self.place >= REACH
        held = "holding: the e-stop is pressed" if event == "hold" else ""
        info = {**self.info(), "held": held, "source": source, "action_sent": sent.astype(np.float32)}
        return self.observe(), float(done), done, False, {**info, "is_success": done}

    def info(self) -> dict[str, Any]:
        return {"is_success": False, "instruction": self.task, "held": "", "gate": ""}

    def observe(self) -> dict[str, Any]:
        state = np.zeros(18, np.float32)
        state[13] = self.place / REACH
        picture = np.full((*PICTURE, 3), int(np.clip(20 * self.place, 0, 200)), np.uint8)
        return {key: state if key == STATE else picture for key in self.contract.observation}


def demonstrate(folder: Path, episodes: int = 3) -> tuple[Path, Path]:
    """The robot's contract as a file, and a dataset of going forward."""
    file, contract = folder / "robot.yaml", small_contract()
    file.write_text(yaml.safe_dump(contract.to_dict()))
    env = RobotStandIn(str(file), TASK, (STATE, FRONT))
    with DatasetWriter.create(folder / "data", contract) as writer:
        for _ in range(episodes):
            observation, _ = env.reset()
            done = False
            while not done:
                action = np.array([1, 0, 0, 0, 0], np.float32)
                following, reward, done, _, _ = env.step(action)
                outcome = {
                    "next.reward": np.array([reward], np.float32),
                    "next.done": np.array([done]),
                    "next.success": np.array([done]),
                }
                writer.add_frame({**observation, "action": action, **outcome}, task=TASK)
                observation = following
            writer.save_episode(success=True)
    return file, folder / "data"


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> type[RobotStandIn]:
    """The stand-in is registered as the robot, and nothing goes wrong with it yet."""
    monkeypatch.setitem(gymnasium.registry, ROBOT, EnvSpec(ROBOT, RobotStandIn))
    for name, value in {"script": {}, "hindrances": [], "arguments": {}, "probes": [], "on_probe": None}.items():
        monkeypatch.setattr(RobotStandIn, name, value)
    return RobotStandIn
