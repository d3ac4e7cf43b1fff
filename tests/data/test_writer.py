from __future__ import annotations

import dataclasses
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from robot_learning.contract import Contract
from robot_learning.data import (
    Dataset,
    DatasetError,
    DatasetLockedError,
    DatasetWriteError,
    DatasetWriter,
    Feature,
    FrameError,
    VideoConfig,
)
from robot_learning.data.check import check
from robot_learning.data.files import read_json

from .recordings import SIZE, make_contract, make_episode

TASK = "open the drawer"


@pytest.fixture
def writer(tmp_path: Path, contract: Contract) -> Iterator[DatasetWriter]:
    with DatasetWriter.create(tmp_path / "d", contract) as opened:
        yield opened


@pytest.fixture
def frame(contract: Contract) -> dict[str, np.ndarray]:
    return {key: values[0] for key, values in make_episode(contract, 1).frames.items()}


BAD = {
    "image size": ("observation.images.front", np.zeros((16, SIZE, 3), np.uint8), r"\(32, 32, 3\).*\(16, 32, 3\)"),
    "image dtype": ("observation.images.wrist", np.zeros((SIZE, SIZE, 3), np.float32), "uint8.*float32"),
    "state shape": ("observation.state", np.zeros(17, np.float32), r"\(18,\).*\(17,\)"),
    "state dtype": ("observation.state", np.zeros(18, np.int64), "float32.*int64"),
    "NaN state": ("observation.state", np.full(18, np.nan, np.float32), "finite.*nan at shoulder_pan_joint.pos"),
    "NaN action": ("action", np.array([0, 0, np.nan, 0, 0], np.float32), "finite.*nan at dz"),
    "infinite reward": ("next.reward", np.float32(np.inf), "finite.*inf"),
    "done dtype": ("next.done", np.float32(1), "bool.*float32"),
}


@pytest.mark.parametrize(("key", "value", "match"), BAD.values(), ids=BAD)
def test_bad_frame_is_refused_and_the_episode_goes_on(
    writer: DatasetWriter, frame: dict[str, np.ndarray], key: str, value: np.ndarray, match: str
) -> None:
    writer.add_frame(frame, TASK)
    with pytest.raises(FrameError, match=f"{key}: expected .*{match}"):
        writer.add_frame(frame | {key: value}, TASK)
    writer.add_frame(frame, TASK)
    writer.save_episode(success=True)
    assert len(Dataset(writer.root)) == 2


def test_missing_and_unknown_keys_are_named(writer: DatasetWriter, frame: dict[str, np.ndarray]) -> None:
    del frame["action"]
    with pytest.raises(FrameError, match=r"missing \['action'\], unknown \['actoin'\]"):
        writer.add_frame(frame | {"actoin": np.zeros(5, np.float32)}, TASK)


def test_the_task_may_change_from_frame_to_frame(writer: DatasetWriter, frame: dict[str, np.ndarray]) -> None:
    tried = [TASK, TASK, "close the drawer", TASK]
    for task in tried:
        writer.add_frame(frame, task)
    writer.save_episode(success=True)
    dataset = Dataset(writer.root)
    assert [dataset[i]["task"] for i in range(4)] == tried
    assert dataset.tasks == [TASK, "close the drawer"]
    assert [(s.start, s.end, s.task) for s in dataset.segments] == [
        (0, 2, TASK),
        (2, 3, "close the drawer"),
        (3, 4, TASK),
    ]


def test_frames_are_copied(writer: DatasetWriter, frame: dict[str, np.ndarray]) -> None:
    state = frame["observation.state"].copy()
    writer.add_frame(frame, TASK)
    frame["observation.state"][:] = 0
    writer.save_episode(success=False)
    np.testing.assert_array_equal(Dataset(writer.root).column("observation.state")[0], state)


def test_wider_floats_and_scalars_are_accepted(writer: DatasetWriter, frame: dict[str, np.ndarray]) -> None:
    writer.add_frame(frame | {"action": np.zeros(5), "next.reward": 1.0, "next.done": True}, TASK)
    writer.save_episode(success=True)
    assert Dataset(writer.root).column("next.reward").tolist() == [[1.0]]


def test_save_without_frames_is_an_error(writer: DatasetWriter) -> None:
    with pytest.raises(DatasetError, match="at least one frame"):
        writer.save_episode(success=True)


def test_info_that_is_not_json_keeps_the_episode(writer: DatasetWriter, frame: dict[str, np.ndarray]) -> None:
    writer.add_frame(frame, TASK)
    with pytest.raises(DatasetError, match="info: expected JSON"):
        writer.save_episode(success=True, info={"object": object()})
    assert writer.save_episode(success=True, info={"operator": "Ada"}) == 0
    assert Dataset(writer.root).episode_info(0) == {"operator": "Ada"}


def test_discarded_episode_leaves_nothing(
    writer: DatasetWriter, contract: Contract, frame: dict[str, np.ndarray]
) -> None:
    writer.add_frame(frame, "a discarded task")
    writer.discard_episode()
    writer.add_episode(make_episode(contract, 4))
    assert Dataset(writer.root).tasks == [TASK]
    assert check(writer.root).problems == []


def test_add_episode_with_a_bad_frame_discards_it(writer: DatasetWriter, contract: Contract) -> None:
    episode = make_episode(contract, 4)
    episode.frames["action"][3, 0] = np.nan
    with pytest.raises(FrameError, match="action"):
        writer.add_episode(episode)
    assert writer.episode_length == 0
    assert writer.add_episode(make_episode(contract, 4)) == 0


