"""The critic loss of conservative Q-learning (CQL, Kumar et al. 2020) and Cal-QL (Nakamoto et al. 2023), by plain autograd.

For each critic, with states s, actions a and targets y of the batch and N more actions a_n of each state:

    loss = mean (Q(s, a) - y)^2  +  weight * mean clip(T logsumexp_n(x_n / T) - Q(s, a))
    x_n  = max(Q(s, a_n), bound_n) + offset_n

The offset is minus the log density that a_n was drawn from (importance sampling) or 0; the bound is the Monte Carlo return
(calibration) or -inf. `FastCritic` (fast_critic.py) does the same by hand, several times faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from robot_learning.networks.critics import CriticEnsemble


@dataclass(frozen=True)
class ConservativeBatch:
    """What the critics learn from; nothing in it carries a gradient except, by plain autograd, the features."""

    features: Tensor
    """`(B, F)`."""
    data_actions: Tensor
    """Actions of the data, `(B, A)`."""
    targets: Tensor
    """Targets y of their values, `(B,)`."""
    actions: Tensor
    """N more actions of each state, `(B, N, A)`."""
    offsets: Tensor
    """Added to their values, `(B, N)`."""
    bounds: Tensor | None = None
    """Lower bounds of their values, `(B, N)`, -inf where there is none; None: no bounds at all."""


@dataclass(frozen=True)
class Penalty:
    """How the conservative penalty enters the loss."""

    weight: float
    """Factor of the penalty, with the Lagrange multiplier if there is one."""
    temperature: float = 1.0
    """T."""
    data_joins: bool = False
    """The data's own action is one of the terms of the logsumexp (without importance sampling)."""
    clip: tuple[float, float] = (-200.0, math.inf)
    """Range of the difference of each state."""


@dataclass(frozen=True)
class ConservativeTerms:
    """What the loss was made of, without gradients."""

    td_loss: Tensor
    """Of each critic, `(critics,)`."""
    difference: Tensor
    """Mean clipped difference of each critic, `(critics,)`, not yet weighted."""
    q_data: Tensor
    """Values of the data's actions, `(critics, B)`."""
    q_sampled: Tensor
    """Values of the other actions without bounds and offsets, `(critics, B, N)`."""


def conservative_terms(
    q_data: Tensor, q_sampled: Tensor, batch: ConservativeBatch, penalty: Penalty
) -> ConservativeTerms:
    """The terms of the loss from the values `(critics, B)` and `(critics, B, N)`; differentiable."""
    bounded = q_sampled if batch.bounds is None else torch.maximum(q_sampled, batch.bounds)
    x = (bounded + batch.offsets) / penalty.temperature
    if penalty.data_joins:
        x = torch.cat([x, q_data.unsqueeze(-1) / penalty.temperature], dim=-1)
    difference = penalty.temperature * x.logsumexp(-1) - q_data
    return ConservativeTerms(
        td_loss=F.mse_loss(q_data, batch.targets.expand_as(q_data), reduction="none").mean(-1),
        difference=difference.clamp(*penalty.clip).mean(-1),
        q_data=q_data,
        q_sampled=q_sampled,
    )


def conservative_loss(
    critics: CriticEnsemble, batch: ConservativeBatch, penalty: Penalty
) -> tuple[Tensor, ConservativeTerms]:
    """The loss, summed over the critics, and its terms."""
    actions = torch.cat([batch.actions, batch.data_actions.unsqueeze(1)], dim=1)
    q = critics(batch.features, actions)
    terms = conservative_terms(q[..., -1], q[..., :-1], batch, penalty)
    return terms.td_loss.sum() + penalty.weight * terms.difference.sum(), terms
