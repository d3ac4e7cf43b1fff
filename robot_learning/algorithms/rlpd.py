"""RLPD, soft actor-critic with prior data, as a Stable-Baselines3 algorithm, and its gradient step. See docs/rlpd.md.

    model = RLPD("MlpPolicy", env, RLPDConfig(critics=10, subset=2, actor_every=20), gradient_steps=20)
    model.pretrain({"demonstrations": "my/demonstrations-v0"}, steps=5_000).learn(20_000)

Ball et al. 2023 (arXiv 2302.02948): an ensemble of LayerNorm critics, many updates a step, and batches half of prior data, which
is the base's `online_share`. Beyond it: a start from cloning and an imitation term. Read `RLPDUpdate.step` first.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robot_learning.algorithms.cal_ql_update import UpdateBatch
from robot_learning.algorithms.offline_to_online import OfflineToOnline
from robot_learning.networks.actors import SquashedGaussianActor, squash, squashed_sample
from robot_learning.networks.critics import CriticEnsemble
from robot_learning.networks.fast_mlp import FastMLP
from robot_learning.settings import (
    SettingError,
    require_at_least,
    require_choice,
    require_ranges,
    require_shares,
    require_some,
)


@dataclass(frozen=True)
class RLPDConfig:
    """Settings of the update."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of actor and critics."""
    critics: int = 10
    """Number of critics."""
    subset: int = 2
    """Critics, drawn at each step, whose smallest value the target takes (1 for sparse mazes and pictures)."""
    layer_norm: bool = True
    """LayerNorm in the critics, which keeps values from running away outside the data."""
    log_std_range: tuple[float, float] = (-20.0, 2.0)
    """Range of the policy's log standard deviation before tanh."""
    actor_learning_rate: float = 3e-4
    """Of Adam for the actor and the entropy weight."""
    critic_learning_rate: float = 3e-4
    """Of Adam for the critics."""
    tau: float = 0.005
    """Share of the critics that enters their targets at each step."""
    actor_every: int = 1
    """The actor learns at every so-manieth step (the paper: as many as there are updates a step of the environment)."""
    actor_value: str = "mean"
    """What the actor climbs: the "mean" of the critics (the paper) or their "min" (SAC with two)."""
    backup_entropy: bool = False
    """Subtract the entropy weight times the log density in the target, as SAC does."""
    target_range: tuple[float, float] | None = None
    """Clip targets to what the rewards make possible, such as (0, 1)."""
    entropy_weight: float | None = None
    """Fixed weight of the entropy; None: adapted to `target_entropy`."""
    initial_entropy_weight: float = 0.01
    """Where the adapted weight starts; small, or a policy that was started from data is lost again."""
    target_entropy: float | None = None
    """Of the adapted weight; None: minus half the number of actions."""
    bc_steps: int = 0
    """In the first so many steps of `pretrain` the actor clones the rows to imitate, where a batch has any, and the critics learn
    what that is worth."""
    bc_weight: float = 0.0
    """Weight of the imitation term of the actor, relative to the mean absolute value, so that both losses have one scale."""

    def __post_init__(self) -> None:
        require_some(self, "hidden")
        require_at_least(self, 1, "hidden", "critics", "actor_every")
        require_at_least(self, 0, "actor_learning_rate", "critic_learning_rate", "bc_steps", "bc_weight")
        if not 1 <= self.subset <= self.critics:
            raise SettingError(f"subset: expected 1 to {self.critics} critics, found {self.subset}")
        require_choice(self, "actor_value", ("mean", "min"))
        require_shares(self, "tau")
        require_ranges(self, "log_std_range", "target_range")


