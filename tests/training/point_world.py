"""A toy robot: move the tool to the bright square in the picture, or away from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from robot_learning.contract import Contract
from robot_learning.data import DatasetWriter

SIZE = 32
TASKS = {"reach": "go to the square", "flee": "leave the square"}


@dataclass(frozen=True)
class PointTask:
    name: str
    instruction: str


def contract() -> Contract:
    keys = ("observation.state", "observation.images.front")
    return Contract.load("ur5e_2f85").select(keys).with_image_size(SIZE, SIZE)


class PointWorld(gymnasium.Env[dict[str, Any], np.ndarray]):
    """State: tool at (x, y) in [-1, 1]; the square is only in the picture. Success: within (or beyond) a distance."""

    def __init__(self, task: str = "reach", limit: int = 25) -> None:
        self.task, self.limit, self.contract = PointTask(task, TASKS[task]), limit, contract()
        self.action_space = gymnasium.spaces.Box(-1, 1, (5,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.tool, self.square = self.np_random.uniform(-0.3, 0.3, 2), self.np_random.uniform(-0.8, 0.8, 2)
        self.ticks = 0
        return self.observe(), {"is_success": False}

    def observe(self) -> dict[str, Any]:
        image = np.full((SIZE, SIZE, 3), 60, np.uint8)
        for place, colour in ((self.square, (250, 200, 40)), (self.tool, (40, 90, 250))):
            column, row = ((place + 1.2) / 2.4 * (SIZE - 5)).round().astype(int).clip(0, SIZE - 5)
            image[row : row + 5, column : column + 5] = colour
        state = np.zeros(18, np.float32)
        state[13:15] = self.tool
        return {"observation.state": state, "observation.images.front": image}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.tool = np.clip(self.tool + 0.15 * action[:2], -1.2, 1.2)
        self.ticks += 1
        distance = float(np.linalg.norm(self.tool - self.square))
        success = distance < 0.2 if self.task.name == "reach" else distance > 1.1
        return self.observe(), float(success), success, self.ticks >= self.limit, {"is_success": success}

    def expert(self) -> np.ndarray:
        way = (self.square - self.tool) * (1 if self.task.name == "reach" else -1)
        return np.append(way / max(0.3, float(np.linalg.norm(way))), [0, 0, 0]).astype(np.float32)


def make_env(task: str, needed: Contract) -> PointWorld:
    return PointWorld(task)


def collect(root: Path, episodes: int = 6) -> Path:
    """Demonstrations of both tasks."""
    with DatasetWriter.create(root, contract()) as writer:
        for name in TASKS:
            env = PointWorld(name)
            for seed in range(episodes):
                observation, _ = env.reset(seed=seed)
                over = False
                while not over:
                    action = env.expert()
                    following, reward, success, truncated, _ = env.step(action)
                    over = success or truncated
                    outcome = {
                        "next.reward": np.array([reward], np.float32),
                        "next.done": np.array([over]),
                        "next.success": np.array([success]),
                    }
                    writer.add_frame({**observation, "action": action, **outcome}, task=TASKS[name])
                    observation = following
                writer.save_episode(success=success)
    return root
