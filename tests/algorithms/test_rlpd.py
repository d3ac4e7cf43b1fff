"""The step of RLPD: targets and losses against a computation by hand."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from robot_learning.algorithms.rlpd import RLPDConfig, RLPDUpdate


@dataclass
class Batch:
    features: Tensor
    next_features: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    mc_return: Tensor | None = None
    imitate: Tensor | None = None


@pytest.fixture
def batch() -> Batch:
    g = torch.Generator().manual_seed(0)
    made = {k: torch.randn(32, 7, generator=g, dtype=torch.float64) for k in ("features", "next_features")}
    return Batch(
        **made,
        action=torch.rand(32, 3, generator=g, dtype=torch.float64) * 1.9 - 0.95,
        reward=torch.rand(32, generator=g, dtype=torch.float64),
        discount=torch.where(torch.arange(32) % 5 == 0, 0.0, 0.97).double(),
    )


def make(**settings: object) -> RLPDUpdate:
    torch.manual_seed(1)
    return RLPDUpdate(7, 3, RLPDConfig(hidden=(16, 16), critics=5, **settings)).double()


def drawn(update: RLPDUpdate, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the step draws from seed 2: actions, log densities, and which critics count."""
    torch.manual_seed(2)
    actions, log_prob = update.actor.sample(features)
    return actions, log_prob, torch.randperm(5)


@pytest.mark.parametrize("subset", [1, 2, 5])
def test_targets_take_the_least_of_a_random_subset(batch: Batch, subset: int) -> None:
    update = make(subset=subset, entropy_weight=0.1)
    actions, log_prob, order = drawn(update, batch.next_features)
    values = update.target_critics(batch.next_features, actions)
    expected = torch.stack([values[c] for c in order[:subset].tolist()]).min(0).values - 0.1 * log_prob
    torch.manual_seed(2)
    found = update.targets(batch)
    torch.testing.assert_close(found, batch.reward + batch.discount * expected, rtol=1e-6, atol=1e-6)


def test_without_entropy_in_the_backup_and_with_a_range(batch: Batch) -> None:
    update = make(backup_entropy=False, target_range=(0.0, 1.0))
    actions, _, order = drawn(update, batch.next_features)
    value = update.target_critics(batch.next_features, actions)[order[:2]].min(0).values
    torch.manual_seed(2)
    expected = (batch.reward + batch.discount * value).clamp(0, 1)
    torch.testing.assert_close(update.targets(batch), expected)


def test_gradients_are_those_of_the_losses(batch: Batch) -> None:
    update = make(bc_weight=0.5, entropy_weight=0.1)
    batch.imitate = torch.arange(32) % 3 == 0
    torch.manual_seed(2)
    targets = update.targets(batch)
    values = update.critics(batch.features, batch.action)
    critic = torch.autograd.grad(((values - targets) ** 2).mean(1).sum(), list(update.critics.parameters()))
    mean, log_std = update.actor(batch.features)
    actions = torch.tanh(mean + log_std.exp() * torch.randn_like(mean))
    log_prob = update.actor.log_prob(batch.features, actions)
    value = update.critics(batch.features, actions).mean(0)
    bc = ((mean.tanh() - batch.action) ** 2)[batch.imitate].mean()
    loss = (0.1 * log_prob - value).mean() + 0.5 * value.detach().abs().mean() * bc
    actor = torch.autograd.grad(loss, list(update.actor.parameters()))
    update.actor_optimizer.step = update.critic_optimizer.step = lambda: None  # type: ignore[method-assign]
    torch.manual_seed(2)
    update.step(batch)
    for net, gradients in ((update.critics, critic), (update.actor, actor)):
        for parameter, expected in zip(net.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-9)


def test_the_entropy_weight_is_adapted_to_its_target(batch: Batch) -> None:
    for target, rises in ((100.0, True), (-100.0, False)):
        update = make(target_entropy=target, initial_entropy_weight=0.01)
        update.step(batch)
        assert (update.log_entropy_weight.item() > math.log(0.01)) is rises


def test_a_subset_larger_than_the_ensemble_is_refused() -> None:
    with pytest.raises(ValueError, match="subset"):
        RLPDConfig(critics=2, subset=3)