class RLPDUpdate(nn.Module):
    """Actor, critics, their targets and optimisers, and the step that trains them.

    Gradients are written out (`FastMLP`); the tests hold them against autograd.

    Args:
        features: length of the inputs; actions: number of actions.
    """

    updates: Tensor

    def __init__(self, features: int, actions: int, config: RLPDConfig) -> None:
        super().__init__()
        self.config, self.online = config, False
        self.actor = SquashedGaussianActor(features, actions, config.hidden, config.log_std_range)
        self.critics = CriticEnsemble(features, actions, config.hidden, config.critics, config.layer_norm)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.target_entropy = -actions / 2 if config.target_entropy is None else config.target_entropy
        weight = config.initial_entropy_weight if config.entropy_weight is None else config.entropy_weight
        self.log_entropy_weight = nn.Parameter(torch.tensor(math.log(max(weight, 1e-12))))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        actor_parameters = [*self.actor.parameters(), self.log_entropy_weight]
        self.actor_optimizer = torch.optim.Adam(actor_parameters, lr=config.actor_learning_rate, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=config.critic_learning_rate, fused=True)
        self._fast_actor = FastMLP(self.actor.mlp)
        self._fast_critics, self._fast_targets = FastMLP(self.critics), FastMLP(self.target_critics)

    def step(self, batch: UpdateBatch) -> dict[str, float]:
        """One step; all gradients are taken before any parameter changes. Returns the metrics."""
        self.updates += 1
        number = int(self.updates)
        clones = not self.online and number <= self.config.bc_steps and _imitates(batch)
        features = batch.features.detach()
        metrics = self._critic_gradients(features, batch, encodes=not clones)
        if clones or number % self.config.actor_every == 0:
            metrics |= self._clone(features, batch) if clones else self._actor_gradients(features, batch)
            self.actor_optimizer.step()
        self.critic_optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target_critics.parameters()), list(self.critics.parameters()), self.config.tau
            )
        return _numbers(metrics)

    @torch.no_grad()
    def _targets(self, batch: UpdateBatch) -> Tensor:
        """r + discount * (min over the drawn critics of Q(s', a')), `(B,)`; a' drawn from the policy."""
        config = self.config
        mean, log_std = self._policy(batch.next_features)
        action, log_prob = squashed_sample(mean, log_std)
        drawn = torch.randperm(config.critics)[: config.subset].tolist() if config.subset < config.critics else None
        value = self._fast_targets.forward(torch.cat([batch.next_features, action], dim=1), drawn).amin(0).view(-1)
        if config.backup_entropy:
            value = value - self.log_entropy_weight.exp() * log_prob
        targets = batch.reward + batch.discount * value
        return targets if config.target_range is None else targets.clamp(*config.target_range)

    @torch.no_grad()
    def _critic_gradients(self, features: Tensor, batch: UpdateBatch, encodes: bool) -> dict[str, Tensor]:
        """Each critic's squared error to the targets; also the gradient of the features, if they want one and it `encodes`."""
        targets = self._targets(batch)
        wanted = torch.zeros_like(features) if encodes and batch.features.requires_grad else None
        values = self._fast_critics.forward(torch.cat([features, batch.action], dim=1))
        error = values - targets[:, None]
        self._fast_critics.backward(error * (2 / len(targets)), wanted)
        if wanted is not None:
            batch.features.backward(wanted)
        return {"td_loss": error.square().mean(), "q_data": values.mean()}

    @torch.no_grad()
    def _actor_gradients(self, features: Tensor, batch: UpdateBatch) -> dict[str, Tensor]:
        """Gradients of the actor, entropy_weight * log density - Q + imitation, and of the entropy weight."""
        config, rows = self.config, len(features)
        mean, log_std = self._policy(features)
        noise = torch.randn_like(mean)
        action, log_prob = squash(noise, mean, log_std)
        value, slope = self._value(features, action)
        weight, entropy = self.log_entropy_weight.exp(), -log_prob.mean()
        # With x = mean + std * noise the log density is that of the noise - log std - log(1 - tanh(x)^2), whose slope is 2 tanh.
        x_grad = (2 * weight * action - slope * (1 - action.square())) / rows
        mean_grad, log_std_grad = x_grad, x_grad * noise * log_std.exp() - weight / rows
        metrics = {"q_policy": value.mean(), "entropy": entropy, "entropy_weight": weight}
        metrics["actor_loss"] = -(weight * entropy) - metrics["q_policy"]
        if config.bc_weight > 0:
            metrics["bc_loss"], imitation = _imitation(mean, batch)
            mean_grad = mean_grad + config.bc_weight * value.abs().mean() * imitation
        self._actor_backward(mean_grad, log_std_grad)
        self.log_entropy_weight.grad = entropy - self.target_entropy if config.entropy_weight is None else None
        return metrics

    def _value(self, features: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Mean or smallest value of the critics `(B,)` and its slope at the actions `(B, A)`."""
        values = self._fast_critics.forward(torch.cat([features, action], dim=1))
        if self.config.actor_value == "mean":
            value, share = values.mean(0), torch.full_like(values, 1 / len(values))
        else:
            value, smallest = values.min(0)
            share = torch.zeros_like(values).scatter_(0, smallest[None], 1.0)
        return value.view(-1), self._fast_critics.input_gradient(share, start=self.critics.features).sum(0)

    @torch.no_grad()
    def _clone(self, features: Tensor, batch: UpdateBatch) -> dict[str, Tensor]:
        """Gradients of behaviour cloning on the rows to imitate, for an encoder too.

        The standard deviation goes where the mode's errors are, or practice would begin with that of an untrained network.
        """
        wanted = torch.zeros_like(features) if batch.features.requires_grad else None
        mean, log_std = self._policy(features)
        loss, gradient = _imitation(mean, batch)
        spread = (2 * log_std).exp() - (mean.tanh() - batch.action).square()
        self._actor_backward(gradient, spread * _shares(batch, mean.shape[1]), wanted)
        if wanted is not None:
            batch.features.backward(wanted)
        self.log_entropy_weight.grad = None
        return {"bc_loss": loss}

    def _policy(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The actor's mean and log standard deviation `(B, A)`, without a graph."""
        mean, self._raw_log_std = self._fast_actor.forward(features)[0].chunk(2, dim=-1)
        return mean, self._raw_log_std.clamp(*self.config.log_std_range)

    def _actor_backward(self, mean_grad: Tensor, log_std_grad: Tensor, wanted: Tensor | None = None) -> None:
        """Gradients of the actor's parameters, for the policy asked last; none where the log std was clamped."""
        low, high = self.config.log_std_range
        inside = (self._raw_log_std >= low) & (self._raw_log_std <= high)
        self._fast_actor.backward(torch.cat([mean_grad, log_std_grad * inside], dim=1)[None], wanted)


def _imitation(mean: Tensor, batch: UpdateBatch) -> tuple[Tensor, Tensor]:
    """Mean squared distance of the policy's mode from the data's actions over the rows to imitate, and its slope at `mean`.

    Both are 0 if there are no such rows.
    """
    mode, share = mean.tanh(), _shares(batch, mean.shape[1])
    error = mode - batch.action
    return (error.square() * share).sum(), 2 * error * share * (1 - mode.square())


def _imitates(batch: UpdateBatch) -> bool:
    """Whether there is a row to imitate; without any, as in play alone, there is nothing to clone."""
    return batch.imitate is None or bool(batch.imitate.any())


def _shares(batch: UpdateBatch, actions: int) -> Tensor:
    """What the action of each row counts in a mean over the rows to imitate, `(B, 1)`."""
    rows = torch.ones_like(batch.reward) if batch.imitate is None else batch.imitate.to(batch.action.dtype)
    return (rows / (rows.sum().clamp_min(1) * actions))[:, None]


def _numbers(metrics: dict[str, Tensor]) -> dict[str, float]:
    return dict(zip(metrics, torch.stack(list(metrics.values())).tolist(), strict=True))


class RLPD(OfflineToOnline):
    """Reinforcement learning with prior data (Ball et al. 2023): soft actor-critic on batches half of data, half of practice."""

    config_type: ClassVar[type[Any]] = RLPDConfig

    @staticmethod
    def make_update(features: int, actions: int, config: RLPDConfig) -> nn.Module:
        """Actor, critics and their targets."""
        return RLPDUpdate(features, actions, config)


__all__ = ["RLPD", "RLPDConfig", "RLPDUpdate"]
