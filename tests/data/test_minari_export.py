from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_learning.data import Dataset, DatasetError
from robot_learning.data.minari_export import export_minari

minari = pytest.importorskip("minari")
STATE, FRONT = "observation.state", "observation.images.front"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minari writes below this folder, not in the home of whoever runs the tests."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def test_minari_loads_what_was_exported(root: Path) -> None:
    dataset = Dataset(root)
    assert export_minari(dataset, "playroom/drawer-v0") == 3
    loaded = minari.load_dataset("playroom/drawer-v0")
    assert (loaded.total_episodes, loaded.total_steps) == (3, 24)
    for number, episode in enumerate(loaded.iterate_episodes()):
        ours = dataset.episode(number)
        assert len(episode.observations[STATE]) == len(ours) + 1
        np.testing.assert_array_equal(episode.actions, ours.frames["action"])
        np.testing.assert_array_equal(episode.observations[STATE][:-1], ours.frames[STATE])
        np.testing.assert_array_equal(episode.observations[STATE][-1], ours.frames[STATE][-1])
        np.testing.assert_array_equal(episode.observations[FRONT][:-1], ours.frames[FRONT])
        np.testing.assert_array_equal(episode.rewards, ours.frames["next.reward"].reshape(-1))
        assert episode.terminations.tolist() == ours.frames["next.done"].reshape(-1).tolist()
        assert not episode.truncations.any()
        assert loaded.storage.get_episode_metadata([number]).__iter__().__next__()["task"] == ours.task


def test_taken_id_is_refused(root: Path) -> None:
    export_minari(Dataset(root), "playroom/drawer-v0")
    with pytest.raises(DatasetError, match="exists"):
        export_minari(Dataset(root), "playroom/drawer-v0")


def test_wrong_id_is_refused(root: Path) -> None:
    with pytest.raises(DatasetError, match="expected a Minari id"):
        export_minari(Dataset(root), "no version")
