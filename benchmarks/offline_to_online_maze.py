"""PointMaze medium (gymnasium-robotics), and a noisy waypoint controller that makes data in it."""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.contract import FLOAT64_ARRAY, Action, Contract, Stream

MAZE = "pointmaze_medium"
KEYS = {"observation": 4, "desired_goal": 2}
NOISE = 0.5  # standard deviation on the force, whose largest value is 1
GAINS = (10.0, 1.0)  # force per metre and per metre a second
REACHED = 0.25  # of a waypoint [m]; cells are 1 m wide
INSTALL = (
    "PointMaze needs gymnasium-robotics: pip install gymnasium-robotics==1.4.2 (or leave out --tasks pointmaze_medium)"
)


class PointMazeTask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A ball that is pushed through the maze to a goal; start and goal are random; reward 1 at the goal, which ends the episode.

    Observation: `observation` (4,) position [m] and velocity [m/s], `desired_goal` (2,) [m]. Time limit: 600 steps of 0.01 s.
    """

    def __init__(self) -> None:
        try:
            import gymnasium_robotics
        except ImportError as error:
            sys.exit(f"{error}. {INSTALL}")
        gymnasium.register_envs(gymnasium_robotics)
        super().__init__(gymnasium.make("PointMaze_Medium-v3", continuing_task=False, disable_env_checker=True))
        self.observation_space = Dict({key: Box(-np.inf, np.inf, (n,), np.float32) for key, n in KEYS.items()})

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """A random start and goal."""
        observation, info = self.env.reset(**options)
        return self._read(observation), {**info, "is_success": False, "instruction": MAZE}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step of 0.01 s."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        told = {**info, "is_success": bool(info["success"]), "instruction": MAZE}
        return self._read(observation), float(reward), terminated, truncated, told

    @staticmethod
    def _read(observation: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {key: observation[key].astype(np.float32) for key in KEYS}


class Waypoints:
    """Follows the shortest way through the cells with a PD controller and noise on the force."""

    def __init__(self, maze: Any, rng: np.random.Generator) -> None:
        self.maze, self.rng = maze, rng
        self.free = {(r, c) for r, row in enumerate(maze.maze_map) for c, cell in enumerate(row) if cell != 1}
        self.way: deque[np.ndarray] = deque()

    def reset(self, observation: Mapping[str, np.ndarray]) -> None:
        """Plan from where the ball is to the goal."""
        goal = observation["desired_goal"]
        cells = self.path(self._cell(observation["observation"][:2]), self._cell(goal))
        self.way = deque([*(np.asarray(self.maze.cell_rowcol_to_xy(np.array(cell))) for cell in cells[1:]), goal])

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """The force `(2,)` in [-1, 1]."""
        position, velocity = observation["observation"][:2], observation["observation"][2:]
        while len(self.way) > 1 and np.linalg.norm(self.way[0] - position) < REACHED:
            self.way.popleft()
        force = GAINS[0] * (self.way[0] - position) - GAINS[1] * velocity + NOISE * self.rng.standard_normal(2)
        return np.clip(force, -1.0, 1.0).astype(np.float32)

    def path(self, start: tuple[int, int], goal: tuple[int, int]) -> list[tuple[int, int]]:
        """The cells from `start` to `goal`, breadth first."""
        before: dict[tuple[int, int], tuple[int, int]] = {start: start}
        queue = deque([start])
        while queue and goal not in before:
            row, column = queue.popleft()
            for cell in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if cell in self.free and cell not in before:
                    before[cell] = (row, column)
                    queue.append(cell)
        cells = [goal]
        while cells[-1] != start:
            cells.append(before[cells[-1]])
        return cells[::-1]

    def _cell(self, position: np.ndarray) -> tuple[int, int]:
        row, column = self.maze.cell_xy_to_rowcol(position)
        return int(row), int(column)


def maze_data(transitions: int, seed: int) -> dict[str, np.ndarray]:
    """Episodes until there are so many transitions, failures included.

    `observation` and `desired_goal` have a row for each frame (an episode has one more than actions), `action` for each step.
    """
    env = PointMazeTask()
    controller = Waypoints(env.unwrapped.maze, np.random.default_rng(seed))  # type: ignore[attr-defined]
    frames: dict[str, list[np.ndarray]] = {key: [] for key in KEYS}
    actions: list[np.ndarray] = []
    lengths, success = [], []
    while len(actions) < transitions:
        observation, info = env.reset(seed=seed + len(lengths))
        controller.reset(observation)
        over, length = False, 0
        while not over:
            _append(frames, observation)
            actions.append(controller.act(observation))
            observation, _, terminated, truncated, info = env.step(actions[-1])
            over, length = terminated or truncated, length + 1
        _append(frames, observation)
        lengths.append(length)
        success.append(info["is_success"])
    env.close()
    rows = {key: np.array(values) for key, values in frames.items()}
    return {**rows, "action": np.array(actions), "lengths": np.array(lengths), "success": np.array(success)}


def _append(frames: dict[str, list[np.ndarray]], observation: Mapping[str, np.ndarray]) -> None:
    for key in KEYS:
        frames[key].append(observation[key])


def demonstrations_of(data: Mapping[str, np.ndarray]) -> Demonstrations:
    """The successful episodes for behaviour cloning, with a contract that says what the ball observes."""
    lengths, success = data["lengths"], data["success"]
    chosen = np.repeat(success, lengths)
    frames = np.concatenate([np.r_[np.full(n, ok), False] for n, ok in zip(lengths, success, strict=True)])
    kept = lengths[success]
    return Demonstrations(
        contract=maze_contract(),
        images={},
        vectors={key: data[key][frames] for key in KEYS},
        actions=data["action"][chosen],
        ends=np.repeat(np.cumsum(kept), kept),
        tasks=[MAZE],
        task_of=np.zeros(int(kept.sum()), int),
    )


def maze_contract() -> Contract:
    """The streams of the maze; the robot's own parts are those of the playroom's and mean nothing here."""
    vectors = {
        key: Stream(key, FLOAT64_ARRAY, "float32", (n,), 100.0, 1.0, tuple(f"{key}.{i}" for i in range(n)))
        for key, n in KEYS.items()
    }
    action = Action("force", FLOAT64_ARRAY, ("x", "y"), ("1", "1"), (1.0, 1.0))
    robot = Contract.load("ur5e_2f85")
    return dataclasses.replace(robot, name=MAZE, rate=100.0, observation=vectors, action=action, simulation=None)
