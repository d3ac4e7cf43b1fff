import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_learning.policies import (
    Checkpoint,
    ChunkPolicy,
    ObservationError,
    UnknownTaskError,
    load_policy,
    save_checkpoint,
)

STATE, FRONT = "observation.state", "observation.images.front"
OPEN = "open the drawer"


@pytest.fixture
def policy(checkpoint: Checkpoint, tmp_path: Path) -> ChunkPolicy:
    loaded = load_policy(save_checkpoint(tmp_path / "policy", checkpoint))
    assert isinstance(loaded, ChunkPolicy)
    return loaded


def test_a_missing_stream_is_named_with_what_is_there(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    del observation[FRONT]
    with pytest.raises(ObservationError, match=r"images\.front.*it has \['observation.state'\]"):
        policy.predict(observation, OPEN)


def test_a_wrong_image_size_names_both(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    observation[FRONT] = np.zeros((96, 96, 3), np.uint8)
    with pytest.raises(ObservationError, match=r"expects shape \(24, 20, 3\), found \(96, 96, 3\)"):
        policy.predict(observation, OPEN)


def test_a_float_image_is_refused(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    observation[FRONT] = observation[FRONT] / 255.0
    with pytest.raises(ObservationError, match="expects uint8, found float64"):
        policy.predict(observation, OPEN)


def test_nan_names_the_sensor(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    observation[STATE][14] = np.nan
    with pytest.raises(ObservationError, match=r"tcp\.y"):
        policy.predict(observation, OPEN)


def test_nan_is_refused_while_a_chunk_is_playing(
    checkpoint: Checkpoint, tmp_path: Path, observation: dict[str, np.ndarray]
) -> None:
    checkpoint.config["blending"]["every"] = 4
    policy = load_policy(save_checkpoint(tmp_path / "policy", checkpoint))
    policy.predict(observation, OPEN)
    observation[STATE][0] = np.inf
    with pytest.raises(ObservationError, match="not finite"):
        policy.predict(observation, OPEN)


def test_an_unknown_task_lists_the_known_ones(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    with pytest.raises(UnknownTaskError, match=r"make tea.*open the drawer"):
        policy.predict(observation, "make tea")


def test_the_first_action_is_the_chunk_s_first(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(policy.predict(observation, OPEN), policy.predict_chunk(observation, OPEN)[0])


def test_actions_stay_in_range(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    observation[STATE][:] = 1e3
    assert np.abs(policy.predict_chunk(observation, OPEN)).max() <= 1.0


def test_displacements_and_actions_are_played_alike_when_each_chunk_is_played_to_its_end(
    checkpoint: Checkpoint, tmp_path: Path, observation: dict[str, np.ndarray]
) -> None:
    """Without overlap nothing is blended: the summed chunk's differences are the actions."""
    checkpoint.config["blending"]["every"] = 4
    policy = load_policy(save_checkpoint(tmp_path / "policy", checkpoint))
    assert isinstance(policy, ChunkPolicy)
    chunk = policy.predict_chunk(observation, OPEN)
    played = [policy.predict(observation, OPEN) for _ in range(4)]
    assert np.abs(chunk).max() < 1  # or clipping would explain a difference
    np.testing.assert_allclose(played, chunk, atol=1e-5)


def test_what_clipping_cut_off_a_displacement_is_made_up_for(
    checkpoint: Checkpoint, tmp_path: Path, observation: dict[str, np.ndarray]
) -> None:
    statistics = {**checkpoint.statistics, "action": {"mean": [1.5, 0, 0, 0, 0], "scale": [1e-6] * 5}}
    checkpoint.config["blending"]["every"] = 4  # to be displaced by 1.5 after each of four ticks
    policy = load_policy(save_checkpoint(tmp_path / "policy", dataclasses.replace(checkpoint, statistics=statistics)))
    played = [float(policy.predict(observation, OPEN)[0]) for _ in range(4)]
    np.testing.assert_allclose(played, [1.0, 0.5, 0.0, 0.0], atol=1e-4)


def test_reset_forgets_the_episode(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    first = policy.predict(observation, OPEN)
    policy.predict({**observation, STATE: -observation[STATE]}, OPEN)
    policy.reset()
    np.testing.assert_array_equal(policy.predict(observation, OPEN), first)


def test_tasks_act_differently(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    chunks = [policy.predict_chunk(observation, task) for task in policy.tasks]
    assert not np.allclose(*chunks)


def test_it_goes_on_with_its_way_until_a_reset(policy: ChunkPolicy, observation: dict[str, np.ndarray]) -> None:
    """One of two ways is a little more probable at first, the other from then on."""
    way = torch.arange(1.0, 5.0)[:, None].expand(4, 5)  # sums of actions
    probable = iter([0.6, 0.4, 0.4, 0.4])
    policy.network.candidates = lambda _: (
        torch.tensor([[p := next(probable), 1 - p]]).log(),
        torch.stack([way, -way])[None],
    )
    first, then, alone = (
        policy.plan(observation, OPEN, 0),
        policy.plan(observation, OPEN, 1),
        policy.plan(observation, OPEN),
    )
    policy.reset()
    assert np.array_equal(then, first)
    assert not np.array_equal(alone, first)
    assert np.array_equal(policy.plan(observation, OPEN, 2), alone)
