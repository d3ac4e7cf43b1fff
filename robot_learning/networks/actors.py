"""Stochastic policies over actions in [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.networks.critics import StackedMLP

EDGE = 1 - 1e-6
"""Actions of a data set lie on the bounds, where the inverse of tanh is infinite; they are moved in by 1e-6."""


def _log_density(noise: Tensor, before: Tensor, log_std: Tensor) -> Tensor:
    """Log density `(...,)` of tanh(`before`) `(..., A)`, where `before` is standard normal `noise` scaled and shifted.

    log(1 - tanh(x)^2) is written 2 (log 2 - x - softplus(-2x)), which neither overflows nor loses digits at large |x|
    (Haarnoja et al. 2018, appendix C, gives the density).
    """
    per_action = noise.square().mul(-0.5) - log_std + 2 * before + 2 * F.softplus(-2 * before)
    return per_action.sum(-1) - noise.shape[-1] * (0.5 * math.log(2 * math.pi) + 2 * math.log(2))


def squashed_log_prob(before: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log density `(...,)` of tanh(`before`) `(..., A)`, where `before` is normal with this mean and log std."""
    return _log_density((before - mean) * torch.exp(-log_std), before, log_std)


def squash(noise: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """Actions `(..., A)` made of standard normal `noise`, and their log densities `(...,)`; differentiable (reparametrised)."""
    before = mean + log_std.exp() * noise
    return torch.tanh(before), _log_density(noise, before, log_std)


def squashed_sample(
    mean: Tensor, log_std: Tensor, n: int | None = None, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw actions: without `n` `(B, A)` and log densities `(B,)`, with it `(B, n, A)` and `(B, n)`."""
    if n is not None:
        mean, log_std = mean[:, None], log_std[:, None]
    shape = mean.shape if n is None else (len(mean), n, mean.shape[-1])
    return squash(torch.randn(shape, dtype=mean.dtype, device=mean.device, generator=generator), mean, log_std)


class SquashedGaussianActor(nn.Module):
    """tanh of a diagonal Gaussian whose mean and log standard deviation depend on the features.

    Args:
        log_std_range: the log standard deviation (before tanh) is clamped to it.
    """

    distribution: ClassVar[str] = "squashed"

    def __init__(
        self,
        features: int,
        actions: int,
        hidden: Sequence[int] = (256, 256),
        log_std_range: tuple[float, float] = (-20.0, 2.0),
        layer_norm: bool = False,
        initialisation: str = "kaiming",
    ) -> None:
        super().__init__()
        self.features, self.actions, self.log_std_range = features, actions, log_std_range
        self.hidden, self.layer_norm = tuple(hidden), layer_norm
        self.mlp = StackedMLP(features, hidden, 2 * actions, 1, layer_norm, initialisation)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before tanh, `(B, A)` each, of features `(B, F)`."""
        mean, log_std = self.mlp(features)[0].chunk(2, dim=-1)
        return mean, log_std.clamp(*self.log_std_range)

    def sample(
        self, features: Tensor, n: int | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Reparametrised actions `(B, A)` with log densities `(B,)`; with `n`, `(B, n, A)` and `(B, n)`.

        The network runs once per state, whatever `n`.
        """
        mean, log_std = self(features)
        return squashed_sample(mean, log_std, n, generator)

    def log_prob(self, features: Tensor, actions: Tensor) -> Tensor:
        """Log densities `(B,)` of actions `(B, A)` in [-1, 1], or `(B, N)` of `(B, N, A)`."""
        mean, log_std = self(features)
        if actions.dim() == 3:
            mean, log_std = mean[:, None], log_std[:, None]
        return squashed_log_prob(torch.atanh(actions.clamp(-EDGE, EDGE)), mean, log_std)

    def mode(self, features: Tensor) -> Tensor:
        """tanh of the mean, `(B, A)`."""
        return torch.tanh(self(features)[0])


class GaussianActor(SquashedGaussianActor):
    """A Gaussian around tanh of the mean, whose draws are cut off at -1 and 1; what IQL and AWR fit to data.

    Actions on the bounds, frequent in data, have a finite density here; that of tanh of a Gaussian has none there. `forward` and
    `mode` are as above, the log standard deviation is that of the action itself.
    """

    distribution = "gaussian"

    def sample(
        self, features: Tensor, n: int | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Actions `(B, A)` with log densities `(B,)` as if they were not cut off; with `n`, `(B, n, A)` and `(B, n)`."""
        mean, log_std = self(features)
        if n is not None:
            mean, log_std = mean[:, None], log_std[:, None]
        shape = mean.shape if n is None else (len(mean), n, mean.shape[-1])
        noise = torch.randn(shape, dtype=mean.dtype, device=mean.device, generator=generator)
        actions = (mean.tanh() + log_std.exp() * noise).clamp(-1, 1)
        return actions, gaussian_log_density(noise, log_std)

    def log_prob(self, features: Tensor, actions: Tensor) -> Tensor:
        """Log densities `(B,)` of actions `(B, A)`, or `(B, N)` of `(B, N, A)`."""
        mean, log_std = self(features)
        if actions.dim() == 3:
            mean, log_std = mean[:, None], log_std[:, None]
        return gaussian_log_density((actions - mean.tanh()) * torch.exp(-log_std), log_std)


def gaussian_log_density(noise: Tensor, log_std: Tensor) -> Tensor:
    """Log density `(...,)` of a Gaussian at `noise` `(..., A)` standard deviations from its mean."""
    return (noise.square().mul(-0.5) - log_std).sum(-1) - noise.shape[-1] * 0.5 * math.log(2 * math.pi)


ACTORS = {actor.distribution: actor for actor in (SquashedGaussianActor, GaussianActor)}
"""Classes of actors by the name a checkpoint gives them."""
