"""What offline_to_online.py is measured on: tasks of the playroom, and PointMaze.

A problem has an environment, data for each seed that is made once and kept in a folder, and settings that go with it. Data and
evaluation have seeds of their own for selection (anything that is tuned) and for final results.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from offline_to_online_maze import MAZE, PointMazeTask, demonstrations_of, maze_data

import robot_learning.envs
from robot_learning.algorithms.demonstrations import Demonstrations, with_play
from robot_learning.algorithms.offline_to_online import DEMONSTRATIONS, OfflineToOnline
from robot_learning.contract import ENVIRONMENT_STATE, IMAGE_PREFIX, STATE
from robot_learning.data import Dataset
from robot_learning.envs.task_observation import SeededEpisodes, TaskObservation
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.play_collection import collect_play
from robot_learning.training.practice_data import Selected, add_data
from robot_learning.training.rl_config import RLConfig

EVALUATION_SEEDS = {"final": 900_000, "selection": 60_000}  # of the first evaluation episode
DATA_SEEDS = {"final": 20_000, "selection": 0}  # of the first demonstration of seed 0; each seed has 1000
PLAY_SEEDS = {"final": 40_000, "selection": 30_000}
CAMERAS = ("front", "wrist")


@dataclass(frozen=True)
class Amounts:
    """How much data there is: demonstrations, minutes of play, transitions in the maze."""

    demonstrations: int = 20
    minutes: float = 60.0
    maze_transitions: int = 50_000


@dataclass(frozen=True)
class Problem:
    """One task.

    Attributes:
        kind: "final" or "selection", which decides the seeds.
        settings: what differs from the algorithms' defaults for it (fields of `RLConfig`).
        pictures: its data and observations have two cameras instead of the objects' state.
    """

    name: str
    kind: str
    data: Path
    amounts: Amounts = Amounts()
    settings: dict[str, Any] = field(default_factory=dict)
    pictures: bool = False

    def folder(self, seed: int) -> Path:
        """Where the data of this task and seed is."""
        return self.data / f"{self.name}_{self.kind}_{seed}_{self._amount()}"

    def first_seed(self, seed: int) -> int:
        """Of the data of `seed`."""
        return DATA_SEEDS[self.kind] + 1000 * seed

    @property
    def evaluation_seed(self) -> int:
        """Of the first evaluation episode."""
        return EVALUATION_SEEDS[self.kind]

    # What each problem brings

    def _amount(self) -> str:
        raise NotImplementedError

    def collect(self, seed: int) -> None:
        """Make the data of `seed`, going on with what is there."""
        raise NotImplementedError

    def bare(self) -> gymnasium.Env[Any, Any]:
        """The environment: a dictionary of vectors, `is_success` in the info, an episode ends at success."""
        raise NotImplementedError

    def tasked(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """`env` with the attribute `instructions`."""
        raise NotImplementedError

    def config(self, seed: int, kind: type[RLConfig], **changes: Any) -> Any:
        """The settings of an algorithm for this task."""
        return kind(seed=seed, **{**self.settings, **changes})

    def fill(self, config: RLConfig, algorithm: OfflineToOnline, env: SeededEpisodes, seed: int) -> None:
        """The data of `seed` into the algorithm's replay buffer."""
        raise NotImplementedError

    def demonstrations(self, seed: int, play: bool = False) -> Demonstrations:
        """What behaviour cloning learns from; with `play`, successful attempts amid play as well."""
        raise NotImplementedError


