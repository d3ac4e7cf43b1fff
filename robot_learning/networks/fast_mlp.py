"""Forward and backward of stacked perceptrons by hand, for speed on a CPU.

At a batch of 256 the matrix products of a step take hardly longer than what autograd spends around them: graph nodes, fresh
memory, zeroing and adding. Here activations go into memory that stays allocated, and gradients are written to where the
optimiser reads them. What comes out is what autograd gives, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robot_learning.networks.critics import LAYER_NORM_EPSILON, StackedMLP

_threshold_backward = torch.ops.aten.threshold_backward.grad_input
_layer_norm_backward = torch.ops.aten.native_layer_norm_backward


@dataclass(frozen=True)
class _Activation:
    """Of one hidden layer of one copy: `out` `(B, width)` after ReLU; with LayerNorm also what went into that."""

    out: Tensor
    before: Tensor | None = None
    mean: Tensor | None = None
    deviation: Tensor | None = None
    """Reciprocal of the standard deviation, `(B, 1)` like the mean."""


class FastMLP:
    """Runs `net` forward, keeps the activations, and runs it backward from them.

    `backward` and `input_gradient` use the activations of the last `forward`; given fewer rows, those of its first rows.
    """

    def __init__(self, net: StackedMLP) -> None:
        self.net = net
        self._memory: dict[str, Tensor] = {}
        self._inputs = torch.empty(0)
        self._activations: list[list[_Activation]] = []

    @torch.no_grad()
    def forward(self, inputs: Tensor, copies: Sequence[int] | None = None) -> Tensor:
        """`(B, in)`, the same for every copy, -> `(copies, B, outputs)`; with `copies` only of these, for no backward pass."""
        net, rows = self.net, len(inputs)
        chosen = range(net.copies) if copies is None else copies
        self._inputs, self._activations = inputs, [[] for _ in chosen]
        out = inputs.new_empty(len(chosen), rows, net.weights[-1].shape[1])
        for place, (i, activations) in enumerate(zip(chosen, self._activations, strict=True)):
            x = inputs
            for layer in range(len(net.weights) - 1):
                weight, bias = net.weights[layer][i], net.biases[layer][i]
                before = self._buffer(f"{i} {layer}", rows, len(weight), inputs)
                torch.addmm(bias, x, weight.t(), out=before)
                activations.append(self._activate(before, layer, i))
                x = activations[-1].out
            torch.addmm(net.biases[-1][i], x, net.weights[-1][i].t(), out=out[place])
        return out

    @torch.no_grad()
    def backward(self, grad: Tensor, feature_gradient: Tensor | None = None) -> None:
        """Set `.grad` of every parameter, given that of the output, `(copies, rows, outputs)`.

        `feature_gradient` `(rows, F)`: the gradient of the first F inputs is added to it.
        """
        net, ones = self.net, torch.ones_like(grad[0, :, 0])
        rows = slice(len(ones))
        for parameter in net.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for i, activations in enumerate(self._activations):
            upper = grad[i]
            for layer in range(len(activations), -1, -1):
                lower = activations[layer - 1].out if layer else self._inputs
                weight_grad, bias_grad = net.weights[layer].grad, net.biases[layer].grad
                assert weight_grad is not None and bias_grad is not None
                torch.mm(upper.t(), lower[rows], out=weight_grad[i])
                torch.mv(upper.t(), ones, out=bias_grad[i])
                if layer:
                    upper = self._down(upper, layer, i, parameters=True)
            if feature_gradient is not None:
                feature_gradient.addmm_(upper, net.weights[0][i, :, : feature_gradient.shape[1]])

    @torch.no_grad()
    def input_gradient(self, grad: Tensor, start: int = 0) -> Tensor:
        """Gradient of input columns `start` and up, `(copies, rows, in - start)`, given that of the output; sets no `.grad`."""
        net = self.net
        result = grad.new_empty(*grad.shape[:2], net.weights[0].shape[2] - start)
        for i in range(net.copies):
            upper = grad[i]
            for layer in range(len(net.weights) - 1, 0, -1):
                upper = self._down(upper, layer, i, parameters=False)
            torch.mm(upper, net.weights[0][i, :, start:], out=result[i])
        return result

    def _activate(self, before: Tensor, layer: int, i: int) -> _Activation:
        """LayerNorm, if any, and ReLU; without LayerNorm in place."""
        net = self.net
        if not net.layer_norm:
            return _Activation(before.relu_())
        scale, shift = net.scales[layer][i], net.shifts[layer][i]
        out, mean, deviation = torch.native_layer_norm(before, before.shape[1:], scale, shift, LAYER_NORM_EPSILON)
        return _Activation(out.relu_(), before, mean, deviation)

    def _down(self, upper: Tensor, layer: int, i: int, parameters: bool) -> Tensor:
        """From the gradient of the output of linear `layer` to that of the linear below, `(rows, width)`."""
        weight, rows = self.net.weights[layer][i], len(upper)
        grad = self._buffer(f"down {layer}", rows, weight.shape[1], upper)
        if len(weight) == 1:
            torch.mul(upper, weight, out=grad)
        else:
            torch.mm(upper, weight, out=grad)
        below = self._activations[i][layer - 1]
        _threshold_backward(grad, below.out[:rows], 0, grad_input=grad)
        if below.before is None or below.mean is None or below.deviation is None:
            return grad
        scale, shift = self.net.scales[layer - 1], self.net.shifts[layer - 1]
        before, mean, deviation = below.before[:rows], below.mean[:rows], below.deviation[:rows]
        wanted = [True, parameters, parameters]
        grad, scale_grad, shift_grad = _layer_norm_backward(
            grad, before, grad.shape[1:], mean, deviation, scale[i], shift[i], wanted
        )
        if parameters:
            assert scale.grad is not None and shift.grad is not None
            scale.grad[i], shift.grad[i] = scale_grad, shift_grad
        return grad

    def _buffer(self, name: str, rows: int, width: int, like: Tensor) -> Tensor:
        """Memory `(rows, width)` that stays allocated."""
        held = self._memory.get(name)
        if held is None or held.shape[0] < rows or held.shape[1] != width or held.dtype != like.dtype:
            held = self._memory[name] = torch.empty(rows, width, dtype=like.dtype, device=like.device)
        return held[:rows]
