"""The step of RLPD against its losses written out in plain autograd, and its targets by hand."""

import dataclasses
import inspect
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from robot_learning.algorithms.rlpd import RLPDConfig, RLPDUpdate

F, A, B = 5, 3, 17


def make_update(**options: Any) -> RLPDUpdate:
    torch.manual_seed(0)
    update = RLPDUpdate(F, A, RLPDConfig(**{"hidden": (16, 12), "critics": 5, **options})).double()
    for net in (update.actor, update.critics, update.target_critics):
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    return update


def make_batch(**changes: Any) -> SimpleNamespace:
    torch.manual_seed(1)
    batch = SimpleNamespace(
        features=torch.randn(B, F).double(),
        next_features=torch.randn(B, F).double(),
        action=torch.randn(B, A).double().clamp(-1, 1),
        reward=torch.randn(B).double(),
        discount=torch.where(torch.rand(B) < 0.3, 0.0, 0.97).double(),
        mc_return=torch.full((B,), -math.inf).double(),
        imitate=torch.arange(B) % 3 == 0,
    )
    return SimpleNamespace(**{**vars(batch), **changes})


def log_density(before: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    return Normal(mean, log_std.exp()).log_prob(before).sum(-1) + 2 * before.cosh().log().sum(-1)


def imitation_loss(update: RLPDUpdate, batch: Any) -> Tensor:
    rows = batch.imitate
    return ((update.actor(batch.features)[0].tanh()[rows] - batch.action[rows]) ** 2).mean()


def spread_loss(update: RLPDUpdate, batch: Any) -> Tensor:
    mean, log_std = (part[batch.imitate] for part in update.actor(batch.features))
    error = (mean.tanh() - batch.action[batch.imitate]).detach()
    return (log_std.exp() ** 2 / 2 - error**2 * log_std).mean()


def literal(update: RLPDUpdate, batch: Any) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
    """Losses and gradients as docs/rlpd.md writes them. Drawn in the order of the step: a', the subset, a."""
    config, alpha = update.config, update.log_entropy_weight.detach().exp()
    with torch.no_grad():
        mean, log_std = update.actor(batch.next_features)
        before = mean + log_std.exp() * torch.randn(B, A, dtype=torch.float64)
        subset = torch.randperm(config.critics)[: config.subset] if config.subset < config.critics else slice(None)
        value = update.target_critics(batch.next_features, before.tanh())[subset].min(0).values
        if config.backup_entropy:
            value = value - alpha * log_density(before, mean, log_std)
        y = batch.reward + batch.discount * value
        if config.target_range is not None:
            y = y.clamp(*config.target_range)
    q = update.critics(batch.features, batch.action)
    td_loss = ((q - y) ** 2).mean(1).sum()

    mean, log_std = update.actor(batch.features)
    before = mean + log_std.exp() * torch.randn(B, A, dtype=torch.float64)
    values = update.critics(batch.features, before.tanh())
    value = values.mean(0) if config.actor_value == "mean" else values.min(0).values
    density = log_density(before, mean, log_std)
    actor_loss = (alpha * density - value).mean()
    total = actor_loss
    if config.bc_weight > 0:
        total = total + config.bc_weight * value.detach().abs().mean() * imitation_loss(update, batch)
    gradients = {
        "critics": list(torch.autograd.grad(td_loss, list(update.critics.parameters()))),
        "actor": list(torch.autograd.grad(total, list(update.actor.parameters()))),
    }
    if config.entropy_weight is None:
        loss = -(update.log_entropy_weight * (density.detach() + update.target_entropy)).mean()
        gradients["entropy weight"] = list(torch.autograd.grad(loss, [update.log_entropy_weight]))
    losses = {"td_loss": td_loss / config.critics, "actor_loss": actor_loss, "q_policy": value.mean()}
    return {name: loss.detach() for name, loss in losses.items()}, gradients


def relative_error(found: list[Tensor | None], expected: list[Tensor]) -> float:
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None]
    assert len(pairs) == len(expected)
    return max(((a - b).norm() / b.norm().clamp_min(1e-12)).item() for a, b in pairs)


