"""Heads that turn features into a chunk of actions `(B, T, A)`, each with its loss and its most likely chunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def masked_mean(values: Tensor, is_pad: Tensor) -> Tensor:
    """Mean of `(B, T, A)` over the steps where `is_pad` `(B, T)` is false."""
    keep = (~is_pad).unsqueeze(-1).to(values.dtype)
    return (values * keep).sum() / (keep.sum() * values.shape[-1]).clamp(min=1)


class L1Head(nn.Module):
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

    def mode(self, out: dict[str, Tensor]) -> Tensor:
        """The chunk `(B, T, A)`."""
        return out["mean"]

    def candidates(self, out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log probabilities `(B, 1)` and chunks `(B, 1, T, A)`: there is only one."""
        return torch.zeros_like(out["mean"][:, 0, :1]), out["mean"][:, None]


class MixtureHead(nn.Module):
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

    def mode(self, out: dict[str, Tensor]) -> Tensor:
        """The chunk `(B, T, A)` of each row's most probable component."""
        best = out["logits"].argmax(-1)
        return out["means"][torch.arange(len(best)), best]

    def candidates(self, out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log probabilities `(B, K)` and chunks `(B, K, T, A)` of the components."""
        return out["logits"].log_softmax(-1), out["means"]


def make_head(kind: str, features: int, horizon: int, action: int, components: int) -> L1Head | MixtureHead:
    """The head called `kind`, "l1" or "mixture"."""
    if kind == "l1":
        return L1Head(features, horizon, action)
    if kind == "mixture":
        return MixtureHead(features, horizon, action, components)
    raise ValueError(f"unknown head {kind!r}; valid: ['l1', 'mixture']")
