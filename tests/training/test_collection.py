"""Demonstrations there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_learning.data import Dataset
from robot_learning.envs.tasks import TASKS
from robot_learning.training.collection import CollectionError, collect_there_and_back

PAIR = ("close_sliding", "open_sliding")


def collect(root: Path, episodes: int) -> Dataset:
    collect_there_and_back(root, PAIR, 0, episodes, cameras=(), furniture=3)
    return Dataset(root)


def door_at(dataset: Dataset, frame: int) -> float:
    names = list(dataset.features["observation.environment_state"].names)
    return float(dataset.column("observation.environment_state")[frame, names.index("door.pos")])


def test_each_second_demonstration_begins_where_the_one_before_ended(tmp_path: Path) -> None:
    dataset = collect(tmp_path / "doors", 2)
    shown = [TASKS[name].instruction for name in (*PAIR, *PAIR[::-1])]
    assert dataset.episode_tasks == shown
    for first in (0, 2):
        (_, end), (begin, _) = dataset.episode_ranges[first : first + 2]
        assert door_at(dataset, int(end) - 1) == pytest.approx(door_at(dataset, int(begin)), abs=0.01)


def test_it_goes_on_with_what_is_there(tmp_path: Path) -> None:
    collect(tmp_path / "doors", 1)
    dataset = collect(tmp_path / "doors", 2)
    counts = np.unique(dataset.episode_tasks, return_counts=True)[1]
    assert counts.tolist() == [2, 2] and dataset.episode_success.all()


def test_what_does_not_undo_each_other_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="open_drawer"):
        collect_there_and_back(tmp_path / "doors", ("open_drawer", "open_sliding"), 0, 1)
