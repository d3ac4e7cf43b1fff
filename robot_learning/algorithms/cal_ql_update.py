"""One gradient step of CQL and Cal-QL. See docs/cal_ql.md for the equations and where this differs from other code.

Read `CalQLUpdate.step` first, then the parts it calls, in their order.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.networks.actors import (
    EDGE,
    SquashedGaussianActor,
    squash,
    squashed_log_prob,
    squashed_sample,
)
from robot_learning.networks.conservative import ConservativeBatch, ConservativeTerms, Penalty, conservative_loss
from robot_learning.networks.critics import CriticEnsemble
from robot_learning.networks.fast_critic import FastCritic
from robot_learning.settings import (
    require_at_least,
    require_choice,
    require_more_than,
    require_ranges,
    require_shares,
    require_some,
)


@dataclass(frozen=True)
class CalQLConfig:
    """Settings of the update. Plain CQL is `calibrate=False`."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of actor and critics."""
    critics: int = 2
    """Number of critics; their smallest value counts."""
    layer_norm: bool = False
    """LayerNorm in the critics."""
    initialisation: str = "kaiming"
    """Of the weights: "kaiming" (torch's default) or "orthogonal" (the published Cal-QL code)."""
    log_std_range: tuple[float, float] = (-20.0, 2.0)
    """Range of the policy's log standard deviation before tanh; a floor such as -1.8 keeps it exploring."""
    actor_learning_rate: float = 1e-4
    """Of Adam for the actor and the entropy weight."""
    critic_learning_rate: float = 3e-4
    """Of Adam for the critics and the Lagrange multiplier."""
    tau: float = 0.005
    """Share of the critics that enters their targets at each step."""
    penalty_weight: float = 5.0
    """Weight of the conservative penalty."""
    lagrange_gap: float | None = None
    """None: fixed weight. Else a Lagrange multiplier on the weight keeps the mean penalty at this gap."""
    initial_multiplier: float = 1.0
    """The Lagrange multiplier at the start."""
    temperature: float = 1.0
    """Of the logsumexp."""
    n_actions: int = 10
    """Actions drawn per state from each of: uniform, the policy at the state, the policy at the next state."""
    importance_sampling: bool = True
    """Subtract the log densities the actions were drawn with; without, the data's action joins the logsumexp."""
    clip_difference: tuple[float, float] = (-200.0, math.inf)
    """Range of the penalty of each state."""
    backup: str = "sample"
    """Action of the target: "sample" (drawn from the policy), "mode" (its mode) or "max" (the best of `n_actions`)."""
    backup_entropy: bool = False
    """Subtract the entropy weight times the log density in the target, as SAC does (with "sample")."""
    target_range: tuple[float, float] | None = None
    """Clip targets to what the rewards make possible, such as (0, 1)."""
    calibrate: bool = True
    """Values of policy actions are bounded below by the Monte Carlo return in the penalty (Cal-QL)."""
    calibrate_online: bool = True
    """Keep the calibration in the online phase (the published code does; CORL's drops it)."""
    entropy_weight: float | None = None
    """Fixed weight of the entropy; None: adapted to `target_entropy`."""
    initial_entropy_weight: float = 1.0
    """Where the adapted weight starts."""
    target_entropy: float | None = None
    """Of the adapted weight; None: minus the number of actions."""
    bc_weight: float = 0.0
    """Weight of the imitation term of the actor, relative to the mean absolute value, so that both losses have one scale."""
    bc_loss: str = "mse"
    """"mse" (mode against the data's action) or "log_prob" (negative log density of the data's action)."""
    mode: str = "exact"
    """Gradient of the critics: "literal" (autograd), "exact" (by hand, equal to it) or "sampled" (by hand, unbiased)."""
    sampled_rows: int = 4
    """Actions per state and critic in the backward pass of the mode "sampled"."""

    def __post_init__(self) -> None:
        for name, valid in _CHOICES.items():
            require_choice(self, name, valid)
        require_some(self, "hidden")
        require_at_least(self, 1, "hidden", "critics", "n_actions", "sampled_rows")
        require_at_least(self, 0, "actor_learning_rate", "critic_learning_rate", "penalty_weight", "bc_weight")
        require_more_than(self, 0, "temperature", "initial_multiplier")
        require_shares(self, "tau")
        require_ranges(self, "log_std_range", "clip_difference", "target_range")


_CHOICES = {
    "backup": ("sample", "mode", "max"),
    "bc_loss": ("mse", "log_prob"),
    "mode": ("literal", "exact", "sampled"),
    "initialisation": ("kaiming", "orthogonal"),
}