def gradients_of(update: RLPDUpdate) -> dict[str, list[Tensor | None]]:
    return {
        "critics": [p.grad for p in update.critics.parameters()],
        "actor": [p.grad for p in update.actor.parameters()],
        "entropy weight": [update.log_entropy_weight.grad],
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "smallest of one": {"subset": 1},
    "smallest of all": {"subset": 5},
    "soft actor-critic": {
        "critics": 2, "layer_norm": False, "actor_value": "min", "backup_entropy": True, "initial_entropy_weight": 1.0,
    },
    "fixed entropy weight": {"entropy_weight": 0.3},
    "target entropy": {"target_entropy": 0.5},
    "imitation": {"bc_weight": 2.0},
    "targets clipped": {"target_range": (0.0, 1.0)},
    "log-std floor": {"log_std_range": (-0.3, 0.2), "initial_entropy_weight": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_losses_and_gradients_are_those_written_out(options: dict[str, Any]) -> None:
    update, batch = make_update(**options), make_batch()
    torch.manual_seed(2)
    losses, expected = literal(update, batch)
    torch.manual_seed(2)
    metrics = update.step(batch)
    found = gradients_of(update)
    assert {name: metrics[name] for name in losses} == pytest.approx({k: v.item() for k, v in losses.items()}, rel=1e-5)
    assert {name: e for name, g in expected.items() if (e := relative_error(found[name], g)) > 1e-5} == {}


def test_targets_take_the_smallest_of_the_critics_that_were_drawn() -> None:
    """Critics whose value is constant, critic i's is i: with a subset of 2 of 4 the target is the smaller number drawn."""
    update = make_update(critics=4, subset=2)
    for weights in update.target_critics.parameters():
        torch.nn.init.zeros_(weights)
    update.target_critics.biases[-1].data[:, 0] = torch.arange(4.0).double()
    batch = make_batch(reward=torch.zeros(B).double(), discount=torch.ones(B).double())
    found = []
    for _ in range(600):
        targets = update._targets(batch)
        assert torch.equal(targets, targets[:1].expand(B))  # one draw for the whole batch
        found.append(targets[0].item())
    shares = [found.count(float(i)) / len(found) for i in range(4)]
    assert shares == pytest.approx([1 / 2, 1 / 3, 1 / 6, 0.0], abs=0.08)  # pairs with i as the smaller one, of 6


def test_an_encoder_gets_the_gradient_of_the_critics() -> None:
    update, features = make_update(subset=5), make_batch().features.requires_grad_()
    batch = make_batch(features=features)
    torch.manual_seed(2)
    targets = update._targets(batch)
    loss = ((update.critics(features, batch.action) - targets) ** 2).mean(1).sum()
    (expected,) = torch.autograd.grad(loss, [features])
    torch.manual_seed(2)
    update.step(batch)
    assert relative_error([features.grad], [expected]) < 1e-5


def test_the_actor_starts_by_cloning_only() -> None:
    update, batch = make_update(bc_steps=2), make_batch()
    loss = imitation_loss(update, batch)
    expected = torch.autograd.grad(loss + spread_loss(update, batch), list(update.actor.mlp.parameters()))
    metrics = update.step(batch)
    assert metrics["bc_loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert relative_error([p.grad for p in update.actor.parameters()], list(expected)) < 1e-5
    assert "actor_loss" not in metrics and "actor_loss" not in update.step(batch)
    assert "actor_loss" in update.step(batch)


def test_meanwhile_the_critics_learn() -> None:
    update, batch = make_update(bc_steps=2), make_batch()
    torch.manual_seed(3)
    _, expected = literal(update, batch)
    torch.manual_seed(3)
    update.step(batch)
    assert relative_error([p.grad for p in update.critics.parameters()], expected["critics"]) < 1e-5


def test_without_a_row_to_imitate_the_actor_follows_the_critics_at_once() -> None:
    nothing = torch.zeros(B, dtype=torch.bool)
    plain, cloning = (make_update(bc_steps=steps) for steps in (0, 10))
    for update in (plain, cloning):
        torch.manual_seed(2)
        assert "actor_loss" in update.step(make_batch(imitate=nothing))
    pairs = zip(plain.actor.parameters(), cloning.actor.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_meanwhile_what_is_cloned_teaches_the_encoder_alone() -> None:
    update = make_update(bc_steps=2)
    batch = make_batch(features=make_batch().features.requires_grad_())
    (expected,) = torch.autograd.grad(imitation_loss(update, batch) + spread_loss(update, batch), batch.features)
    update.step(batch)
    assert relative_error([batch.features.grad], [expected]) < 1e-5


def test_cloning_spreads_the_policy_as_widely_as_it_errs() -> None:
    update = make_update(bc_steps=3000, log_std_range=(-4.0, 0.0), actor_learning_rate=1e-3)
    torch.manual_seed(2)
    # two answers to every question, so that the mode errs by half of what they differ
    answer = torch.rand(4, A).double() - 0.5
    questions = torch.randn(4, F).double().repeat(2, 1)
    actions = torch.cat([answer - 0.2, answer + 0.2])
    nothing = torch.zeros(8).double()
    rewards = {"reward": nothing, "discount": nothing, "next_features": questions, "imitate": None}
    batch = make_batch(features=questions, action=actions, **rewards)
    for _ in range(3000):
        update.step(batch)
    with torch.no_grad():
        assert update.actor(questions)[1].exp().median() == pytest.approx(0.2, rel=0.15)


def test_online_it_does_not_clone_only() -> None:
    update = make_update(bc_steps=10)
    update.online = True
    assert "actor_loss" in update.step(make_batch())


def test_the_actor_may_learn_less_often() -> None:
    update, batch = make_update(actor_every=3), make_batch()
    learned = []
    for _ in range(6):
        before = update.actor.mlp.weights[0].clone()
        update.step(batch)
        learned.append(not torch.equal(before, update.actor.mlp.weights[0]))
    assert learned == [False, False, True, False, False, True]


def test_no_row_to_imitate_is_no_imitation() -> None:
    metrics = make_update(bc_weight=1.0).step(make_batch(imitate=torch.zeros(B, dtype=torch.bool)))
    assert metrics["bc_loss"] == 0.0


def test_a_fixed_entropy_weight_stays() -> None:
    update = make_update(entropy_weight=0.002)
    update.step(make_batch())
    assert update.log_entropy_weight.exp().item() == pytest.approx(0.002)


@pytest.mark.parametrize(("target", "rises"), [(100.0, True), (-100.0, False)])
def test_the_entropy_weight_is_adapted_to_its_target(target: float, rises: bool) -> None:
    update = make_update(target_entropy=target, initial_entropy_weight=0.01)
    update.step(make_batch())
    assert (update.log_entropy_weight.item() > math.log(0.01)) is rises


def test_targets_follow_by_tau() -> None:
    update = make_update(tau=0.1)
    before = [p.clone() for p in update.target_critics.parameters()]
    update.step(make_batch())
    for target, old, new in zip(update.target_critics.parameters(), before, update.critics.parameters(), strict=True):
        torch.testing.assert_close(target, 0.9 * old + 0.1 * new)


@pytest.mark.parametrize("options", [{"subset": 11}, {"subset": 0}, {"actor_value": "max"}])
def test_settings_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected 1 to 10|valid"):
        RLPDConfig(**options)


def test_every_setting_has_a_docstring() -> None:
    assert inspect.getsource(RLPDConfig).count('    """') >= len(dataclasses.fields(RLPDConfig))
