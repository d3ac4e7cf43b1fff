from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_learning.contract import Contract, ContractError
from robot_learning.data import Dataset, DatasetWriter, Feature
from robot_learning.data.observations import ReplayError
from robot_learning.data.replay import ReplayBuffer
from robot_learning.data.transitions import add_dataset, add_relabelled, dataset_space, labels_of

from .recordings import make_episode
from .replay_reference import ACTION_SPACE

STATE, FRONT = "observation.state", "observation.images.front"
OPEN, CLOSE = "open the drawer", "close the drawer"


def buffer_for(dataset: Dataset, keys: Sequence[str] = (STATE,), **options: Any) -> ReplayBuffer:
    actions = type(ACTION_SPACE)(-1, 1, (5,), np.float32)
    return ReplayBuffer(dataset_space(dataset, keys), actions, lowest_reward=0.0, **options)


@pytest.fixture
def play(tmp_path: Path, contract: Contract) -> Dataset:
    """One recording of 10 frames in which "open" is tried in 0-5 and done at 3, and "close" is tried in 6-9 and not done.

    `drawer` tells how far it is open at each frame.
    """
    root = tmp_path / "play"
    episode = make_episode(contract, 10, seed=5)
    drawer = np.array([0, 0, 1, 1, 1, 0, 0, 1, 0, 0], np.float32)
    with DatasetWriter.create(root, contract, extra={"drawer": Feature("float32", (1,))}) as writer:
        for t in range(10):
            frame = {key: values[t] for key, values in episode.frames.items()}
            frame |= {"next.success": np.array([t == 3]), "next.reward": np.array([t == 3], np.float32)}
            writer.add_frame({**frame, "drawer": drawer[t : t + 1]}, task=OPEN if t < 6 else CLOSE)
        writer.save_episode(success=True)
    return Dataset(root)


def is_open(frames: Any) -> np.ndarray:
    return frames["drawer"][:, 0] > 0.5


def is_closed(frames: Any) -> np.ndarray:
    return frames["drawer"][:, 0] < 0.5


def test_demonstrations_become_episodes(root: Path) -> None:
    """Episodes of 8 (success at the last frame), 5 (a failure, which loses its last action) and 11 frames."""
    dataset = Dataset(root)
    buffer = buffer_for(dataset, [STATE, FRONT])
    assert add_dataset(buffer, "demonstrations", dataset) == 3
    source = buffer.source("demonstrations")
    assert source.frames == source.capacity == 9 + 5 + 12
    assert np.flatnonzero(source.terminated[:, 0]).tolist() == [7, 9 + 5 + 10]
    np.testing.assert_array_equal(source.observation[STATE][:8], dataset.column(STATE)[:8])
    np.testing.assert_array_equal(source.observation[FRONT][9:14], dataset.images(FRONT, range(8, 13)))
    np.testing.assert_array_equal(source.action[9:13], dataset.column("action")[8:12])
    statistics = buffer.statistics()["demonstrations"]
    assert (statistics.episodes, statistics.successes, statistics.transitions) == (3, 2, 8 + 4 + 11)
    assert buffer.tasks == [OPEN, CLOSE]


def test_the_first_success_ends_the_episode(play: Dataset) -> None:
    buffer = buffer_for(play)
    add_dataset(buffer, "play", play, tasks=[OPEN])
    source = buffer.source("play")
    assert source.transitions == 4  # 0, 1, 2, 3; the two frames after success are cut
    assert source.terminated[:5, 0].tolist() == [False, False, False, True, False]
    assert source.success[:4, 0].all()
    np.testing.assert_array_equal(source.observation[STATE], play.column(STATE)[:5])


def test_a_stretch_of_play_that_fails_is_truncated(play: Dataset) -> None:
    buffer = buffer_for(play)
    add_dataset(buffer, "play", play, tasks=[CLOSE])
    source = buffer.source("play")
    assert source.transitions == 3  # 6, 7, 8; after 9 nothing is known
    assert not source.terminated.any() and not source.success.any()
    assert source.mc_return[:3, 0].tolist() == [0.0] * 3


def test_failures_can_be_left_out(root: Path) -> None:
    buffer = buffer_for(Dataset(root))
    assert add_dataset(buffer, "demonstrations", Dataset(root), only_success=True) == 2


def test_another_dataset_joins_the_same_source(root: Path, play: Dataset) -> None:
    buffer = buffer_for(play)
    add_dataset(buffer, "demonstrations", Dataset(root))
    add_dataset(buffer, "demonstrations", play)
    assert buffer.statistics()["demonstrations"].episodes == 5


def test_labels_follow_a_task_that_is_done_and_undone() -> None:
    done = np.array([0, 0, 1, 1, 0, 1, 0, 0], bool)[:, None]
    labels = labels_of(done, np.array([3]))
    assert labels.valid[:, 0].tolist() == [True, True, False, False, True, False, True]
    assert labels.terminated[:, 0].tolist() == [False, True, False, False, True, False, False]
    assert labels.success[:, 0].tolist() == [True, True, False, False, True, False, False]
    assert labels.reward[:, 0].tolist() == [0, 1, 0, 0, 1, 0, 0]


