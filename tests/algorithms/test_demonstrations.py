import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from robot_learning.algorithms.demonstrations import (
    DemonstrationError,
    Demonstrations,
    load_play,
    told_by_play,
    with_play,
    with_prior,
)
from robot_learning.contract import Contract, ContractError
from robot_learning.data import Dataset, DatasetWriter, Episode

STATE, FRONT = "observation.state", "observation.images.front"
SIZE = 32


def episode(task: str, length: int, success: bool, first: float) -> Episode:
    """The action's first element counts the frames from `first`; the picture's red is the frame number."""
    frames = {
        STATE: np.zeros((length, 18), np.float32),
        FRONT: np.stack([np.full((SIZE, SIZE, 3), 10 * t, np.uint8) for t in range(length)]),
        "action": np.zeros((length, 5), np.float32),
        "next.reward": np.zeros((length, 1), np.float32),
        "next.done": np.zeros((length, 1), bool),
        "next.success": np.zeros((length, 1), bool),
    }
    frames["action"][:, 0] = first + 0.01 * np.arange(length)
    return Episode(task=task, frames=frames, success=success, info={})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    contract = Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(SIZE, SIZE)
    root = tmp_path_factory.mktemp("data") / "set"
    with DatasetWriter.create(root, contract) as writer:
        writer.add_episode(episode("open", 5, True, 0.1))
        writer.add_episode(episode("open", 4, False, 0.2))
        writer.add_episode(episode("close", 6, True, 0.3))
        writer.add_episode(episode("open", 3, True, 0.4))
    return Dataset(root)


def test_only_successes_are_kept_by_default(dataset: Dataset) -> None:
    data = Demonstrations.load(dataset, [STATE])
    assert (len(data), data.num_episodes, data.tasks) == (14, 3, ["close", "open"])


def test_failures_are_kept_when_asked_for(dataset: Dataset) -> None:
    assert len(Demonstrations.load(dataset, [STATE], only_success=False)) == 18


def test_tasks_can_be_chosen(dataset: Dataset) -> None:
    data = Demonstrations.load(dataset, [STATE], tasks=["open"])
    assert (len(data), data.tasks) == (8, ["open"])


def test_images_belong_to_their_frames(dataset: Dataset) -> None:
    data = Demonstrations.load(dataset, [STATE, FRONT])
    expected = 10 * np.concatenate([np.arange(5), np.arange(6), np.arange(3)])
    assert np.abs(data.images[FRONT].mean(axis=(1, 2, 3)) - expected).max() < 4  # video is lossy


def test_each_frame_knows_its_task(dataset: Dataset) -> None:
    data = Demonstrations.load(dataset, [STATE])
    assert data.task_of.tolist() == [1] * 5 + [0] * 6 + [1] * 3


def test_chunks_stop_at_the_end_of_the_episode(dataset: Dataset) -> None:
    data = Demonstrations.load(dataset, [STATE])
    chunk, is_pad = data.chunks(np.array([3]), horizon=4)
    np.testing.assert_allclose(chunk[0, :, 0], [0.13, 0.14, 0.14, 0.14], rtol=1e-5)
    assert is_pad[0].tolist() == [False, False, True, True]


def test_the_last_episodes_of_each_task_are_held_out(dataset: Dataset) -> None:
    data = Demonstrations.load(dataset, [STATE], tasks=["open"])
    training, validation = data.split(1)
    assert (training.tolist(), validation.tolist()) == ([0, 1, 2, 3, 4], [5, 6, 7])


def test_holding_out_everything_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DemonstrationError, match="1 of 1 episodes of 'close'"):
        Demonstrations.load(dataset, [STATE]).split(1)


def test_an_unknown_task_lists_the_known_ones(dataset: Dataset) -> None:
    with pytest.raises(DemonstrationError, match=r"dance.*close.*open"):
        Demonstrations.load(dataset, [STATE], tasks=["dance"])


def test_a_missing_camera_lists_the_streams(dataset: Dataset) -> None:
    with pytest.raises(ContractError, match=r"wrist.*front"):
        Demonstrations.load(dataset, [STATE, "observation.images.wrist"])


def test_a_dataset_without_success_says_so(tmp_path: Path) -> None:
    contract = Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(SIZE, SIZE)
    with DatasetWriter.create(tmp_path / "set", contract) as writer:
        writer.add_episode(dataclasses.replace(episode("open", 4, False, 0.2)))
    with pytest.raises(DemonstrationError, match="0 succeeded"):
        Demonstrations.load(Dataset(tmp_path / "set"), [STATE])


# Play


def play_episode() -> tuple[Episode, list[str]]:
    """ "open" for 10 frames, done in the fourth; "close" for 6, not done; "open" for 5, done in the last."""
    whole = episode("open", 21, True, 0.0)
    whole.frames["next.success"][[3, 20]] = True
    return whole, ["open"] * 10 + ["close"] * 6 + ["open"] * 5


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    contract = Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(SIZE, SIZE)
    root = tmp_path_factory.mktemp("data") / "play"
    recorded, tasks = play_episode()
    with DatasetWriter.create(root, contract) as writer:
        for t, task in enumerate(tasks):
            writer.add_frame({key: values[t] for key, values in recorded.frames.items()}, task=task)
        writer.save_episode(success=True)
    return Dataset(root)


