"""Small worlds for the tests of the algorithms: a point that must get to a goal, seen as a vector or as a dictionary."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

STATE, FRONT, TASK = "observation.state", "observation.images.front", "task"
INSTRUCTIONS = ("go left", "go right")


class PointGoal(gymnasium.Env):  # type: ignore[type-arg, misc]
    """A point in the unit square and a goal; reward 1 and the end where they meet. Observation: position, goal - position."""

    observation_space = Box(-2.0, 2.0, (4,), np.float32)
    action_space = Box(-0.2, 0.2, (2,), np.float32)  # what it moves by

    def __init__(self, horizon: int = 20, radius: float = 0.15) -> None:
        self.horizon, self.radius = horizon, radius

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.task = 0
        self.position, self.goal = self.np_random.uniform(0, 1, (2, 2))
        self.steps = 0
        return self.observe(), {}

    def observe(self) -> Any:
        return np.concatenate([self.position, self.goal - self.position]).astype(np.float32)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.position = np.clip(self.position + action, 0, 1)
        self.steps += 1
        success = bool(np.linalg.norm(self.goal - self.position) < self.radius)
        return self.observe(), float(success), success, self.steps >= self.horizon, {"is_success": success}


class PointPicture(PointGoal):
    """The same with keys that hold dots, a small picture that shows the goal, and one of two tasks, told as a one-hot vector."""

    observation_space = Dict(
        {
            STATE: Box(-2.0, 2.0, (2,), np.float32),
            FRONT: Box(0, 255, (14, 12, 3), np.uint8),
            TASK: Box(0.0, 1.0, (2,), np.float32),
        }
    )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        _, info = super().reset(seed=seed)
        self.task = int(self.np_random.integers(2))
        self.goal[0] = self.task
        return self.observe(), {**info, "instruction": INSTRUCTIONS[self.task]}

    def observe(self) -> Any:
        picture = np.full((14, 12, 3), 40, np.uint8)
        column, row = (self.goal * (9, 11)).astype(int)
        picture[row : row + 3, column : column + 3] = 255
        return {
            STATE: self.position.astype(np.float32),
            FRONT: picture,
            TASK: np.eye(2, dtype=np.float32)[self.task],
        }


def episode_of(env: gymnasium.Env[Any, Any], seed: int, skill: float) -> dict[str, Any]:
    """One episode of a noisy walk towards the goal, of which a share `skill` is not noise; actions are scaled to [-1, 1]."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    world: Any = env.unwrapped
    observations, actions, rewards, over = [observation], [], [], False
    while not over:
        towards = np.clip((world.goal - world.position) / 0.2, -1, 1)
        action = np.clip(skill * towards + (1 - skill) * rng.uniform(-1, 1, 2), -1, 1).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(0.2 * action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        over = terminated or truncated
    return {
        "observations": observations,
        "actions": np.stack(actions),
        "rewards": np.array(rewards, np.float32),
        "terminated": terminated,
        "success": terminated,
    }


def stacked(observations: list[Any]) -> Any:
    """Observations of an episode as arrays, by key where they are dictionaries; without the task."""
    if isinstance(observations[0], dict):
        return {k: np.stack([o[k] for o in observations]) for k in observations[0] if k != TASK}
    return np.stack(observations)


def add_walks(replay: Any, source: str, env: gymnasium.Env[Any, Any], episodes: int, skill: float) -> None:
    """Fill a replay buffer with such episodes."""
    for seed in range(episodes):
        walk = episode_of(env, seed, skill)
        task = INSTRUCTIONS[env.unwrapped.task] if isinstance(env.unwrapped, PointPicture) else ""  # type: ignore[attr-defined]
        replay.add_episode(source, stacked(walk.pop("observations")), **walk, task=task)