class UpdateBatch(Protocol):
    """What a step learns from; `(B, ...)` tensors, any object with these attributes will do."""

    @property
    def features(self) -> Tensor:
        """Inputs of the networks, `(B, F)`. If they require a gradient, the critic loss gives them one, to train an encoder."""

    @property
    def next_features(self) -> Tensor:
        """Of the state the target looks at, `(B, F)`, without gradient."""

    @property
    def action(self) -> Tensor:
        """`(B, A)` in [-1, 1]."""

    @property
    def reward(self) -> Tensor:
        """Discounted sum up to the next state, `(B,)`."""

    @property
    def discount(self) -> Tensor:
        """Of the next state's value, `(B,)`; 0 where the episode terminated."""

    @property
    def mc_return(self) -> Tensor:
        """Monte Carlo return, `(B,)`; -inf where unknown."""

    @property
    def imitate(self) -> Tensor | None:
        """Rows the imitation term applies to, `(B,)` bool; None: all."""


@dataclass(frozen=True)
class _Drawn:
    """The actions of a step, drawn without gradient except the actor's own."""

    mean: Tensor
    """Of the policy at the states, before tanh, with gradient."""
    log_std: Tensor
    here: tuple[Tensor, Tensor]
    """Actions `(B, n, A)` and log densities `(B, n)` at the states."""
    next: tuple[Tensor, Tensor]
    """The same at the next states."""
    next_mode: Tensor
    own: tuple[Tensor, Tensor]
    """The first of `here`, `(B, A)` and `(B,)`, with gradient."""