def test_an_attempt_amid_play_ends_some_frames_after_its_success(play: Dataset) -> None:
    data = load_play(play, [STATE], ["open"], partial(told_by_play, linger=2))
    assert data is not None
    np.testing.assert_allclose(data.actions[:6, 0], 0.01 * np.arange(6), atol=1e-6)
    assert data.ends.tolist() == [6] * 6 + [11] * 5


def test_an_attempt_amid_play_ends_with_the_recording(play: Dataset) -> None:
    data = load_play(play, [STATE], ["open"], partial(told_by_play, linger=2))
    assert data is not None
    np.testing.assert_allclose(data.actions[6:, 0], 0.01 * np.arange(16, 21), atol=1e-6)


def test_pictures_of_play_belong_to_their_frames(play: Dataset) -> None:
    data = load_play(play, [STATE, FRONT], ["open"], partial(told_by_play, linger=0))
    assert data is not None
    expected = 10 * np.array([0, 1, 2, 3, 16, 17, 18, 19, 20])
    assert np.abs(data.images[FRONT].mean(axis=(1, 2, 3)) - expected).max() < 4  # video is lossy


def test_an_attempt_that_fails_amid_play_is_left_out(play: Dataset) -> None:
    assert load_play(play, [STATE], ["close"]) is None


def test_play_comes_after_the_demonstrations_of_the_same_tasks(dataset: Dataset, play: Dataset) -> None:
    demonstrated = Demonstrations.load(dataset, [STATE], tasks=["open"])
    joined = with_play(demonstrated, [str(play.root)], [STATE])
    assert (len(joined), joined.tasks, joined.num_episodes) == (len(demonstrated) + 14, ["open"], 4)


def test_play_without_a_success_at_the_tasks_is_refused(dataset: Dataset, play: Dataset) -> None:
    demonstrated = Demonstrations.load(dataset, [STATE], tasks=["close"])
    with pytest.raises(DemonstrationError, match=r"no attempt at \['close'\] succeeded in .*play"):
        with_play(demonstrated, [str(play.root)], [STATE])


def test_play_with_numbers_that_are_not_finite_is_refused(play: Dataset) -> None:
    damaged = Dataset(play.root)
    values = np.array(damaged.column(STATE))
    values[1, 0] = np.nan
    damaged._columns[STATE] = values  # our writer refuses such numbers, another one may not
    with pytest.raises(DemonstrationError, match="not finite"):
        load_play(damaged, [STATE], ["open"])


# Prior data


def test_prior_data_comes_first_with_all_its_tasks(dataset: Dataset, play: Dataset) -> None:
    own = Demonstrations.load(dataset, [STATE], tasks=["close"])
    joined = with_prior(own, [str(play.root), str(dataset.root)], [STATE])
    assert (joined.prior, len(joined), joined.tasks) == (14 + 14, 28 + 6, ["close", "open"])
    np.testing.assert_array_equal(joined.actions[28:], own.actions)


def test_pictures_of_several_folders_belong_to_their_frames(dataset: Dataset, play: Dataset) -> None:
    own = Demonstrations.load(dataset, [STATE, FRONT], tasks=["close"])
    joined = with_prior(own, [str(play.root), str(dataset.root)], [STATE, FRONT])
    parts = [load_play(play, [STATE, FRONT], ["open"]), Demonstrations.load(dataset, [STATE, FRONT]), own]
    expected = np.concatenate([part.images[FRONT] for part in parts if part is not None])
    np.testing.assert_array_equal(joined.images[FRONT], expected)


def test_what_is_practised_comes_after_prior_data(dataset: Dataset, play: Dataset) -> None:
    own = Demonstrations.load(dataset, [STATE])
    begun = with_prior(own, [str(play.root)], [STATE])
    joined = Demonstrations.join([begun, own], practised=True)
    assert (joined.prior, joined.practised, len(joined)) == (14, len(own), len(begun) + len(own))
    with pytest.raises(ValueError, match="only with the first"):
        Demonstrations.join([own, begun])


def test_prior_data_is_not_held_out(dataset: Dataset, play: Dataset) -> None:
    data = with_prior(Demonstrations.load(dataset, [STATE], tasks=["open"]), [str(play.root)], [STATE])
    training, validation = data.split(1)
    assert (training.tolist(), validation.tolist()) == (list(range(14 + 5)), [19, 20, 21])


def test_prior_play_without_any_success_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    contract = Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(SIZE, SIZE)
    recorded, tasks = play_episode()
    recorded.frames["next.success"][:] = False
    with DatasetWriter.create(tmp_path / "dull", contract) as writer:
        for t, task in enumerate(tasks):
            writer.add_frame({key: values[t] for key, values in recorded.frames.items()}, task=task)
        writer.save_episode(success=True)
    own = Demonstrations.load(dataset, [STATE])
    with pytest.raises(DemonstrationError, match=r"dull: nothing that was tried in this play succeeded"):
        with_prior(own, [str(tmp_path / "dull")], [STATE])


def test_more_tasks_can_be_named(dataset: Dataset) -> None:
    shown = Demonstrations.load(dataset, [STATE])
    named = shown.naming(["answer the door", "water the plants"])
    assert named.tasks == sorted({*shown.tasks, "answer the door", "water the plants"})
    assert [named.tasks[i] for i in named.task_of] == [shown.tasks[i] for i in shown.task_of]
