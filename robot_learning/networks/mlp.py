"""Multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def mlp(inputs: int, hidden: Sequence[int], outputs: int | None = None, dropout: float = 0.0) -> nn.Sequential:
    """Linear -> LayerNorm -> GELU (-> dropout) for each hidden width, then a linear layer unless `outputs` is None.

    LayerNorm keeps activations in range whatever the scale of the features joined at the input.
    """
    layers: list[nn.Module] = []
    width = inputs
    for size in hidden:
        layers += [nn.Linear(width, size), nn.LayerNorm(size), nn.GELU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        width = size
    if outputs is not None:
        layers.append(nn.Linear(width, outputs))
    return nn.Sequential(*layers)
