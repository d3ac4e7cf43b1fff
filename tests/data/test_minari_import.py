from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from robot_learning.data import Dataset
from robot_learning.data.minari_export import MissingExtraError, export_minari
from robot_learning.data.minari_import import add_minari, buffer_from_minari, open_minari
from robot_learning.data.observations import ReplayError

minari = pytest.importorskip("minari")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")  # author, permalink: of no use here
PLAIN = Box(-np.inf, np.inf, (3,), np.float64)
ACTIONS = Box(np.array([-2.0, 0.0]), np.array([2.0, 1.0]), dtype=np.float64)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minari reads and writes below this folder, not in the home of whoever runs the tests."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def record(
    lengths: list[int],
    space: gymnasium.Space[Any] = PLAIN,
    actions: gymnasium.Space[Any] = ACTIONS,
    terminated: tuple[int, ...] = (),
    infos: dict[str, Any] | None = None,
    ends: list[list[bool]] | None = None,
) -> Any:
    """A dataset of random episodes; those numbered in `terminated` terminate, the others are truncated."""
    from minari.data_collector import EpisodeBuffer

    space.seed(0)
    actions.seed(0)
    buffers = []
    for number, length in enumerate(lengths):
        shots = [space.sample() for _ in range(length + 1)]
        observations: Any = (
            {key: np.stack([shot[key] for shot in shots]) for key in space}
            if isinstance(space, Dict)
            else np.stack(shots)
        )
        last = np.arange(length) == length - 1
        stops = np.array(ends[number]) if ends else last & (number in terminated)
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=observations,
                actions=np.stack([actions.sample() for _ in range(length)]),
                rewards=np.arange(length, dtype=np.float64),
                terminations=stops,
                truncations=last & ~stops,
                infos=infos,
            )
        )
    return minari.create_dataset_from_buffers(
        "test/tiny-v0", buffers, observation_space=space, action_space=actions, data_format="hdf5", requirements=[]
    )


def test_ends_are_respected() -> None:
    dataset = record([4, 3], terminated=(0,))
    buffer = buffer_from_minari("test/tiny-v0", gamma=0.5, lowest_reward=0.0)
    source = buffer.source("offline")
    assert source.transitions == 7
    assert np.flatnonzero(source.terminated[:, 0]).tolist() == [3]
    assert source.mc_return[5:8, 0].tolist() == [1.0, 2.0, 2.0]
    for first, episode in zip([0, 5], dataset.iterate_episodes(), strict=True):
        length = len(episode)
        expected = episode.observations.astype(np.float32)
        np.testing.assert_array_equal(source.observation["observation"][first : first + length + 1], expected)
        np.testing.assert_array_equal(source.reward[first : first + length, 0], episode.rewards)


def test_actions_are_scaled_to_their_bounds() -> None:
    dataset = record([5])
    buffer = buffer_from_minari(dataset)
    actions = next(iter(dataset.iterate_episodes())).actions
    expected = np.stack([actions[:, 0] / 2, 2 * actions[:, 1] - 1], axis=1)
    np.testing.assert_allclose(buffer.source("offline").action[:5], expected, atol=1e-6)


def test_dict_observations_keep_their_keys() -> None:
    space = Dict({"position": Box(-1, 1, (2,), np.float32), "camera": Box(0, 255, (8, 8, 3), np.uint8)})
    record([6], space)
    batch = buffer_from_minari("test/tiny-v0").sample(16, rng=np.random.default_rng(0))
    assert {key: (v.shape, v.dtype.name) for key, v in batch.observation.items()} == {
        "position": ((16, 2), "float32"),
        "camera": ((16, 8, 8, 3), "uint8"),
    }


def test_a_recording_that_goes_on_after_a_terminal_is_split_there() -> None:
    record([6], ends=[[False, True, True, True, True, False]])
    buffer = buffer_from_minari("test/tiny-v0")
    assert (buffer.statistics()["offline"].episodes, buffer.size("offline")) == (5, 6)
    assert np.flatnonzero(buffer.source("offline").terminated[:, 0]).tolist() == [1, 3, 5, 7]


@pytest.mark.parametrize("key", ["is_success", "success"])
def test_success_is_taken_from_the_infos(key: str) -> None:
    record([3], infos={key: np.array([False, False, True, False])})
    assert buffer_from_minari("test/tiny-v0").statistics()["offline"].successes == 1


def test_two_datasets_share_a_buffer() -> None:
    buffer = buffer_from_minari(record([4, 4]), "expert")
    assert add_minari(buffer, "expert", "test/tiny-v0") == 2
    assert add_minari(buffer, "play", "test/tiny-v0", task="wander") == 2
    assert (buffer.size("expert"), buffer.size("play"), buffer.tasks) == (16, 8, ["", "wander"])


def test_what_we_export_comes_back(root: Path) -> None:
    dataset = Dataset(root)
    export_minari(dataset, "playroom/drawer-v0")
    buffer = buffer_from_minari("playroom/drawer-v0")
    assert buffer.size("offline") == dataset.num_frames
    np.testing.assert_allclose(buffer.source("offline").action[:8], dataset.column("action")[:8], atol=1e-6)
    assert buffer.statistics()["offline"].successes == 2


def test_a_dataset_that_is_not_here_is_refused() -> None:
    record([2])
    with pytest.raises(ReplayError, match=r"not on this machine .* here are \['test/tiny-v0'\]"):
        open_minari("test/other-v0")


@pytest.mark.parametrize(
    "actions", [Discrete(3), Box(-np.inf, np.inf, (2,), np.float32)], ids=["discrete", "without bounds"]
)
def test_actions_that_cannot_be_scaled_are_refused(actions: gymnasium.Space[Any]) -> None:
    record([2], actions=actions)
    with pytest.raises(ReplayError, match="action space"):
        buffer_from_minari("test/tiny-v0")


def test_numbers_that_are_not_finite_are_refused_with_their_episode() -> None:
    dataset = record([3, 3])
    buffer = buffer_from_minari(dataset)
    episode = list(dataset.iterate_episodes())[1]
    episode.rewards[1] = np.nan
    broken = type("Broken", (), {"iterate_episodes": lambda self: [episode], "action_space": ACTIONS})()
    broken.total_steps, broken.total_episodes = 3, 1
    with pytest.raises(ReplayError, match="Minari episode 1: rewards"):
        add_minari(buffer, "offline", broken)


def test_without_minari_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingExtraError, match=r"robot_learning\[convert\]"):
        open_minari("test/tiny-v0")
