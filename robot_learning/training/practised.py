"""The successes of practice in a dataset that another process is writing, read as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.data import Dataset
from robot_learning.data.metadata import INFO_PATH
from robot_learning.data.recording import HELD

DISCARDED = "discarded"
"""In an episode's info: a person has taken it back."""


class PractisedSuccesses:
    """Looks at the dataset `root`, which need not exist yet.

    Only committed episodes are seen (`meta/info.json` says how many), and nothing of them is ever written again, so a recorder
    may write meanwhile, or have died at any moment. The actions are those that the safety gate sent to the controllers. Frames
    in which it held are left out: nobody asked for anything, and a clone of them would learn to wait.

    Args:
        inputs: the streams to read; tasks: episodes of others are left out.

    Attributes:
        episodes, frames: of all of practice so far. chosen: numbers of the episodes to learn from. failed: of those that did not
            succeed at their task.
    """

    def __init__(self, root: Path, inputs: Sequence[str], tasks: Sequence[str]) -> None:
        self.root, self.inputs, self.tasks = root, list(inputs), list(tasks)
        self.episodes = self.frames = 0
        self.chosen: list[int] = []
        self.failed: list[int] = []
        self._seen = 0  # when the dataset's info was written last [ns]
        self._loaded: list[int] = []
        self._parts: list[Demonstrations] = []

    def look(self) -> bool:
        """Whether the dataset has grown, or was changed, since the last look.

        Raises:
            DatasetError: something else is there, or it is damaged.
        """
        info = self.root / INFO_PATH
        written = info.stat().st_mtime_ns if info.is_file() else 0
        if written == self._seen:
            return False
        if written:
            self._take(Dataset(self.root))
        else:
            self.episodes = self.frames = 0
            self.chosen, self.failed = [], []
        self._seen = written
        return True

    def load(self) -> list[Demonstrations]:
        """What to learn from, in parts to be joined; only what is new since the last call is decoded.

        Raises:
            DatasetError, ContractError, DemonstrationError: as `Demonstrations.load`.
        """
        if self.chosen[: len(self._loaded)] != self._loaded:
            self._loaded, self._parts = [], []
        fresh = self.chosen[len(self._loaded) :]
        if fresh:
            part = Demonstrations.load(Dataset(self.root), self.inputs, episodes=fresh, without=HELD)
            self._parts = [Demonstrations.join([*self._parts, part])]
            self._loaded = [*self._loaded, *fresh]
        return self._parts

    def _take(self, dataset: Dataset) -> None:
        self.chosen, self.failed = [], []
        for episode, (task, success) in enumerate(zip(dataset.episode_tasks, dataset.episode_success, strict=True)):
            if task in self.tasks and not dataset.episode_info(episode).get(DISCARDED):
                (self.chosen if success else self.failed).append(episode)
        self.episodes, self.frames = dataset.num_episodes, dataset.num_frames
