from pathlib import Path

import numpy as np
import pytest

from robot_learning.data import Dataset
from robot_learning.rewards import LabelError
from robot_learning.rewards.prompted import plain_book
from robot_learning.rewards.training import ALWAYS
from robot_learning.training.reward_frames import AnsweredFrames, choose_frames
from robot_learning.training.reward_prompting import PromptedRun, labelled_pictures, train_prompted
from robot_learning.training.reward_training import RewardRun, known_questions

from . import drawer_world


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("data")
    return [drawer_world.collect(folder / name, episodes=2, seed=seed) for name, seed in (("one", 0), ("two", 9))]


def test_pictures_come_in_the_order_asked_for(roots: list[Path]) -> None:
    data = labelled_pictures(choose_frames(roots, plain_book(known_questions(None))), ("front",))
    frames = [Dataset(root).images("observation.images.front", np.arange(12)) for root in roots]
    (found,) = data.look(np.array([23, 0, 12, 0, 5]))
    expected = [frames[1][11], frames[0][0], frames[1][0], frames[0][0], frames[0][5]]
    np.testing.assert_array_equal(found, np.stack(expected))


def test_datasets_keep_their_episodes_apart(roots: list[Path]) -> None:
    data = labelled_pictures(choose_frames(roots, plain_book(known_questions(None))), ("front",))
    assert data.episodes.tolist() == np.repeat(np.arange(4), 6).tolist()
    assert len(data.labels) == 24


class Answered:
    """Stands for pictures that a person answered by themselves: two, twice as large as those of the datasets."""

    num_episodes = 0

    def images(self, camera: str, rows: np.ndarray) -> np.ndarray:
        return np.stack([np.full((64, 64, 3), 100 * row, np.uint8) for row in rows])


def test_answered_pictures_belong_to_no_episode_and_get_the_others_size(roots: list[Path]) -> None:
    chosen = choose_frames(roots, plain_book(known_questions(None)))
    labels = np.ones((2, chosen[0].labels.shape[1]), np.int8)
    answered = AnsweredFrames(Answered(), np.arange(2), np.full(2, ALWAYS), labels)  # type: ignore[arg-type]
    data = labelled_pictures([*chosen, answered], ("front",))
    assert data.episodes[-2:].tolist() == [ALWAYS, ALWAYS]
    (found,) = data.look(np.array([25, 0]))
    assert found.shape == (2, 32, 32, 3)
    assert (found[0] == 100).all()


def test_single_pictures_need_lora(roots: list[Path], tmp_path: Path) -> None:
    run = RewardRun(dataset=tuple(roots), uncertain=(tmp_path,))
    with pytest.raises(LabelError, match=r"--lora\.rank"):
        train_prompted(run, "openai", PromptedRun(model="any"))
