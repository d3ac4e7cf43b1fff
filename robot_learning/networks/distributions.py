"""Heads that turn features into a chunk of actions `(B, T, A)`, each with its loss and its most likely chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def masked_mean(values: Tensor, is_pad: Tensor) -> Tensor:
    """Mean of `(B, T, A)` over the steps where `is_pad` `(B, T)` is false."""
    keep = (~is_pad).unsqueeze(-1).to(values.dtype)
    return (values * keep).sum() / (keep.sum() * values.shape[-1]).clamp(min=1)


class ChunkHead(nn.Module, ABC):
    """What heads share: features give a distribution over chunks, described by a dict of tensors."""

    horizon: int
    action: int

    @abstractmethod
    def loss(self, out: dict[str, Tensor], target: Tensor, is_pad: Tensor) -> Tensor:
        """Of `target` `(B, T, A)` outside the padding."""

    @abstractmethod
    def candidates(self, out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log probabilities `(B, K)` and chunks `(B, K, T, A)` of what might be done."""

    def mode(self, out: dict[str, Tensor]) -> Tensor:
        """The most probable chunk `(B, T, A)` of each row."""
        log_probabilities, chunks = self.candidates(out)
        best = log_probabilities.argmax(-1)
        return chunks[torch.arange(len(best)), best]


def _only(chunk: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates where there is only one, of each row of `(B, T, A)`."""
    return torch.zeros_like(chunk[:, 0, :1]), chunk[:, None]


class L1Head(ChunkHead):
    """One chunk, trained by the mean absolute error (as ACT does, Zhao et al. 2023)."""

    def __init__(self, features: int, horizon: int, action: int) -> None:
        super().__init__()
        self.horizon, self.action = horizon, action
        self.linear = nn.Linear(features, horizon * action)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """`mean` `(B, T, A)` of features `(B, F)`."""
        return {"mean": self.linear(features).unflatten(-1, (self.horizon, self.action))}

    def loss(self, out: dict[str, Tensor], target: Tensor, is_pad: Tensor) -> Tensor:
        """Mean absolute error to `target` `(B, T, A)` outside the padding."""
        return masked_mean((out["mean"] - target).abs(), is_pad)

    def candidates(self, out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The chunk, `(B, 1)` and `(B, 1, T, A)`."""
        return _only(out["mean"])


class MixtureHead(ChunkHead):
    """A mixture of `components` whole chunks with Laplace noise: ways left and right of an obstacle are not averaged.

    Each component is a full chunk, so that a mode is kept over its length; one component is L1 with learned scales.
    """

    def __init__(self, features: int, horizon: int, action: int, components: int, min_scale: float = 0.02) -> None:
        super().__init__()
        self.horizon, self.action, self.components, self.min_scale = horizon, action, components, min_scale
        self.logits = nn.Linear(features, components)
        self.means = nn.Linear(features, components * horizon * action)
        self.scales = nn.Parameter(torch.zeros(components, horizon, action))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """`logits` `(B, K)`, `means` `(B, K, T, A)` and `scales` `(K, T, A)` of features `(B, F)`."""
        means = self.means(features).unflatten(-1, (self.components, self.horizon, self.action))
        return {"logits": self.logits(features), "means": means, "scales": F.softplus(self.scales) + self.min_scale}

    def loss(self, out: dict[str, Tensor], target: Tensor, is_pad: Tensor) -> Tensor:
        """Negative log likelihood of `target` `(B, T, A)` per number outside the padding."""
        keep = (~is_pad).to(target.dtype)[:, None, :, None]
        scales = out["scales"][None]
        log_density = -(out["means"] - target[:, None]).abs() / scales - (2 * scales).log()
        log_chunk = (log_density * keep).sum(dim=(2, 3)) + out["logits"].log_softmax(-1)
        return -log_chunk.logsumexp(-1).sum() / (keep.sum() * self.action).clamp(min=1)

    def candidates(self, out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log probabilities `(B, K)` and chunks `(B, K, T, A)` of the components."""
        return out["logits"].log_softmax(-1), out["means"]


class FlowHead(ChunkHead):
    """A velocity that carries noise to a chunk, by conditional flow matching along straight lines (Lipman et al. 2023).

    Acting begins from no noise at all instead of a draw: where there is one way that gives its mean, where there are several it
    ends in one of them.
    """

    SAMPLES = 4  # noise and time drawn for each frame in training: the field is cheap beside what sees
    STEPS = 8  # of Euler from noise to chunk
    WIDTH, FREQUENCIES = 512, 6

    frequencies: Tensor

    def __init__(self, features: int, horizon: int, action: int) -> None:
        super().__init__()
        self.horizon, self.action = horizon, action
        size = horizon * action
        self.register_buffer("frequencies", torch.pi * 2.0 ** torch.arange(self.FREQUENCIES), persistent=False)
        self.enter = nn.Linear(features + size + 2 * self.FREQUENCIES, self.WIDTH)
        self.middle = nn.Linear(self.WIDTH, self.WIDTH)
        self.leave = nn.Linear(self.WIDTH, size)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """`features` `(B, F)` themselves: the field is evaluated where the loss or the mode wants it."""
        return {"features": features}

    def loss(self, out: dict[str, Tensor], target: Tensor, is_pad: Tensor) -> Tensor:
        """Mean squared error of the velocity outside the padding, at noise and times drawn anew; the same ones in evaluation."""
        generator = None if self.training else torch.Generator().manual_seed(0)
        keep = (~is_pad).unsqueeze(-1).to(target.dtype)
        ends = (target * keep).flatten(1).repeat(self.SAMPLES, 1)
        starts = torch.randn(ends.shape, generator=generator)
        time = torch.rand(len(ends), 1, generator=generator)
        velocity = self._velocity(out["features"].repeat(self.SAMPLES, 1), starts.lerp(ends, time), time)
        errors = (velocity - (ends - starts)).square().unflatten(-1, (self.horizon, self.action))
        return masked_mean(errors, is_pad.repeat(self.SAMPLES, 1))

    def candidates(self, out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The chunk that no noise leads to, `(B, 1)` and `(B, 1, T, A)`."""
        features = out["features"]
        chunk = torch.zeros(len(features), self.horizon * self.action)
        for step in range(self.STEPS):
            time = torch.full((len(features), 1), step / self.STEPS)
            chunk = chunk + self._velocity(features, chunk, time) / self.STEPS
        return _only(chunk.unflatten(-1, (self.horizon, self.action)))

    def _velocity(self, features: Tensor, chunk: Tensor, time: Tensor) -> Tensor:
        angles = time * self.frequencies
        hidden = F.silu(self.enter(torch.cat([features, chunk, angles.sin(), angles.cos()], dim=-1)))
        velocity: Tensor = self.leave(hidden + F.silu(self.middle(hidden)))
        return velocity


def make_head(kind: str, features: int, horizon: int, action: int, components: int) -> ChunkHead:
    """The head called `kind`, "l1", "mixture" or "flow"."""
    if kind == "l1":
        return L1Head(features, horizon, action)
    if kind == "mixture":
        return MixtureHead(features, horizon, action, components)
    if kind == "flow":
        return FlowHead(features, horizon, action)
    raise ValueError(f"unknown head {kind!r}; valid: ['l1', 'mixture', 'flow']")
