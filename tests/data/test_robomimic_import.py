from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robot_learning.data import Dataset, DatasetError, FrameError
from robot_learning.data.check import check
from robot_learning.data.robomimic_import import import_robomimic

from .recordings import make_contract, make_image

h5py = pytest.importorskip("h5py")
LENGTHS = (6, 4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file laid out as robomimic writes it: two demonstrations, the first of them solved."""
    path, rng = tmp_path / "lift.hdf5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_type": 1, "env_kwargs": {"control_freq": 20}})
        for number, length in enumerate(LENGTHS):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = length
            demo["actions"] = rng.uniform(-1, 1, (length, 7))
            demo["rewards"] = np.arange(length) == (length - 1 if number == 0 else -1)
            demo["dones"] = np.arange(length) == length - 1
            obs = demo.create_group("obs")
            obs["robot0_eef_pos"] = rng.normal(size=(length, 3))
            obs["robot0_eef_quat"] = rng.normal(size=(length, 4))
            obs["robot0_gripper_qpos"] = rng.normal(size=(length, 2))
            obs["agentview_image"] = np.stack([make_image(number, t) for t in range(length)])
            obs["scene"] = rng.normal(size=(length, 10))
    return path


def test_demonstrations_become_episodes(source: Path, tmp_path: Path) -> None:
    assert import_robomimic(source, tmp_path / "lift", "lift the cube") == 2
    assert check(tmp_path / "lift").problems == []
    dataset = Dataset(tmp_path / "lift")
    assert (dataset.fps, dataset.episode_tasks, dataset.image_keys) == (
        20,
        ["lift the cube"] * 2,
        ["observation.images.front"],
    )
    assert dataset.episode_success.tolist() == [True, False]
    with h5py.File(source) as file:
        demo = file["data/demo_0"]
        episode = dataset.episode(0)
        np.testing.assert_array_equal(episode.frames["action"], np.asarray(demo["actions"], np.float32))
        np.testing.assert_array_equal(
            episode.frames["observation.state"][:, 3:7], np.asarray(demo["obs/robot0_eef_quat"], np.float32)
        )
        difference = np.abs(episode.frames["observation.images.front"].astype(int) - demo["obs/agentview_image"])
    assert difference.mean() < 5
    assert dataset.features["observation.state"].names[3] == "robot0_eef_quat.0"


def test_other_keys(source: Path, tmp_path: Path) -> None:
    import_robomimic(source, tmp_path / "lift", "lift", state_keys=["scene"], image_keys={"agentview_image": "top"})
    dataset = Dataset(tmp_path / "lift")
    assert dataset.features["observation.state"].shape == (10,)
    assert dataset.image_keys == ["observation.images.top"]


def test_absent_key_lists_what_the_file_has(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"\['joints'\], found .*robot0_eef_pos"):
        import_robomimic(source, tmp_path / "lift", "lift", state_keys=["joints"])


def test_contract_that_does_not_fit(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="frame: expected the keys"):
        import_robomimic(source, tmp_path / "lift", "lift", contract=make_contract())
    assert not (tmp_path / "lift").exists()


@pytest.mark.parametrize("content", [b"not hdf5", None])
def test_not_a_robomimic_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "wrong.hdf5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"wrong\.hdf5: expected"):
        import_robomimic(path, tmp_path / "lift", "lift")
