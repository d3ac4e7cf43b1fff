"""RLPD: soft actor-critic with prior data (Ball et al. 2023, arXiv 2302.02948), with an imitation term. See docs/rlpd.md.

Half of each batch is prior data, the critics are an ensemble with LayerNorm, targets use the least of a random few of them, and
there are several updates at each step of the environment (`gradient_steps`). Read `RLPDUpdate.step` top to bottom.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.algorithms.cal_ql_update import UpdateBatch
from robot_learning.algorithms.offline_to_online import OfflineToOnline
from robot_learning.networks.actors import SquashedGaussianActor, squashed_sample
from robot_learning.networks.critics import CriticEnsemble


@dataclass(frozen=True)
class RLPDConfig:
    """Settings of the update; defaults of the paper, which has ten critics and twenty updates a step."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of actor and critics."""
    critics: int = 10
    """Number of critics; the actor follows their mean."""
    subset: int = 2
    """Targets use the least value of so many critics, drawn anew at each step."""
    layer_norm: bool = True
    """LayerNorm in the critics, which keeps values of unseen actions in bounds."""
    log_std_range: tuple[float, float] = (-20.0, 2.0)
    """Range of the policy's log standard deviation before tanh."""
    learning_rate: float = 3e-4
    """Of Adam for all networks and the entropy weight."""
    tau: float = 0.005
    """Share of the critics that enters their targets at each step."""
    entropy_weight: float | None = None
    """Fixed weight of the entropy; None: adapted to `target_entropy`. Rewards of 0 and 1 want a small one, such as 0.002."""
    initial_entropy_weight: float = 1.0
    """Where the adapted weight starts."""
    target_entropy: float | None = None
    """Of the adapted weight; None: minus half the number of actions."""
    backup_entropy: bool = True
    """Subtract the entropy weight times the log density in the target."""
    target_range: tuple[float, float] | None = None
    """Clip targets to what the rewards make possible, such as (0, 1)."""
    bc_weight: float = 0.0
    """Weight of the imitation term of the actor, relative to the mean absolute value (RoboFuME keeps both at one scale)."""

    def __post_init__(self) -> None:
        if not 1 <= self.subset <= self.critics:
            raise ValueError(f"subset must be 1 to the number of critics {self.critics}, found {self.subset}")


class RLPDUpdate(nn.Module):
    """Actor, critics, their targets and the entropy weight, and the step that trains them.

    Args:
        features: length of the inputs; actions: number of actions.
    """

    def __init__(self, features: int, actions: int, config: RLPDConfig) -> None:
        super().__init__()
        self.config, self.online = config, False
        self.actor = SquashedGaussianActor(features, actions, config.hidden, config.log_std_range)
        self.critics = CriticEnsemble(features, actions, config.hidden, config.critics, config.layer_norm)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.target_entropy = -actions / 2 if config.target_entropy is None else config.target_entropy
        weight = config.initial_entropy_weight if config.entropy_weight is None else config.entropy_weight
        self.log_entropy_weight = nn.Parameter(torch.tensor(math.log(max(weight, 1e-12))))
        actor_parameters = [*self.actor.parameters(), self.log_entropy_weight]
        self.actor_optimizer = torch.optim.Adam(actor_parameters, lr=config.learning_rate, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=config.learning_rate, fused=True)

    def step(self, batch: UpdateBatch) -> dict[str, float]:
        """One step of every network; all gradients are taken before any parameter changes. Returns the metrics."""
        self.critic_optimizer.zero_grad(set_to_none=True)
        self.actor_optimizer.zero_grad(set_to_none=True)
        values = self.critics(batch.features, batch.action)
        critic_loss = (values - self.targets(batch)).square().mean(1).sum()
        critic_loss.backward()
        metrics = {"critic_loss": critic_loss, "q_data": values.mean(), **self._actor_gradients(batch)}
        self.actor_optimizer.step()
        self.critic_optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target_critics.parameters()), list(self.critics.parameters()), self.config.tau
            )
        return dict(zip(metrics, torch.stack([m.detach() for m in metrics.values()]).tolist(), strict=True))

    @torch.no_grad()
    def targets(self, batch: UpdateBatch) -> Tensor:
        """r + discount * (min over the subset of Q(s', a') - alpha log pi(a'|s')), `(B,)`."""
        config = self.config
        actions, log_prob = self.actor.sample(batch.next_features)
        chosen = torch.randperm(config.critics)[: config.subset]
        value = self.target_critics(batch.next_features, actions)[chosen].amin(0)
        if config.backup_entropy:
            value -= self.log_entropy_weight.exp() * log_prob
        targets = batch.reward + batch.discount * value
        return targets if config.target_range is None else targets.clamp(*config.target_range)

    def _actor_gradients(self, batch: UpdateBatch) -> dict[str, Tensor]:
        """Gradients of the actor and of the entropy weight, and the metrics of the actor."""
        config, features = self.config, batch.features.detach()
        mean, log_std = self.actor(features)
        actions, log_prob = squashed_sample(mean, log_std)
        self.critics.requires_grad_(False)
        value = self.critics(features, actions).mean(0)
        self.critics.requires_grad_(True)
        entropy_weight = self.log_entropy_weight.detach().exp()
        loss = (entropy_weight * log_prob - value).mean()
        metrics = {"actor_loss": loss, "entropy": -log_prob.detach().mean(), "entropy_weight": entropy_weight}
        if config.bc_weight > 0:
            rows = torch.ones_like(value) if batch.imitate is None else batch.imitate.to(value.dtype)
            error = F.mse_loss(mean.tanh(), batch.action, reduction="none").mean(-1)
            metrics["bc_loss"] = (error * rows).sum() / rows.sum().clamp_min(1)
            loss = loss + config.bc_weight * value.detach().abs().mean() * metrics["bc_loss"]
        loss.backward()
        if config.entropy_weight is None:
            self.log_entropy_weight.grad = metrics["entropy"] - self.target_entropy
        return metrics


class RLPD(OfflineToOnline):
    """Soft actor-critic with prior data as a Stable-Baselines3 algorithm; `gradient_steps` is its update-to-data ratio."""

    config_type: ClassVar[type[Any]] = RLPDConfig

    @staticmethod
    def make_update(features: int, actions: int, config: RLPDConfig) -> nn.Module:
        """Actor and critics."""
        return RLPDUpdate(features, actions, config)
