"""The deployed form of an actor: it acts as the networks do, by its mode or by sampling, and survives the disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from robot_learning.contract import STATE, Contract
from robot_learning.networks.actors import GaussianActor, SquashedGaussianActor
from robot_learning.networks.observation_encoder import EncoderSpec, ObservationEncoder
from robot_learning.policies import (
    ActorPolicy,
    CheckpointError,
    ObservationError,
    UnknownTaskError,
    actor_checkpoint,
    load_policy,
    save_checkpoint,
)

FRONT = "observation.images.front"
TASKS = ["close the drawer", "open the drawer"]


@pytest.fixture
def contract() -> Contract:
    return Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(24, 20)


@pytest.fixture
def networks() -> tuple[ObservationEncoder, SquashedGaussianActor]:
    torch.manual_seed(0)
    spec = EncoderSpec(
        vectors={STATE: 18}, images=(FRONT,), image_size=(22, 18), tasks=2, task_features=3,
        channels=(4, 4), kernels=(5, 3), strides=(2, 1),
    )  # fmt: skip
    encoder = ObservationEncoder(spec)
    encoder.set_task_embeddings(np.random.default_rng(0).normal(size=(2, 3)))
    encoder.set_normalisation({STATE: np.full(18, 0.3)}, {STATE: np.linspace(0.1, 2, 18)})
    return encoder, SquashedGaussianActor(encoder.features, 5, (16, 16), (-3.0, 0.0))


def observation(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {STATE: rng.normal(size=18).astype(np.float32), FRONT: rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)}


def saved(path: Path, networks, contract: Contract, sample: bool) -> Path:
    made = actor_checkpoint(
        *networks, contract, TASKS, sample=sample, training={"algorithm": "x"}, facts={}, success=[]
    )
    return save_checkpoint(path, made)


@pytest.mark.parametrize("sample", [False, True])
def test_from_the_disk_it_acts_as_in_memory(tmp_path: Path, networks, contract: Contract, sample: bool) -> None:
    loaded = load_policy(saved(tmp_path / "p", networks, contract, sample), contract)
    policy = ActorPolicy(*networks, contract, TASKS, sample)
    for step in range(3):
        assert np.array_equal(loaded.predict(observation(step), TASKS[1]), policy.predict(observation(step), TASKS[1]))


def test_the_disk_keeps_what_kind_of_actor_it_is(tmp_path: Path, networks, contract: Contract) -> None:
    encoder, _ = networks
    actor = GaussianActor(encoder.features, 5, (16, 16), (-3.0, 0.0))
    loaded = load_policy(saved(tmp_path / "p", (encoder, actor), contract, sample=True), contract)
    expected = ActorPolicy(encoder, actor, contract, TASKS, sample=True).predict(observation(), TASKS[0])
    assert np.array_equal(loaded.predict(observation(), TASKS[0]), expected)


def test_the_mode_is_the_network_s(networks, contract: Contract) -> None:
    encoder, actor = networks
    seen = {key: torch.from_numpy(value[None]) for key, value in observation().items()}
    with torch.no_grad():
        expected = actor.mode(encoder(seen, torch.tensor([[0.0, 1.0]])))[0].numpy()
    assert np.array_equal(ActorPolicy(encoder, actor, contract, TASKS).predict(observation(), TASKS[1]), expected)


def test_the_task_matters(networks, contract: Contract) -> None:
    policy = ActorPolicy(*networks, contract, TASKS)
    assert not np.allclose(policy.predict(observation(), TASKS[0]), policy.predict(observation(), TASKS[1]))


def test_samples_differ_within_an_episode_and_repeat_after_reset(networks, contract: Contract) -> None:
    policy = ActorPolicy(*networks, contract, TASKS, sample=True)
    first, second = (policy.predict(observation(), TASKS[0]) for _ in range(2))
    policy.reset()
    assert not np.array_equal(first, second)
    assert np.array_equal(policy.predict(observation(), TASKS[0]), first)
    assert np.abs([first, second]).max() <= 1


def test_an_unknown_task_is_refused(networks, contract: Contract) -> None:
    with pytest.raises(UnknownTaskError, match="make tea"):
        ActorPolicy(*networks, contract, TASKS).predict(observation(), "make tea")


def test_a_missing_stream_is_named(networks, contract: Contract) -> None:
    with pytest.raises(ObservationError, match="front"):
        ActorPolicy(*networks, contract, TASKS).predict({STATE: observation()[STATE]}, TASKS[0])


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, networks, contract: Contract) -> None:
    encoder, actor = networks
    made = actor_checkpoint(encoder, actor, contract, TASKS, sample=False, training={}, facts={}, success=[])
    made.config["network"]["actor"]["hidden"] = [8, 8]
    with pytest.raises(CheckpointError, match="do not fit together"):
        load_policy(save_checkpoint(tmp_path / "p", made))