class PlayroomProblem(Problem):
    """A task of the playroom: the package's own demonstrations, and play that all tasks share; the same with pictures."""

    def _amount(self) -> str:
        return f"{self.amounts.demonstrations}" + ("_pictures" if self.pictures else "")

    @property
    def cameras(self) -> tuple[str, ...]:
        """Of data and observations."""
        return CAMERAS if self.pictures else ()

    def play(self, seed: int) -> Path:
        """Where the play of `seed` is."""
        return self.data / (
            f"play_{self.kind}_{seed}_{self.amounts.minutes:g}" + ("_pictures" if self.pictures else "")
        )

    def collect(self, seed: int) -> None:
        """Demonstrations and play, the same with pictures as without."""
        first = {self.name: self.first_seed(seed)}
        collect_demonstrations(self.folder(seed), first, self.amounts.demonstrations, cameras=self.cameras)
        collect_play(self.play(seed), self.amounts.minutes, PLAY_SEEDS[self.kind] + 1000 * seed, cameras=self.cameras)

    @property
    def inputs(self) -> list[str]:
        """What a policy reads."""
        return [STATE, *((IMAGE_PREFIX + c for c in CAMERAS) if self.pictures else (ENVIRONMENT_STATE,))]

    def bare(self) -> gymnasium.Env[Any, Any]:
        """The robot's state with the objects' state or pictures."""
        env = gymnasium.make(
            "robot_learning/Playroom-v0", task=self.name, cameras=self.cameras, disable_env_checker=True
        )
        return Selected(env, self.inputs)

    def tasked(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """Every episode is of this task."""
        return TaskObservation(env, (self.name,))

    def config(self, seed: int, kind: type[RLConfig], **changes: Any) -> Any:
        """As the base's, with the folders of the data."""
        data = {"tasks": (self.name,), "dataset": (str(self.folder(seed)),), "play": (str(self.play(seed)),)}
        return super().config(seed, kind, **{**data, **changes})

    def fill(self, config: RLConfig, algorithm: OfflineToOnline, env: SeededEpisodes, seed: int) -> None:
        """As `robot-learning train` does."""
        add_data(config, algorithm, env)

    def demonstrations(self, seed: int, play: bool = False) -> Demonstrations:
        """The demonstrations, and what succeeded amid play."""
        data = Demonstrations.load(Dataset(self.folder(seed)), self.inputs)
        return with_play(data, [str(self.play(seed))] if play else [], self.inputs)


class MazeProblem(Problem):
    """PointMaze medium, sparse reward; data of a noisy waypoint controller."""

    def _amount(self) -> str:
        return f"{self.amounts.maze_transitions}"

    def collect(self, seed: int) -> None:
        """One file of episodes."""
        path = self.folder(seed) / "episodes.npz"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".new.npz")
            np.savez(partial, **maze_data(self.amounts.maze_transitions, self.first_seed(seed)))
            partial.rename(path)

    def bare(self) -> gymnasium.Env[Any, Any]:
        """Position and velocity, and the goal."""
        return PointMazeTask()

    def tasked(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """It has no instruction but one."""
        return Untold(env)

    def fill(self, config: RLConfig, algorithm: OfflineToOnline, env: SeededEpisodes, seed: int) -> None:
        """Every episode of the controller as a demonstration."""
        data = np.load(self.folder(seed) / "episodes.npz")
        assert algorithm.replay is not None
        algorithm.replay.reserve(DEMONSTRATIONS, int((data["lengths"] + 1).sum()))
        frame = step = 0
        for length, success in zip(data["lengths"], data["success"], strict=True):
            frames, steps = slice(frame, frame + length + 1), slice(step, step + length)
            algorithm.replay.add_episode(
                DEMONSTRATIONS,
                {"observation": data["observation"][frames], "desired_goal": data["desired_goal"][frames]},
                data["action"][steps],
                (np.arange(length) == length - 1) * np.float32(success),
                terminated=bool(success),
                success=bool(success),
                task=MAZE,
            )
            frame, step = frames.stop, steps.stop

    def demonstrations(self, seed: int, play: bool = False) -> Demonstrations:
        """The controller's successes; there is no play."""
        return demonstrations_of(np.load(self.folder(seed) / "episodes.npz"))


class Untold(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment with a single task that has no name."""

    instructions = (MAZE,)


def problem_named(name: str, kind: str, data: Path, amounts: Amounts, pictures: bool = False) -> Problem:
    """`pointmaze_medium`, or a task of the playroom, from pictures if wanted."""
    if name == MAZE:
        # an episode is up to some 250 steps of 0.01 s; of a reward so far away 0.98 would leave nothing
        return MazeProblem(name, kind, data, amounts, {"gamma": 0.99, "n_step": 5})
    robot_learning.envs.TASKS[name]  # KeyError: no such task
    return PlayroomProblem(name, kind, data, amounts, pictures=pictures)
