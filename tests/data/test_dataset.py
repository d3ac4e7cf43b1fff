from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.data import DamagedDatasetError, Dataset, DatasetError, DatasetWriter

from .recordings import make_episode

FRONT, WRIST = "observation.images.front", "observation.images.wrist"


def test_overview(root: Path, contract: Contract) -> None:
    dataset = Dataset(root)
    assert (len(dataset), dataset.num_episodes, dataset.fps) == (24, 3, 10)
    assert dataset.tasks == ["open the drawer", "close the drawer"]
    assert dataset.episode_tasks == ["open the drawer", "close the drawer", "open the drawer"]
    assert dataset.episode_ranges.tolist() == [[0, 8], [8, 13], [13, 24]]
    assert dataset.episode_success.tolist() == [True, False, True]
    assert dataset.contract == contract
    assert dataset.image_keys == [FRONT, WRIST]


def test_columns_are_exact(root: Path, contract: Contract) -> None:
    dataset = Dataset(root)
    written = np.concatenate(
        [make_episode(contract, n, s).frames["observation.state"] for n, s in ((8, 0), (5, 1), (11, 2))]
    )
    np.testing.assert_array_equal(dataset.column("observation.state"), written)
    assert dataset.column("next.reward").shape == (24, 1)
    assert dataset.column("frame_index").tolist() == [*range(8), *range(5), *range(11)]
    assert not dataset.column("action").flags.writeable


def test_episode_round_trip(root: Path, contract: Contract) -> None:
    episode, written = Dataset(root).episode(1), make_episode(contract, 5, 1, "close the drawer", False)
    assert (episode.task, episode.success, episode.info, len(episode)) == (written.task, False, {"seed": 1}, 5)
    assert episode.frames.keys() == written.frames.keys()
    for key, values in written.frames.items():
        assert episode.frames[key].dtype == values.dtype and episode.frames[key].shape == values.shape
    error = np.abs(episode.frames[FRONT].astype(int) - written.frames[FRONT])
    assert error.mean() < 4  # lossy, and smooth pictures of neighbouring episodes differ by more


def test_images_in_any_order_equal_each_alone(root: Path) -> None:
    dataset = Dataset(root)
    order = [23, 0, 12, 7, 7, 13, 8, 1, 22]
    together = dataset.images(FRONT, order)
    for image, index in zip(together, order, strict=True):
        np.testing.assert_array_equal(image, Dataset(root).images(FRONT, [index])[0])
    assert dataset.images(FRONT, []).shape == (0, 32, 32, 3)


def test_window_pads_within_the_episode(root: Path) -> None:
    window = Dataset(root).window(8, [-2, 0, 4, 5], ["frame_index", "episode_index", FRONT])
    assert window["is_pad"].tolist() == [True, False, False, True]
    assert window["frame_index"].tolist() == [0, 0, 4, 4]
    assert window["episode_index"].tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(window[FRONT], Dataset(root).images(FRONT, [8, 8, 12, 12]))


def test_windows_are_batched_windows(root: Path) -> None:
    dataset = Dataset(root)
    batch = dataset.windows([3, 20], range(-1, 3), ["action", WRIST])
    assert batch["action"].shape == (2, 4, 5) and batch[WRIST].shape == (2, 4, 32, 32, 3)
    for row, index in enumerate((3, 20)):
        one = dataset.window(index, range(-1, 3), ["action", WRIST])
        for key, values in one.items():
            np.testing.assert_array_equal(batch[key][row], values)


def test_item(root: Path) -> None:
    item = Dataset(root)[9]
    assert (item["task"], item["episode_index"], item["frame_index"], item["index"]) == ("close the drawer", 1, 1, 9)
    assert item["timestamp"] == pytest.approx(0.1)
    assert item[FRONT].shape == (32, 32, 3)


@pytest.mark.parametrize("kind", ["ram", "folder"])
def test_cached_images_equal_decoded_ones(root: Path, tmp_path: Path, kind: str) -> None:
    cached = Dataset(root, cache="ram" if kind == "ram" else tmp_path / "cache")
    plain, order = Dataset(root), [5, 23, 5, 9]
    np.testing.assert_array_equal(cached.images(FRONT, order), plain.images(FRONT, order))
    np.testing.assert_array_equal(cached.images(FRONT, range(24)), plain.images(FRONT, range(24)))


