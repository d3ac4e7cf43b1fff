"""The step of implicit Q-learning against its losses written out in plain autograd."""

import dataclasses
import inspect
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from robot_learning.algorithms.iql import IQLConfig, IQLUpdate

F, A, B = 5, 3, 17


def make_update(**options: Any) -> IQLUpdate:
    torch.manual_seed(0)
    update = IQLUpdate(F, A, IQLConfig(**{"hidden": (16, 12), **options})).double()
    for parameter in update.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return update


def make_batch(**changes: Any) -> SimpleNamespace:
    torch.manual_seed(1)
    batch = SimpleNamespace(
        features=torch.randn(B, F).double(),
        next_features=torch.randn(B, F).double(),
        action=(2 * torch.randn(B, A)).clamp(-1, 1).double(),
        reward=torch.randn(B).double(),
        discount=torch.where(torch.rand(B) < 0.3, 0.0, 0.97).double(),
        mc_return=torch.full((B,), -math.inf).double(),
        imitate=None,
    )
    return SimpleNamespace(**{**vars(batch), **changes})


def literal(update: IQLUpdate, batch: Any) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
    """Losses of value, critics and actor as docs/iql.md writes them, and their gradients."""
    config = update.config
    value, next_value = update.value(batch.features), update.value(batch.next_features).detach()
    target = update.target_critics(batch.features, batch.action).min(0).values.detach()
    u = target - value
    losses = {"value_loss": ((config.expectile - (u < 0).double()).abs() * u**2).mean()}
    y = batch.reward + batch.discount * next_value
    if config.target_range is not None:
        y = y.clamp(*config.target_range)
    q = update.critics(batch.features, batch.action)
    losses["td_loss"] = sum(((q[i] - y) ** 2).mean() for i in range(config.critics)) / config.critics
    weight = torch.exp(config.temperature * u.detach()).clamp(max=config.largest_weight)
    mean, log_std = update.actor(batch.features)
    density = Normal(mean.tanh(), log_std.exp()).log_prob(batch.action).sum(-1)
    losses["actor_loss"] = -(weight * density).mean()
    parts = {"value_loss": update.value, "td_loss": update.critics, "actor_loss": update.actor}
    gradients = {
        name: list(torch.autograd.grad(losses[name], list(net.parameters()), retain_graph=True))
        for name, net in parts.items()
    }
    gradients["td_loss"] = [config.critics * g for g in gradients["td_loss"]]  # each critic has its whole loss
    return {name: loss.detach() for name, loss in losses.items()}, gradients


def gradients_of(update: IQLUpdate) -> dict[str, list[Tensor | None]]:
    parts = {"value_loss": update.value, "td_loss": update.critics, "actor_loss": update.actor}
    return {name: [p.grad for p in net.parameters()] for name, net in parts.items()}


def relative_error(found: list[Tensor | None], expected: list[Tensor]) -> float:
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None]
    assert len(pairs) == len(expected)
    return max(((a - b).norm() / b.norm().clamp_min(1e-12)).item() for a, b in pairs)


OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "maze": {"expectile": 0.9, "temperature": 10.0},
    "weights at the bound": {"temperature": 50.0, "largest_weight": 2.0},
    "one layer norm critic": {"critics": 1, "layer_norm": True, "hidden": (8, 8, 8)},
    "five critics": {"critics": 5},
    "targets clipped": {"target_range": (0.0, 1.0)},
    "log-std at its floor": {"log_std_range": (-0.3, 0.2)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_losses_and_gradients_are_those_written_out(options: dict[str, Any]) -> None:
    update, batch = make_update(**options), make_batch()
    losses, expected = literal(update, batch)
    metrics = update.step(batch)
    found = gradients_of(update)
    assert {name: metrics[name] for name in losses} == pytest.approx({k: v.item() for k, v in losses.items()}, rel=1e-5)
    assert {name: e for name, g in expected.items() if (e := relative_error(found[name], g)) > 1e-5} == {}


def test_some_weights_are_at_the_bound_there() -> None:
    """Otherwise the bound would go untested above."""
    weight = make_update(**OPTIONS["weights at the bound"]).step(make_batch())["weight"]
    assert 0.2 < weight < 1.9


def test_an_encoder_gets_the_gradient_of_critics_and_value() -> None:
    update = make_update()
    features = make_batch().features.requires_grad_()
    batch = make_batch(features=features)
    config, value = update.config, update.value(features)
    u = update.target_critics(features, batch.action).amin(0).detach() - value
    y = batch.reward + batch.discount * update.value(batch.next_features).detach()
    loss = (torch.where(u < 0, 1 - config.expectile, config.expectile) * u**2).mean()
    loss = loss + ((update.critics(features, batch.action) - y) ** 2).mean(1).sum()
    (expected,) = torch.autograd.grad(loss, [features])
    update.step(batch)
    assert relative_error([features.grad], [expected]) < 1e-5


def test_without_a_temperature_it_clones() -> None:
    update, batch = make_update(temperature=0.0), make_batch()
    metrics = update.step(batch)
    assert metrics["weight"] == 1.0


def test_targets_follow_by_tau() -> None:
    update = make_update(tau=0.1)
    before = [p.clone() for p in update.target_critics.parameters()]
    update.step(make_batch())
    for target, old, new in zip(update.target_critics.parameters(), before, update.critics.parameters(), strict=True):
        torch.testing.assert_close(target, 0.9 * old + 0.1 * new)


def test_the_value_goes_to_the_expectile_of_what_the_data_did() -> None:
    """One state, returns uniform in [0, 1]: their 0.9 expectile is 0.75, from e (1 - t)^2 = (1 - e) t^2."""
    torch.manual_seed(0)
    update = IQLUpdate(2, 1, IQLConfig(hidden=(64, 64), expectile=0.9, critic_learning_rate=1e-3, tau=0.05))
    for _ in range(1000):
        action = torch.rand(128, 1) * 2 - 1
        zeros = torch.zeros(128)
        update.step(
            SimpleNamespace(
                features=torch.ones(128, 2), next_features=torch.ones(128, 2), action=action, imitate=None,
                reward=(action[:, 0] + 1) / 2, discount=zeros, mc_return=zeros,
            )
        )  # fmt: skip
    assert update.value(torch.ones(1, 2)).item() == pytest.approx(0.75, abs=0.04)


def test_an_expectile_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="expectile"):
        IQLConfig(expectile=1.0)


def test_every_setting_has_a_docstring() -> None:
    assert inspect.getsource(IQLConfig).count('    """') >= len(dataclasses.fields(IQLConfig))
