from pathlib import Path

import numpy as np
import pytest

from robot_learning.data import Dataset
from robot_learning.rewards.prompted import plain_book
from robot_learning.training.reward_frames import choose_frames
from robot_learning.training.reward_prompting import labelled_pictures
from robot_learning.training.reward_training import known_questions

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