def test_cache_file_is_reused_until_a_video_changes(root: Path, contract: Contract, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    Dataset(root, cache=folder).images(FRONT, [0])
    first = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    Dataset(root, cache=folder).images(FRONT, [1])
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == first
    with DatasetWriter.open(root, contract) as writer:
        writer.add_episode(make_episode(contract, 3, seed=5))
    np.testing.assert_array_equal(Dataset(root, cache=folder).images(FRONT, [26]), Dataset(root).images(FRONT, [26]))
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("cached", [False, True])
def test_pickled_dataset_reads_on(root: Path, tmp_path: Path, cached: bool) -> None:
    dataset = Dataset(root, cache=tmp_path / "cache" if cached else None)
    before = dataset.images(FRONT, [4])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset)).images(FRONT, [4]), before)


def test_few_open_files_suffice(root: Path) -> None:
    dataset = Dataset(root, max_open=1)
    np.testing.assert_array_equal(dataset.images(FRONT, [0, 10, 20, 1]), Dataset(root).images(FRONT, [0, 10, 20, 1]))


def test_unknown_key_lists_the_valid_ones(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"no feature \['observation.images.side'\]; it has .*wrist"):
        Dataset(root).window(0, [0], ["observation.images.side"])


def test_index_outside_is_named(root: Path) -> None:
    with pytest.raises(DatasetError, match="expected 0 to 23, found 24"):
        Dataset(root)[24]


def test_wrong_kind_of_feature(root: Path) -> None:
    with pytest.raises(DatasetError, match="is an image feature"):
        Dataset(root).column(FRONT)
    with pytest.raises(DatasetError, match="is not an image feature"):
        Dataset(root).images("action", [0])


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"found no meta/info\.json"):
        Dataset(tmp_path / "nowhere")


def test_other_version_names_both(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.1"}))
    with pytest.raises(DatasetError, match=r"expected 'v3.0', found 'v2.1'"):
        Dataset(root)


DAMAGE = {
    "truncated parquet": ("data/chunk-000/file-001.parquet", 300),
    "missing parquet": ("data/chunk-000/file-001.parquet", None),
    "truncated video": (f"videos/{FRONT}/chunk-000/file-001.mp4", 1200),
    "missing video": (f"videos/{FRONT}/chunk-000/file-001.mp4", None),
    "truncated info": ("meta/info.json", 100),
    "truncated episode rows": ("meta/episodes/chunk-000/file-000.parquet", 1000),
    "truncated tasks": ("meta/tasks.parquet", 100),
}


def damage(path: Path, size: int | None) -> None:
    """Truncate a file to `size` bytes, or remove it."""
    if size is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(("name", "size"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_file_is_named_with_the_cure(root: Path, name: str, size: int | None) -> None:
    damage(root / name, size)
    with pytest.raises(DamagedDatasetError) as caught:
        Dataset(root).episode(1)
    assert str(root / name) in str(caught.value)
    assert f"robot-learning dataset repair {root}" in str(caught.value)


def test_damage_elsewhere_does_not_matter(root: Path) -> None:
    damage(root / f"videos/{FRONT}/chunk-000/file-001.mp4", 1200)
    assert Dataset(root).images(FRONT, [0, 23]).shape == (2, 32, 32, 3)


def test_without_our_metadata_the_contract_is_none(root: Path, contract: Contract) -> None:
    (root / "meta/robot_learning.json").unlink()
    assert Dataset(root).contract is None
    assert Dataset(root).episode(0).task == "open the drawer"
    with pytest.raises(DatasetError, match="dataset of another tool"):
        DatasetWriter.open(root, contract)


def test_stats_cover_every_frame(root: Path) -> None:
    dataset = Dataset(root)
    stats = dataset.stats["observation.state"]
    states = dataset.column("observation.state").astype(np.float64)
    np.testing.assert_allclose(stats.mean, states.mean(0))
    np.testing.assert_allclose(stats.std, states.std(0))
    assert stats.count == 24
    assert dataset.stats[FRONT].mean.shape == (3,) and (dataset.stats[FRONT].max <= 1).all()


def test_stale_stats_file_is_not_believed(root: Path) -> None:
    plain = json.loads((root / "meta/stats.json").read_text())
    plain["index"]["count"], plain["action"]["mean"] = [13], [9.0] * 5
    (root / "meta/stats.json").write_text(json.dumps(plain))
    assert Dataset(root).stats["action"].mean.max() < 1


def test_statistics_are_of_the_frames_seen_while_a_writer_adds_more(root: Path, contract: Contract) -> None:
    before = Dataset(root)
    expected = Dataset(root).stats
    with DatasetWriter.open(root, contract) as writer:
        writer.add_episode(make_episode(contract, 6, seed=9))
    assert {key: entry.to_dict() for key, entry in before.stats.items()} == {
        key: entry.to_dict() for key, entry in expected.items()
    }
    assert Dataset(root).stats["index"].count == 30