def test_the_same_frames_serve_several_instructions(play: Dataset) -> None:
    buffer = buffer_for(play, gamma=0.5, n_step=3)
    found = add_relabelled(buffer, "play", play, {OPEN: is_open, CLOSE: is_closed})
    source = buffer.source("play")
    assert found == {OPEN: 2, CLOSE: 2}
    assert source.frames == 10
    # drawer 0 0 1 1 1 0 0 1 0 0: open is to be done at frames 0 1 5 6 8, close at 2 3 4 7; frame 9 is the last.
    assert np.flatnonzero(source.valid[:, 0]).tolist() == [0, 1, 5, 6, 8]
    assert np.flatnonzero(source.valid[:, 1]).tolist() == [2, 3, 4, 7]
    assert source.mc_return[[0, 1, 5, 6, 8], 0].tolist() == [0.5, 1.0, 0.5, 1.0, 0.0]
    assert source.success[[0, 1, 5, 6, 8], 0].tolist() == [True] * 4 + [False]
    assert source.mc_return[[2, 3, 4, 7], 1].tolist() == [0.25, 0.5, 1.0, 1.0]


def test_n_steps_stay_within_the_attempts_of_their_task(play: Dataset) -> None:
    buffer = buffer_for(play, gamma=0.5, n_step=3)
    add_relabelled(buffer, "play", play, {OPEN: is_open, CLOSE: is_closed})
    batch = buffer.sample(500, None, np.random.default_rng(0))
    states = play.column(STATE)
    number = {values.tobytes(): n for n, values in enumerate(states)}
    rows = {
        (buffer.tasks[task], number[here.tobytes()], number[there.tobytes()], reward, discount)
        for task, here, there, reward, discount in zip(
            batch.task, batch.observation[STATE], batch.next_observation[STATE],
            batch.reward.tolist(), batch.discount.tolist(), strict=True,
        )
    }  # fmt: skip
    assert rows == {
        (OPEN, 0, 2, 0.5, 0.0), (OPEN, 1, 2, 1.0, 0.0), (OPEN, 5, 7, 0.5, 0.0), (OPEN, 6, 7, 1.0, 0.0), (OPEN, 8, 9, 0.0, 0.5),
        (CLOSE, 2, 5, 0.25, 0.0), (CLOSE, 3, 5, 0.5, 0.0), (CLOSE, 4, 5, 1.0, 0.0), (CLOSE, 7, 8, 1.0, 0.0),
    }  # fmt: skip


def test_relabelled_play_survives_saving(play: Dataset, tmp_path: Path) -> None:
    buffer = buffer_for(play)
    add_relabelled(buffer, "play", play, {OPEN: is_open, CLOSE: is_closed})
    buffer.save(tmp_path / "replay")
    one, other = (
        each.sample(64, None, np.random.default_rng(0)) for each in (buffer, ReplayBuffer.load(tmp_path / "replay"))
    )
    np.testing.assert_array_equal(one.task, other.task)
    np.testing.assert_array_equal(one.mc_return, other.mc_return)


def test_a_task_nobody_tried_is_refused(root: Path) -> None:
    with pytest.raises(ReplayError, match=r"no task .* it has"):
        add_dataset(buffer_for(Dataset(root)), "a", Dataset(root), tasks=["fly"])


def test_a_dataset_without_a_wanted_key_is_refused(root: Path, play: Dataset) -> None:
    with pytest.raises(ReplayError, match=r"no feature \['drawer'\]"):
        add_dataset(buffer_for(play, ["drawer"]), "a", Dataset(root))


def test_another_shape_is_refused(root: Path) -> None:
    dataset = Dataset(root)
    buffer = buffer_for(dataset, [FRONT])
    dataset.features[FRONT] = replace(dataset.features[FRONT], shape=(64, 64, 3))
    with pytest.raises(ReplayError, match=r"expects shape \(32, 32, 3\), found \(64, 64, 3\)"):
        add_dataset(buffer, "a", dataset)


def test_another_robot_is_refused(root: Path, contract: Contract) -> None:
    other = replace(contract, rate=20.0)
    with pytest.raises(ContractError, match="rate"):
        add_dataset(buffer_for(Dataset(root)), "a", Dataset(root), contract=other)


def test_the_same_robot_with_other_cameras_will_do(root: Path, contract: Contract) -> None:
    other = contract.with_image_size(64, 64)
    assert add_dataset(buffer_for(Dataset(root)), "a", Dataset(root), contract=other) == 3


def test_numbers_that_are_not_finite_are_refused_with_their_episode(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset(root)
    state = dataset.column(STATE).copy()
    state[10, 3] = np.nan
    column = dataset.column
    monkeypatch.setattr(dataset, "column", lambda key: state if key == STATE else column(key))
    with pytest.raises(
        ReplayError, match=r"episode 1: observation.state: expected finite numbers, found nan at \[2, 3\]"
    ):
        add_dataset(buffer_for(dataset), "a", dataset)


@pytest.mark.parametrize(
    ("tell", "message"),
    [
        (lambda frames: frames["drawer"], r"expected \(10,\) bool, found \(10, 1\) float32"),
        (lambda frames: frames["door"], "'door'; the dataset has"),
    ],
)
def test_a_success_function_that_does_not_fit_is_refused(play: Dataset, tell: Callable[..., Any], message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        add_relabelled(buffer_for(play), "play", play, {OPEN: tell})