class CalQLUpdate(nn.Module):
    """Actor, critics, their targets and optimisers, and the step that trains them.

    Args:
        features: length of the inputs; actions: number of actions.
    """

    def __init__(self, features: int, actions: int, config: CalQLConfig) -> None:
        super().__init__()
        self.config, self.online = config, False
        self.actor = SquashedGaussianActor(
            features, actions, config.hidden, config.log_std_range, initialisation=config.initialisation
        )
        self.critics = CriticEnsemble(
            features, actions, config.hidden, config.critics, config.layer_norm, config.initialisation
        )
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.target_entropy = -float(actions) if config.target_entropy is None else config.target_entropy
        weight = config.initial_entropy_weight if config.entropy_weight is None else config.entropy_weight
        self.log_entropy_weight = nn.Parameter(torch.tensor(math.log(max(weight, 1e-12))))
        self.log_multiplier = nn.Parameter(torch.tensor(math.log(config.initial_multiplier)))
        actor_parameters = [*self.actor.parameters(), self.log_entropy_weight]
        critic_parameters = [*self.critics.parameters(), self.log_multiplier]
        self.actor_optimizer = torch.optim.Adam(actor_parameters, lr=config.actor_learning_rate, fused=True)
        self.critic_optimizer = torch.optim.Adam(critic_parameters, lr=config.critic_learning_rate, fused=True)
        self.fast = FastCritic(self.critics)

    def step(self, batch: UpdateBatch) -> dict[str, float]:
        """One step of every network; all gradients are taken before any parameter changes. Returns the metrics."""
        n, multiplier = self.config.n_actions, self.multiplier()
        drawn = self._draw(batch)
        terms, slopes = self._critic_gradients(batch, drawn)
        metrics = self._actor_gradients(batch, drawn, terms.q_sampled[:, :, n], slopes)
        self.actor_optimizer.step()
        self.critic_optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target_critics.parameters()), list(self.critics.parameters()), self.config.tau
            )
        metrics |= {
            "td_loss": terms.td_loss.mean(),
            "penalty": terms.difference.mean(),
            "penalty_weight": multiplier * self.config.penalty_weight,
            "q_data": terms.q_data.mean(),
            "q_policy": terms.q_sampled[..., n : 2 * n].mean(),
            "q_uniform": terms.q_sampled[..., :n].mean(),
        }
        return dict(zip(metrics, torch.stack([m.detach() for m in metrics.values()]).tolist(), strict=True))

    def _draw(self, batch: UpdateBatch) -> _Drawn:
        """Run the actor once on each state and draw all actions of the step."""
        n = self.config.n_actions
        mean, log_std = self.actor(batch.features.detach())
        with torch.no_grad():
            noise = torch.randn(len(mean), n, mean.shape[1], dtype=mean.dtype, device=mean.device)
            here = squash(noise, mean[:, None], log_std[:, None])
            next_mean, next_log_std = self.actor(batch.next_features)
            following = squashed_sample(next_mean, next_log_std, n)
        return _Drawn(mean, log_std, here, following, next_mean.tanh(), squash(noise[:, 0], mean, log_std))

    @torch.no_grad()
    def _targets(self, batch: UpdateBatch, drawn: _Drawn) -> Tensor:
        """r + discount * min_i Q_i(s', a'), `(B,)`."""
        actions, log_prob = drawn.next
        if self.config.backup == "max":
            value = self.target_critics(batch.next_features, actions).amin(0).amax(1)
        elif self.config.backup == "mode":
            value = self.target_critics(batch.next_features, drawn.next_mode).amin(0)
        else:
            value = self.target_critics(batch.next_features, actions[:, 0]).amin(0)
            if self.config.backup_entropy:
                value -= self.log_entropy_weight.exp() * log_prob[:, 0]
        targets = batch.reward + batch.discount * value
        return targets if self.config.target_range is None else targets.clamp(*self.config.target_range)

    @torch.no_grad()
    def _conservative_batch(self, batch: UpdateBatch, drawn: _Drawn) -> ConservativeBatch:
        """The 3 n actions of each state: uniform, of the policy here, of the policy at the next state."""
        (here, here_log), (following, following_log) = drawn.here, drawn.next
        uniform = torch.empty_like(here).uniform_(-1, 1)
        bounds = None
        if self.config.calibrate and (self.config.calibrate_online or not self.online):
            bounds = batch.mc_return[:, None].repeat(1, 3 * self.config.n_actions)
            bounds[:, : self.config.n_actions] = -math.inf
        if self.config.importance_sampling:
            volume = torch.full_like(here_log, here.shape[-1] * math.log(2))
            offsets = torch.cat([volume, -here_log, -following_log], dim=1)
        else:
            offsets = here.new_zeros(len(here), 3 * self.config.n_actions)
        actions = torch.cat([uniform, here, following], dim=1)
        return ConservativeBatch(batch.features, batch.action, self._targets(batch, drawn), actions, offsets, bounds)

    def _critic_gradients(self, batch: UpdateBatch, drawn: _Drawn) -> tuple[ConservativeTerms, Tensor]:
        """Gradients of the critics, of the Lagrange multiplier and, if they want one, of the features.

        Returns the terms of the loss and the values' gradients with respect to the actor's own actions, `(critics, B, A)`.
        """
        config, conservative = self.config, self._conservative_batch(batch, drawn)
        multiplier = self.multiplier()
        penalty = Penalty(
            config.penalty_weight * multiplier.item(),
            config.temperature,
            data_joins=not config.importance_sampling,
            clip=config.clip_difference,
        )
        if config.mode == "literal":
            self.critics.zero_grad()
            loss, terms = conservative_loss(self.critics, conservative, penalty)
            loss.backward()
            own = drawn.own[0].detach().requires_grad_()
            values = self.critics(batch.features.detach(), own)
            slopes = torch.stack([torch.autograd.grad(v.sum(), own, retain_graph=True)[0] for v in values])
        else:
            wanted = torch.zeros_like(batch.features) if batch.features.requires_grad else None
            slopes = drawn.mean.new_empty(config.critics, *batch.action.shape)
            rows = config.sampled_rows if config.mode == "sampled" else None
            terms = self.fast.backward(conservative, penalty, rows, wanted, slopes, action_index=config.n_actions)
            if wanted is not None:
                batch.features.backward(wanted)
        if config.lagrange_gap is not None:  # the multiplier ascends on multiplier * weight * (difference - gap)
            excess = terms.difference.detach().mean() - config.lagrange_gap
            self.log_multiplier.grad = -multiplier * config.penalty_weight * excess
        return terms, slopes

    def multiplier(self) -> Tensor:
        """The factor of the penalty's weight, 1 without Lagrange."""
        if self.config.lagrange_gap is None:
            return torch.ones_like(self.log_multiplier.detach())
        return self.log_multiplier.detach().exp().clamp(0, 1e6)

    def _actor_gradients(self, batch: UpdateBatch, drawn: _Drawn, values: Tensor, slopes: Tensor) -> dict[str, Tensor]:
        """Gradients of the actor and of the entropy weight, and the metrics of the actor.

        `values` `(critics, B)` and `slopes` `(critics, B, A)` are the critics at the actor's own actions.
        """
        config, (actions, log_prob) = self.config, drawn.own
        self.actor_optimizer.zero_grad(set_to_none=True)
        value, smallest = values.detach().min(0)
        slope = slopes.gather(0, smallest[None, :, None].expand(1, *actions.shape))[0]
        gain = (actions * slope).sum(-1)  # has the gradient of the smallest value
        entropy_weight = self.log_entropy_weight.detach().exp()
        loss = (entropy_weight * log_prob - gain).mean()
        actor_loss = (entropy_weight * log_prob.detach() - value).mean()
        metrics = {"actor_loss": actor_loss, "entropy": -log_prob.detach().mean(), "entropy_weight": entropy_weight}
        if config.bc_weight > 0:
            metrics["bc_loss"] = self._imitation_loss(batch, drawn)
            loss = loss + config.bc_weight * value.abs().mean() * metrics["bc_loss"]
        loss.backward()
        if config.entropy_weight is None:
            self.log_entropy_weight.grad = metrics["entropy"] - self.target_entropy
        return metrics

    def _imitation_loss(self, batch: UpdateBatch, drawn: _Drawn) -> Tensor:
        """How far the policy is from the data's actions, over the rows to imitate; 0 if there are none."""
        if self.config.bc_loss == "mse":
            error = F.mse_loss(drawn.mean.tanh(), batch.action, reduction="none").mean(-1)
        else:
            before = torch.atanh(batch.action.clamp(-EDGE, EDGE))
            error = -squashed_log_prob(before, drawn.mean, drawn.log_std)
        if batch.imitate is None:
            return error.mean()
        rows = batch.imitate.to(error.dtype)
        return (error * rows).sum() / rows.sum().clamp_min(1)
