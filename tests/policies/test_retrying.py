from pathlib import Path

import numpy as np
import pytest

from robot_learning.control.retries import RetryPlan
from robot_learning.policies import Checkpoint, CheckpointError, ChunkPolicy, load_policy, save_checkpoint
from robot_learning.policies.retrying import load_retrying

STATE, OPEN = "observation.state", "open the drawer"
PLAN = RetryPlan({OPEN: 3}, ((0.4, 0.0, 0.25, 0.0),))


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    checkpoint.config["retry"] = PLAN.to_dict()
    return save_checkpoint(tmp_path / "policy", checkpoint)


def place(observation: dict[str, np.ndarray], x: float, z: float) -> None:
    """Put the tool there."""
    observation[STATE][13:18] = x, 0.0, z, 1.0, 0.0


def test_it_acts_as_the_clone_until_an_attempt_has_taken_too_long(folder: Path, observation) -> None:
    place(observation, 0.5, 0.05)
    plain, policy = load_policy(folder), load_retrying(folder)
    for _ in range(3):
        np.testing.assert_array_equal(policy.predict(observation, OPEN), plain.predict(observation, OPEN))
    assert policy.predict(observation, OPEN).tolist() == [0, 0, 1, 0, -1]


def test_after_the_way_back_the_clone_begins_anew(folder: Path, observation) -> None:
    policy = load_retrying(folder)
    place(observation, 0.5, 0.05)
    for _ in range(5):
        policy.predict(observation, OPEN)
    place(observation, 0.4, 0.25)  # it has come back
    fresh = load_policy(folder)
    np.testing.assert_array_equal(policy.predict(observation, OPEN), fresh.predict(observation, OPEN))


def test_a_reset_begins_anew(folder: Path, observation) -> None:
    policy, fresh = load_retrying(folder), load_policy(folder)
    place(observation, 0.5, 0.05)
    for _ in range(5):
        policy.predict(observation, OPEN)
    policy.reset()
    np.testing.assert_array_equal(policy.predict(observation, OPEN), fresh.predict(observation, OPEN))


def test_a_clone_that_does_not_know_how_long_attempts_take_says_so(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "old", checkpoint)
    policy = load_policy(folder)
    assert isinstance(policy, ChunkPolicy) and policy.retry_plan is None
    with pytest.raises(CheckpointError, match=r"old: expected a clone that knows how long its attempts may take"):
        load_retrying(folder)
