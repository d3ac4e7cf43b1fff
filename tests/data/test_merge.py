from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetError, DatasetWriter, VideoConfig
from robot_learning.data.check import check
from robot_learning.data.merge import merge_datasets

from .recordings import make_contract, make_episode

FRONT = "observation.images.front"


def test_merged_dataset_has_every_episode(root: Path, tmp_path: Path, contract: Contract) -> None:
    with DatasetWriter.create(tmp_path / "second", contract) as writer:
        writer.add_episode(make_episode(contract, 6, seed=8, task="push the red button"))
    assert merge_datasets([root, tmp_path / "second"], tmp_path / "all") == 4
    assert check(tmp_path / "all").problems == []
    merged, first, second = Dataset(tmp_path / "all"), Dataset(root), Dataset(tmp_path / "second")
    assert merged.episode_tasks == [*first.episode_tasks, "push the red button"]
    assert merged.episode_info(3) == {"seed": 8}
    np.testing.assert_array_equal(
        merged.column("action"), np.concatenate([first.column("action"), second.column("action")])
    )
    source = tmp_path / f"second/videos/{FRONT}/chunk-000/file-000.mp4"
    assert (tmp_path / f"all/videos/{FRONT}/chunk-000/file-003.mp4").read_bytes() == source.read_bytes()


def test_another_contract_is_refused(root: Path, tmp_path: Path) -> None:
    other = make_contract(64)
    DatasetWriter.create(tmp_path / "other", other).close()
    with pytest.raises(DatasetError, match=r"\[32, 32, 3\] here, \[64, 64, 3\] there"):
        merge_datasets([root, tmp_path / "other"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_another_codec_is_refused(root: Path, tmp_path: Path, contract: Contract) -> None:
    DatasetWriter.create(tmp_path / "other", contract, VideoConfig("libsvtav1", preset="12")).close()
    with pytest.raises(DatasetError, match=r"h264.*av1"):
        merge_datasets([root, tmp_path / "other"], tmp_path / "all")


def test_output_must_be_new(root: Path) -> None:
    with pytest.raises(DatasetError, match="found a dataset"):
        merge_datasets([root], root)


def test_nothing_to_merge(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least one dataset"):
        merge_datasets([], tmp_path / "all")


def test_play_keeps_the_task_of_each_frame(tmp_path: Path, contract: Contract) -> None:
    episode = make_episode(contract, 9, seed=3)
    with DatasetWriter.create(tmp_path / "play", contract) as writer:
        writer.add_episode(make_episode(contract, 3, seed=1, task="close the drawer"))
        for t in range(9):
            frame = {key: values[t] for key, values in episode.frames.items()}
            writer.add_frame(frame, task=("open the drawer", "push the red button", "close the drawer")[t // 3])
        writer.save_episode(success=True)
    merge_datasets([tmp_path / "play", tmp_path / "play"], tmp_path / "twice")
    assert check(tmp_path / "twice").problems == []
    play, twice = Dataset(tmp_path / "play"), Dataset(tmp_path / "twice")
    tasks = [[dataset.tasks[i] for i in dataset.column("task_index")] for dataset in (play, twice)]
    assert tasks[1] == tasks[0] * 2
