"""State-action value ensembles and state values.

The critics of an ensemble share nothing, but their parameters are stacked, `(critics, out, in)`: one optimiser step, one target
average and one batched matrix product serve them all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYER_NORM_EPSILON = 1e-5


def init_linear_(weight: Tensor, bias: Tensor, initialisation: str, last: bool) -> None:
    """Initialise one layer `(out, in)` and `(out,)` in place.

    "kaiming" is torch's default for `nn.Linear`, as in Stable-Baselines3; "orthogonal" has gain sqrt(2), 0.01 in the last layer
    and no bias, as the published Cal-QL code.
    """
    if initialisation == "kaiming":
        bound = 1 / math.sqrt(weight.shape[1])
        nn.init.uniform_(weight, -bound, bound)
        nn.init.uniform_(bias, -bound, bound)
    elif initialisation == "orthogonal":
        nn.init.orthogonal_(weight, 0.01 if last else math.sqrt(2))
        nn.init.zeros_(bias)
    else:
        raise ValueError(f"unknown initialisation {initialisation!r}; valid: ['kaiming', 'orthogonal']")


class StackedMLP(nn.Module):
    """`copies` independent perceptrons: Linear (-> LayerNorm) -> ReLU for each hidden width, then Linear to `outputs`.

    Layer l has `weights[l]` `(copies, out, in)` and `biases[l]` `(copies, out)`; with LayerNorm also `scales[l]` and `shifts[l]`
    `(copies, out)`.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        copies: int = 1,
        layer_norm: bool = False,
        initialisation: str = "kaiming",
    ) -> None:
        super().__init__()
        self.copies, self.layer_norm = copies, layer_norm
        widths = [inputs, *hidden, outputs]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.scales, self.shifts = nn.ParameterList(), nn.ParameterList()
        for layer, (width_in, width_out) in enumerate(itertools.pairwise(widths)):
            weight, bias = torch.empty(copies, width_out, width_in), torch.empty(copies, width_out)
            for w, b in zip(weight, bias, strict=True):
                init_linear_(w, b, initialisation, last=layer == len(hidden))
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))
            if layer_norm and layer < len(hidden):
                self.scales.append(nn.Parameter(torch.ones(copies, width_out)))
                self.shifts.append(nn.Parameter(torch.zeros(copies, width_out)))

    def first(self, inputs: Tensor, start: int = 0) -> Tensor:
        """The first layer without bias of input columns `start` and up: `(B, in)` -> `(copies, B, out)`."""
        return inputs @ self.weights[0][:, :, start : start + inputs.shape[-1]].transpose(1, 2)

    def after_first(self, x: Tensor) -> Tensor:
        """Everything after the first linear layer: `(copies, B, out)` -> `(copies, B, outputs)`."""
        for layer in range(len(self.weights) - 1):
            if self.layer_norm:
                normal = F.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPSILON)
                x = torch.addcmul(self.shifts[layer][:, None], normal, self.scales[layer][:, None])
            weight, bias = self.weights[layer + 1], self.biases[layer + 1]
            x = torch.baddbmm(bias[:, None], torch.relu(x), weight.transpose(1, 2))
        return x

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, in)`, the same for every copy, -> `(copies, B, outputs)`."""
        return self.after_first(self.first(inputs) + self.biases[0][:, None])


class CriticEnsemble(StackedMLP):
    """Independent Q functions of features and an action; the features are the first columns of the input."""

    def __init__(
        self,
        features: int,
        actions: int,
        hidden: Sequence[int] = (256, 256),
        critics: int = 2,
        layer_norm: bool = False,
        initialisation: str = "kaiming",
    ) -> None:
        super().__init__(features + actions, hidden, 1, critics, layer_norm, initialisation)
        self.features, self.actions, self.critics = features, actions, critics

    def forward(self, features: Tensor, actions: Tensor) -> Tensor:  # type: ignore[override]
        """Q of features `(B, F)` and actions `(B, A)` -> `(critics, B)`, or of `(B, N, A)` -> `(critics, B, N)`.

        The features' part of the first layer is computed once for the N actions of a state.
        """
        state = self.first(features) + self.biases[0][:, None]
        action = self.first(actions.flatten(0, -2), start=self.features)
        if actions.dim() == 2:
            return self.after_first(state + action).squeeze(-1)
        x = state.unsqueeze(2) + action.unflatten(1, actions.shape[:2])
        return self.after_first(x.flatten(1, 2)).view(self.critics, *actions.shape[:2])


class ValueNetwork(StackedMLP):
    """V of features: `(B, F)` -> `(B,)`."""

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (256, 256),
        layer_norm: bool = False,
        initialisation: str = "kaiming",
    ) -> None:
        super().__init__(features, hidden, 1, 1, layer_norm, initialisation)

    def forward(self, features: Tensor) -> Tensor:
        """Values `(B,)` of features `(B, F)`."""
        return super().forward(features).view(-1)
