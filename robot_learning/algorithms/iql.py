"""Implicit Q-learning as a Stable-Baselines3 algorithm, and its gradient step. See docs/iql.md.

    model = IQL("MlpPolicy", env, IQLConfig(expectile=0.9, temperature=10.0))
    model.pretrain("D4RL/pointmaze/umaze-v2", steps=50_000).learn(20_000)

Equation numbers are those of Kostrikov et al. 2021 (arXiv 2110.06169). Read `IQLUpdate.step` first.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robot_learning.algorithms.cal_ql_update import UpdateBatch
from robot_learning.algorithms.offline_to_online import OfflineToOnline
from robot_learning.networks.actors import GaussianActor, gaussian_log_density
from robot_learning.networks.critics import CriticEnsemble, ValueNetwork
from robot_learning.networks.fast_mlp import FastMLP
from robot_learning.settings import (
    SettingError,
    require_at_least,
    require_more_than,
    require_ranges,
    require_shares,
    require_some,
)


@dataclass(frozen=True)
class IQLConfig:
    """Settings of the update."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of actor, critics and state value."""
    critics: int = 2
    """Number of critics; their smallest value counts."""
    layer_norm: bool = False
    """LayerNorm in critics and state value."""
    log_std_range: tuple[float, float] = (-5.0, 2.0)
    """Range of the log standard deviation of the policy's actions; a higher floor explores more."""
    actor_learning_rate: float = 3e-4
    """Of Adam for the actor."""
    critic_learning_rate: float = 3e-4
    """Of Adam for critics and state value."""
    tau: float = 0.005
    """Share of the critics that enters their targets at each step."""
    expectile: float = 0.7
    """Of the state value over the data's actions: 0.5 is their mean, towards 1 the best of them (0.9 for mazes)."""
    temperature: float = 3.0
    """The policy weighs the data's actions by exp(temperature * advantage): 0 clones, more trusts the critics (10 for mazes)."""
    largest_weight: float = 100.0
    """Bound of these weights."""
    target_range: tuple[float, float] | None = None
    """Clip targets to what the rewards make possible, such as (0, 1)."""

    def __post_init__(self) -> None:
        if not 0 < self.expectile < 1:
            raise SettingError(f"expectile: expected a number between 0 and 1, found {self.expectile}")
        require_some(self, "hidden")
        require_at_least(self, 1, "hidden", "critics")
        require_at_least(self, 0, "actor_learning_rate", "critic_learning_rate", "temperature")
        require_more_than(self, 0, "largest_weight")
        require_shares(self, "tau")
        require_ranges(self, "log_std_range", "target_range")


class IQLUpdate(nn.Module):
    """Actor, critics, their targets, state value and optimisers, and the step that trains them.

    Gradients are written out (`FastMLP`); the tests hold them against autograd.

    Args:
        features: length of the inputs; actions: number of actions.
    """

    def __init__(self, features: int, actions: int, config: IQLConfig) -> None:
        super().__init__()
        self.config, self.online = config, False
        self.actor = GaussianActor(features, actions, config.hidden, config.log_std_range)
        self.critics = CriticEnsemble(features, actions, config.hidden, config.critics, config.layer_norm)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.value = ValueNetwork(features, config.hidden, config.layer_norm)
        critic_parameters = [*self.critics.parameters(), *self.value.parameters()]
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=config.actor_learning_rate, fused=True)
        self.critic_optimizer = torch.optim.Adam(critic_parameters, lr=config.critic_learning_rate, fused=True)
        self._fast_actor, self._fast_value = FastMLP(self.actor.mlp), FastMLP(self.value)
        self._fast_critics, self._fast_targets = FastMLP(self.critics), FastMLP(self.target_critics)

    def step(self, batch: UpdateBatch) -> dict[str, float]:
        """One step of every network; all gradients are taken before any parameter changes. Returns the metrics."""
        features = batch.features.detach()
        wanted = torch.zeros_like(features) if batch.features.requires_grad else None
        pairs = torch.cat([features, batch.action], dim=1)
        smallest = self._fast_targets.forward(pairs).amin(0).view(-1)
        both = torch.cat([features, batch.next_features])  # in this order: the backward pass is of the first rows
        value, next_value = self._fast_value.forward(both).view(2, -1)
        advantage = smallest - value
        metrics = {"advantage": advantage.mean(), "value": value.mean()}
        metrics["value_loss"] = self._value_gradients(advantage, wanted)
        targets = batch.reward + batch.discount * next_value
        if self.config.target_range is not None:
            targets = targets.clamp(*self.config.target_range)
        metrics["td_loss"], metrics["q_data"] = self._critic_gradients(pairs, targets, wanted)
        metrics["actor_loss"], metrics["weight"] = self._actor_gradients(features, batch.action, advantage)
        if wanted is not None:
            batch.features.backward(wanted)
        self.actor_optimizer.step()
        self.critic_optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target_critics.parameters()), list(self.critics.parameters()), self.config.tau
            )
        return dict(zip(metrics, torch.stack(list(metrics.values())).tolist(), strict=True))

    def _value_gradients(self, advantage: Tensor, wanted: Tensor | None) -> Tensor:
        """V is an expectile of the targets' smallest value over the data's actions (eq. 5). Returns the loss.

        The loss is |expectile - 1(u < 0)| u^2 with u = `advantage` `(B,)`.
        """
        weight = torch.where(advantage < 0, 1 - self.config.expectile, self.config.expectile)
        slope = weight * advantage
        self._fast_value.backward((slope * (-2 / len(advantage))).view(1, -1, 1), wanted)
        return (slope * advantage).mean()

    def _critic_gradients(self, pairs: Tensor, targets: Tensor, wanted: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each critic's squared error to r + discount V(s') (eq. 6). Returns its mean and that of the values."""
        values = self._fast_critics.forward(pairs)
        error = values - targets[:, None]
        self._fast_critics.backward(error * (2 / len(targets)), wanted)
        return error.square().mean(), values.mean()

    @torch.no_grad()
    def _actor_gradients(self, features: Tensor, actions: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted likelihood of the data's actions (eq. 7). Returns the loss and the mean weight."""
        weight = (self.config.temperature * advantage).exp_().clamp_(max=self.config.largest_weight)
        output = self._fast_actor.forward(features)
        mean, raw_log_std = output[0].chunk(2, dim=-1)
        log_std = raw_log_std.clamp(*self.config.log_std_range)
        mode, precision = mean.tanh(), torch.exp(-log_std)
        noise = (actions - mode).mul_(precision)
        scale = (weight / len(weight))[:, None]
        # Of -log density: its slope at the mean is -noise / std, at the log standard deviation 1 - noise^2.
        grad = torch.empty_like(output)
        torch.mul(noise * precision * (mode.square() - 1), scale, out=grad[0, :, : mean.shape[1]])
        torch.mul((1 - noise.square()) * (log_std == raw_log_std), scale, out=grad[0, :, mean.shape[1] :])
        self._fast_actor.backward(grad)
        loss = (weight * -gaussian_log_density(noise, log_std)).mean()
        return loss, weight.mean()


class IQL(OfflineToOnline):
    """Implicit Q-learning (Kostrikov et al. 2021): no action that is not in the data is ever evaluated by the critics."""

    config_type: ClassVar[type[Any]] = IQLConfig

    @staticmethod
    def make_update(features: int, actions: int, config: IQLConfig) -> nn.Module:
        """Actor, critics, their targets and the state value."""
        return IQLUpdate(features, actions, config)


__all__ = ["IQL", "IQLConfig", "IQLUpdate"]
