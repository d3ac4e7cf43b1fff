"""An evaluation that is kept: which episodes are run again, and when it does not count."""

from __future__ import annotations

import json

import pytest

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.errors import UserError
from robot_learning.training.config import TrainConfig
from robot_learning.training.kept_evaluation import KeptEvaluation
from robot_learning.training.offline import train

from . import drawer_world


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> KeptEvaluation:
    """Two episodes of a clone that can do nothing, at one desk."""
    folder = tmp_path_factory.mktemp("kept")
    bc = BehaviourCloningConfig(inputs="state", hidden=(8,))
    dataset, run = drawer_world.collect(folder / "data", episodes=2), folder / "run"
    train(TrainConfig(dataset=str(dataset), run=str(run), steps=1, threads=1, bc=bc))
    kept = KeptEvaluation(folder / "kept.json", run / "checkpoints" / "last", ["open_drawer"], 2, 100, furniture=3)
    kept.run(processes=0)
    return kept


def test_every_episode_is_kept(kept: KeptEvaluation) -> None:
    told = kept.result().tasks["open_drawer"]
    assert (told.successes, told.episodes) == (0, 2)


def test_only_the_missing_episode_is_run(kept: KeptEvaluation) -> None:
    complete = json.loads(kept.path.read_text())
    first, second = complete["episodes"]
    marked = {**first, "length": 1}  # would be overwritten if it were run again
    kept.path.write_text(json.dumps({**complete, "episodes": [marked]}))
    kept.run(processes=0)
    assert json.loads(kept.path.read_text())["episodes"] == [marked, second]


def test_an_evaluation_of_other_weights_does_not_count(kept: KeptEvaluation) -> None:
    content = kept.path.read_text()
    kept.path.write_text(json.dumps({**json.loads(content), "weights": "0"}))
    try:
        assert kept.result().episodes == 0
    finally:
        kept.path.write_text(content)


@pytest.mark.parametrize(
    "damage", ['{"weights": "', '{"weights": "0"}', "[]", '{"weights": "0", "episodes": [{"task": 1}]}']
)
def test_a_damaged_file_is_named(kept: KeptEvaluation, damage: str) -> None:
    content = kept.path.read_text()
    kept.path.write_text(damage)
    try:
        with pytest.raises(UserError, match=r"kept\.json: expected the episodes of an evaluation.*remove the file"):
            kept.run(processes=0)
    finally:
        kept.path.write_text(content)
