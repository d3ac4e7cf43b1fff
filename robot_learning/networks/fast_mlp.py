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


class _Views:
    """Each copy's part of stacked weights and biases, by copy and layer: taking them anew each time costs a tenth of a step."""

    def __init__(self, copies: int) -> None:
        self._copies = copies
        self._places: list[int] = []
        self.parts: list[list[tuple[Tensor, Tensor, Tensor]]] = []

    def __call__(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor]
    ) -> list[list[tuple[Tensor, Tensor, Tensor]]]:
        """Weight, weight transposed, bias; made again when a tensor lies elsewhere than before (copied, cast, replaced)."""
        places = [tensor.data_ptr() for tensor in (*weights, *biases)]
        if places != self._places:
            self._places = places
            layers = [(weight.detach(), bias.detach()) for weight, bias in zip(weights, biases, strict=True)]
            self.parts = [[(w[i], w[i].t(), b[i]) for w, b in layers] for i in range(self._copies)]
        return self.parts


class FastMLP:
    """Runs `net` forward, keeps the activations, and runs it backward from them.

    `backward` and `input_gradient` use the activations of the last `forward`; given fewer rows, those of its first rows.
    """

    def __init__(self, net: StackedMLP) -> None:
        self.net = net
        self._memory: dict[tuple[int, int], Tensor] = {}
        self._inputs = torch.empty(0)
        self._activations: list[list[_Activation]] = []
        self._parameters = tuple(net.parameters())
        self._weights, self._biases = tuple(net.weights), tuple(net.biases)
        self._layers, self._gradients = _Views(net.copies), _Views(net.copies)

    @torch.no_grad()
    def forward(self, inputs: Tensor, copies: Sequence[int] | None = None) -> Tensor:
        """`(B, in)`, the same for every copy, -> `(copies, B, outputs)`; with `copies` only of these, for no backward pass."""
        net, rows = self.net, len(inputs)
        chosen = range(net.copies) if copies is None else copies
        self._inputs, self._activations = inputs, [[] for _ in chosen]
        layers = self._layers(self._weights, self._biases)
        out = inputs.new_empty(len(chosen), rows, layers[0][-1][0].shape[0])
        for place, (i, activations) in enumerate(zip(chosen, self._activations, strict=True)):
            x = inputs
            *hidden, (_, transposed, bias) = layers[i]
            for layer, (weight, turned, shift) in enumerate(hidden):
                before = self._buffer((i, layer), rows, len(weight), inputs)
                torch.addmm(shift, x, turned, out=before)
                activations.append(self._activate(before, layer, i))
                x = activations[-1].out
            torch.addmm(bias, x, transposed, out=out[place])
        return out

    @torch.no_grad()
    def backward(self, grad: Tensor, feature_gradient: Tensor | None = None) -> None:
        """Set `.grad` of every parameter, given that of the output, `(copies, rows, outputs)`.

        `feature_gradient` `(rows, F)`: the gradient of the first F inputs is added to it.
        """
        net, ones = self.net, torch.ones_like(grad[0, :, 0])
        rows, layers = slice(len(ones)), self._gradient_views()
        for i, activations in enumerate(self._activations):
            upper = grad[i]
            for layer in range(len(activations), -1, -1):
                lower = activations[layer - 1].out if layer else self._inputs
                turned, (weight_grad, turned_grad, bias_grad) = upper.t(), layers[i][layer]
                if weight_grad.shape[1] % 8 and len(weight_grad) > 1:
                    # rows of a length that is no multiple of 8 cost twice as much as the same product turned and copied
                    narrow = self._buffer((-2, layer), turned_grad.shape[0], turned_grad.shape[1], upper)
                    turned_grad.copy_(torch.mm(lower[rows].t(), upper, out=narrow))
                else:
                    torch.mm(turned, lower[rows], out=weight_grad)
                torch.mv(turned, ones, out=bias_grad)
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

    def _gradient_views(self) -> list[list[tuple[Tensor, Tensor, Tensor]]]:
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [[p.grad for p in group if p.grad is not None] for group in (self._weights, self._biases)]
        return self._gradients(*gradients)

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
        weight, rows = self._layers.parts[i][layer][0], len(upper)
        grad = self._buffer((-1, layer), rows, weight.shape[1], upper)
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

    def _buffer(self, name: tuple[int, int], rows: int, width: int, like: Tensor) -> Tensor:
        """Memory `(rows, width)` that stays allocated."""
        held = self._memory.get(name)
        if held is None or held.shape[0] < rows or held.shape[1] != width or held.dtype != like.dtype:
            held = self._memory[name] = torch.empty(rows, width, dtype=like.dtype, device=like.device)
        return held[:rows]