def test_copy_is_refused_while_an_episode_is_in_progress(
    writer: DatasetWriter, root: Path, contract: Contract, frame: dict[str, np.ndarray]
) -> None:
    writer.add_frame(frame, TASK)
    with pytest.raises(DatasetError, match="copy_episode: expected no episode in progress"):
        writer.copy_episode(Dataset(root), 0)
    writer.add_frame(frame, TASK)
    assert writer.save_episode(success=True) == 0
    assert writer.copy_episode(Dataset(root), 0) == 1
    assert [len(Dataset(writer.root).episode(e)) for e in range(2)] == [2, 8]
    assert check(writer.root).problems == []


def test_second_writer_is_refused_and_named(writer: DatasetWriter, contract: Contract) -> None:
    with pytest.raises(DatasetLockedError, match=f"process {os.getpid()}"):
        DatasetWriter.open(writer.root, contract)


def test_lock_of_a_dead_writer_is_taken_over(root: Path, contract: Contract) -> None:
    child = os.fork()
    if child == 0:
        DatasetWriter.open(root, contract)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (root / ".writer.lock").read_text().strip() == str(child)
    DatasetWriter.open(root, contract).close()


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (make_contract(64), r"shape: \[32, 32, 3\] here, \[64, 64, 3\] there"),
        (dataclasses.replace(make_contract(), rate=20.0), "rate: 10.0 here, 20.0 there"),
        (make_contract().select(["observation.state"]), "wrist.* here, absent there"),
    ],
    ids=["camera size", "rate", "streams"],
)
def test_appending_under_another_contract_names_both_sides(root: Path, other: Contract, match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        DatasetWriter.open(root, other)


def test_create_refuses_an_occupied_folder(root: Path, contract: Contract) -> None:
    with pytest.raises(DatasetError, match="found a dataset"):
        DatasetWriter.create(root, contract)


def test_create_refuses_a_fractional_rate(tmp_path: Path, contract: Contract) -> None:
    with pytest.raises(DatasetError, match=r"found 12.5 Hz"):
        DatasetWriter.create(tmp_path / "d", dataclasses.replace(contract, rate=12.5))


def test_open_without_dataset_names_the_file(tmp_path: Path, contract: Contract) -> None:
    with pytest.raises(DatasetError, match=r"meta/info\.json"):
        DatasetWriter.open(tmp_path, contract)


def test_full_disk_discards_the_episode_only(root: Path, contract: Contract) -> None:
    # RLIMIT_FSIZE: the kernel refuses bytes beyond 20 kB in a file, on the same path as a full disk
    with DatasetWriter.open(root, contract) as writer:
        rng = np.random.default_rng(0)
        noisy = make_episode(contract, 60)
        noisy.frames["observation.images.front"][:] = rng.integers(0, 255, (60, SIZE, SIZE, 3), dtype=np.uint8)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(DatasetWriteError, match="the 3 committed ones are safe"):
                writer.add_episode(noisy)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert check(root).notes == []
        assert writer.add_episode(make_episode(contract, 4)) == 3
    assert check(root).problems == []


def test_layout_is_lerobot_v3(root: Path) -> None:
    info = read_json(root / "meta/info.json", root)
    assert (info["codebase_version"], info["fps"], info["total_episodes"], info["total_frames"]) == ("v3.0", 10, 3, 24)
    assert info["splits"] == {"train": "0:3"}
    state = info["features"]["observation.state"]
    assert (state["dtype"], state["shape"], state["units"][0]) == ("float32", [18], "rad")
    image = info["features"]["observation.images.front"]
    assert image["names"] == ["height", "width", "channels"] and image["info"]["video.codec"] == "h264"
    schema = pq.read_schema(root / "data/chunk-000/file-001.parquet")
    assert str(schema.field("observation.state").type).startswith("fixed_size_list")
    assert str(schema.field("next.done").type) == "bool"
    assert "observation.images.front" not in schema.names
    assert pq.read_schema(root / "meta/tasks.parquet").pandas_metadata["index_columns"] == ["task"]
    row = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()[1]
    assert (row["tasks"], row["length"], row["success"]) == (["close the drawer"], 5, False)
    assert np.shape(row["stats/observation.images.front/mean"]) == (3, 1, 1)


def test_contract_and_config_are_embedded(tmp_path: Path, contract: Contract) -> None:
    DatasetWriter.create(tmp_path / "d", contract, config={"seed": 3}).close()
    ours = read_json(tmp_path / "d/meta/robot_learning.json", tmp_path)
    assert ours["contract_hash"] == contract.hash()
    assert ours["config"] == {"seed": 3}
    assert Dataset(tmp_path / "d").contract == contract


def test_extra_columns(tmp_path: Path, contract: Contract) -> None:
    extra = {"intervention": Feature("bool", (1,)), "age": Feature("float32", (2,), ("state", "front"), ("s", "s"))}
    episode = make_episode(contract, 3)
    episode.frames["intervention"] = np.array([[False], [True], [False]])
    episode.frames["age"] = np.zeros((3, 2), np.float32)
    with DatasetWriter.create(tmp_path / "d", contract, extra=extra) as writer:
        writer.add_episode(episode)
    dataset = Dataset(tmp_path / "d")
    assert dataset.column("intervention").reshape(-1).tolist() == [False, True, False]
    assert dataset.features["age"].units == ("s", "s")


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_video_codecs_round_trip(tmp_path: Path, codec: str) -> None:
    contract = make_contract(64)
    preset = "8" if codec == "libsvtav1" else "veryfast"
    episode = make_episode(contract, 9)
    with DatasetWriter.create(tmp_path / "d", contract, VideoConfig(codec=codec, preset=preset, gop=4)) as writer:
        writer.add_episode(episode)
    images = Dataset(tmp_path / "d").images("observation.images.front", [8, 0, 5, 5])
    error = np.abs(images.astype(int) - episode.frames["observation.images.front"][[8, 0, 5, 5]])
    assert error.mean() < 6
