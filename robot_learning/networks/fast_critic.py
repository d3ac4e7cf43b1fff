"""Forward and backward of a critic ensemble under the conservative loss, by hand, for speed on a CPU.

The cost is arithmetic: some 31 actions of each state through every critic. What autograd wastes around it is saved:

* A few dozen states at a time go forward and backward before the next ones, so that their activations stay in the cache.
* The features' part of the first layer is computed once per state, not once per action.
* Buffers are allocated once and written in place.
* The gradient at the last hidden layer is an outer product under a mask; its one factor is moved into the weights.
* Rows without gradient take no part in the backward pass: values below their bound (`torch.maximum` passes nothing on) and terms
  of the logsumexp whose share is below the rounding error.

`rows=None` gives the gradient of `conservative_loss`, equal up to rounding. `rows=m` draws about m of the other actions of each
state for the backward pass: the gradient of a logsumexp is the mean of the gradients of its terms under their softmax, so a
random choice of terms with weights gives an unbiased estimate of it. See `draw_rows` and docs/cal_ql.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robot_learning.networks.conservative import ConservativeBatch, ConservativeTerms, Penalty
from robot_learning.networks.critics import LAYER_NORM_EPSILON, CriticEnsemble
from robot_learning.networks.fused_linear import fused_linear
from robot_learning.networks.row_choice import draw_rows

_threshold_backward = torch.ops.aten.threshold_backward.grad_input
_layer_norm_backward = torch.ops.aten.native_layer_norm_backward

GATHER_BELOW = 0.92
"""Share of rows with gradient below which picking them out pays for the copies."""


@dataclass
class _Layer:
    """A hidden layer of one critic: parameters, their gradients, and the activations of the states at hand."""

    weight: Tensor
    bias: Tensor
    weight_grad: Tensor
    bias_grad: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None
    scale_grad: Tensor | None = None
    shift_grad: Tensor | None = None
    back_weight: Tensor = field(init=False)
    """What takes the gradient of this layer's output to that of its input."""
    back_transposed: Tensor = field(init=False)
    """The same, transposed, contiguous; not of the first layer."""
    back_scale: Tensor | None = field(init=False)
    before: Tensor = field(init=False)
    """Output of the linear part."""
    statistics: tuple[Tensor, Tensor] = field(init=False)
    """Mean and reciprocal standard deviation of LayerNorm, `(rows, 1)` each."""
    out: Tensor = field(init=False)
    """After ReLU, `(rows, width)`."""

    def __post_init__(self) -> None:
        self.back_weight, self.back_scale = self.weight, self.scale

    def forward(self, x: Tensor) -> None:
        """The whole layer."""
        if self.scale is None:
            self.out = fused_linear(x, self.weight, self.bias, relu=True)
        else:
            self.activate(fused_linear(x, self.weight, self.bias))

    def activate(self, before: Tensor) -> None:
        """LayerNorm, if any, and ReLU; without LayerNorm in place."""
        if self.scale is None:
            self.out = before.relu_()
            return
        self.before = before
        normal, *statistics = torch.native_layer_norm(
            before, before.shape[1:], self.scale, self.shift, LAYER_NORM_EPSILON
        )
        self.out, self.statistics = normal.relu_(), (statistics[0], statistics[1])

    def pick(self, rows: Tensor) -> None:
        """Keep only these rows of the activations."""
        self.out = self.out.index_select(0, rows)
        if self.scale is not None:
            self.before = self.before.index_select(0, rows)
            mean, deviation = self.statistics
            self.statistics = mean.index_select(0, rows), deviation.index_select(0, rows)

    def deactivate(self, grad: Tensor) -> Tensor:
        """The gradient of the linear part's output, given that of `out`, whose memory it may take."""
        _threshold_backward(grad, self.out, 0, grad_input=self.out)
        if self.scale is None:
            return self.out
        shape, (mean, deviation) = self.out.shape[1:], self.statistics
        assert self.shift is not None and self.scale_grad is not None and self.shift_grad is not None
        grad, scale_grad, shift_grad = _layer_norm_backward(
            self.out, self.before, shape, mean, deviation, self.back_scale, self.shift, [True, True, True]
        )
        self.scale_grad += scale_grad
        self.shift_grad += shift_grad
        return grad

    def input_gradient(self, grad: Tensor, rows: slice) -> Tensor:
        """The gradient of the layer's input at some rows, given that of `out`; nothing is changed."""
        grad = _threshold_backward(grad, self.out[rows], 0, grad_input=torch.empty_like(self.out[rows]))
        if self.scale is not None:
            shape, (mean, deviation) = grad.shape[1:], self.statistics
            wanted = [True, False, False]
            grad, *_ = _layer_norm_backward(
                grad, self.before[rows], shape, mean[rows], deviation[rows], self.scale, self.shift, wanted
            )
        return grad @ self.weight

    def fold_in(self, head: Tensor) -> None:
        """This being the last hidden layer, `head` `(width,)` the weight after it: move it to where it costs nothing."""
        if self.scale is None:
            self.back_weight = head[:, None] * self.weight
        else:
            self.back_scale = head * self.scale

    def fold_out(self, head: Tensor) -> None:
        """Give the summed gradients the factor that `fold_in` kept out of them."""
        if self.scale is None:
            self.weight_grad *= head[:, None]
            self.bias_grad *= head
        else:
            assert self.scale_grad is not None and self.shift_grad is not None
            self.scale_grad *= head
            self.shift_grad *= head


class FastCritic:
    """Writes the gradient of the conservative loss into the parameters of `critics`.

    Args:
        chunk: states that go forward and backward at a time; None chooses.
    """

    def __init__(self, critics: CriticEnsemble, chunk: int | None = None) -> None:
        self.critics, self.chunk = critics, chunk
        self._memory: dict[str, Tensor] = {}

    @torch.no_grad()
    def backward(
        self,
        batch: ConservativeBatch,
        penalty: Penalty,
        rows: int | None = None,
        feature_gradient: Tensor | None = None,
        action_gradient: Tensor | None = None,
        action_index: int = 0,
        generator: torch.Generator | None = None,
    ) -> ConservativeTerms:
        """Set `.grad` of every parameter to the gradient of `conservative_loss`; returns its terms.

        Args:
            rows: None for the exact gradient, else how many of the other actions of a state to draw.
            feature_gradient: `(B, F)`; the gradient with respect to the features is added to it.
            action_gradient: `(critics, B, A)`; becomes the gradient of each critic's value of the action number `action_index`,
                so that an actor can be trained without another pass.
        """
        _zero_gradients(self.critics)
        size, features = len(batch.features), self.critics.features
        chunk = self.chunk or (64 if rows is None else 128)
        states = [slice(start, min(start + chunk, size)) for start in range(0, size, chunk)]
        terms = _Terms(batch, penalty, self.critics.critics, rows, generator)
        actions = [terms.actions[:, at].flatten(0, 1) for at in states]
        q = batch.features.new_empty(self.critics.critics, len(terms.actions), size)
        state_grad = batch.features.new_zeros(size, self.critics.weights[0].shape[1])
        for i in range(self.critics.critics):
            layers, head = self._layers(i)
            state = torch.addmm(layers[0].bias, batch.features, layers[0].weight[:, :features].t())
            action_grad = state.new_zeros(self.critics.actions, state.shape[1])
            state_grad.zero_()
            for at, chunk_actions in zip(states, actions, strict=True):
                values = self._forward(layers, head, state[at], chunk_actions)
                q[i, :, at] = values
                if action_gradient is not None:
                    block = slice(action_index * values.shape[1], (action_index + 1) * values.shape[1])
                    action_gradient[i, at] = self._action_gradient(layers, head, block)
                grad = terms.gradients(values, i, at).flatten()
                self._backward(layers, head, grad, chunk_actions, state_grad[at], action_grad)
            first = layers[0]
            if feature_gradient is not None:
                feature_gradient.addmm_(state_grad, first.back_weight[:, :features])
            torch.mm(state_grad.t(), batch.features, out=first.weight_grad[:, :features])
            first.weight_grad[:, features:] = action_grad.t()
            first.bias_grad.copy_(state_grad.sum(0))
            layers[-1].fold_out(head.weight)
        return ConservativeTerms(terms.td_loss, terms.difference, q[:, -1], q[:, :-1].transpose(1, 2))

    def _layers(self, i: int) -> tuple[list[_Layer], _Layer]:
        """The hidden layers of critic `i`, and its last layer with a weight `(width,)`."""
        net, layers = self.critics, []
        for n, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
            assert weight.grad is not None and bias.grad is not None
            parts = weight[i], bias[i], weight.grad[i], bias.grad[i]
            if n == len(net.weights) - 1:
                head = _Layer(parts[0][0], parts[1], parts[2][0], parts[3])
            elif net.layer_norm:
                scale, shift = net.scales[n], net.shifts[n]
                assert scale.grad is not None and shift.grad is not None
                layers.append(_Layer(*parts, scale[i], shift[i], scale.grad[i], shift.grad[i]))
            else:
                layers.append(_Layer(*parts))
        layers[-1].fold_in(head.weight)
        for layer in layers[1:]:
            layer.back_transposed = layer.back_weight.t().contiguous()
        return layers, head

    def _forward(self, layers: list[_Layer], head: _Layer, state: Tensor, actions: Tensor) -> Tensor:
        """Values `(N + 1, states)` of actions `(rows, A)`, row = action * states + state.

        `state` `(states, width)` is the features' part of the first layer.
        """
        rows = len(actions)
        x = self._buffer("0", (rows, state.shape[1]), state)
        x.view(-1, *state.shape).copy_(state)
        x.addmm_(actions, layers[0].weight[:, -actions.shape[1] :].t())
        layers[0].activate(x)
        for n, layer in enumerate(layers[1:], start=1):
            layer.forward(layers[n - 1].out)
        return torch.addmv(head.bias, layers[-1].out, head.weight).view(-1, len(state))

    def _action_gradient(self, layers: list[_Layer], head: _Layer, rows: slice) -> Tensor:
        """Gradient of the values of some rows with respect to the actions, `(rows, A)`."""
        grad = head.weight.expand_as(layers[-1].out[rows])
        for layer in reversed(layers):
            grad = layer.input_gradient(grad, rows)
        return grad[:, self.critics.features :]

    def _backward(
        self, layers: list[_Layer], head: _Layer, grad: Tensor, actions: Tensor, state_grad: Tensor, action_grad: Tensor
    ) -> None:
        """Add the gradients that the values' gradient `grad` `(rows,)` causes.

        `state_grad` `(states, width)` and `action_grad` `(A, width)` are of the first layer, summed over actions and over states.
        """
        chosen = grad.nonzero().squeeze(1)
        picked = len(chosen) < GATHER_BELOW * len(grad)
        if picked:
            grad, actions = grad[chosen], actions[chosen]
            for layer in layers:
                layer.pick(chosen)
        head.weight_grad.addmv_(layers[-1].out.t(), grad)
        head.bias_grad.add_(grad.sum())
        upper, ones = grad[:, None].expand(-1, len(head.weight)), torch.ones_like(grad)
        for n in range(len(layers) - 1, 0, -1):
            layer, lower = layers[n], layers[n - 1].out
            upper = layer.deactivate(upper)
            layer.weight_grad.addmm_(upper.t(), lower)
            layer.bias_grad.addmv_(upper.t(), ones)
            upper = fused_linear(upper, layer.back_transposed, None)
        upper = layers[0].deactivate(upper)
        action_grad.addmm_(actions.t(), upper)
        if picked:
            state_grad.index_add_(0, chosen.remainder(len(state_grad)), upper)
        else:
            torch.sum(upper.view(-1, *state_grad.shape), dim=0, out=state_grad)

    def _buffer(self, name: str, shape: tuple[int, int], like: Tensor) -> Tensor:
        """Memory `(rows, width)` that stays allocated."""
        rows, width = shape
        held = self._memory.get(name)
        if held is None or held.shape[0] < rows or held.shape[1] != width or held.dtype != like.dtype:
            held = self._memory[name] = like.new_empty(rows, width)
        return held[:rows]


class _Terms:
    """The terms of the penalty, an action a row: `(N + 1, B)`, the data's own action last."""

    def __init__(
        self,
        batch: ConservativeBatch,
        penalty: Penalty,
        critics: int,
        rows: int | None,
        generator: torch.Generator | None,
    ) -> None:
        self.penalty, self.rows, self.generator = penalty, rows, generator
        self.size, self.targets = len(batch.features), batch.targets
        self.td_loss, self.difference = batch.targets.new_zeros(2, critics)
        self.actions = torch.cat([batch.actions.transpose(0, 1), batch.data_actions[None]])
        joins = batch.targets.new_full((1, self.size), 0.0 if penalty.data_joins else -math.inf)
        self.offsets = torch.cat([batch.offsets.t(), joins])
        self.bounds = None if batch.bounds is None else batch.bounds.t().contiguous()

    def gradients(self, values: Tensor, critic: int, states: slice) -> Tensor:
        """The loss's gradient with respect to a critic's `values` `(N + 1, states)`, random if rows are drawn."""
        penalty, data = self.penalty, values[-1]
        x = values + self.offsets[:, states]
        if self.bounds is not None:
            bounds = self.bounds[:, states]
            torch.maximum(values[:-1], bounds, out=x[:-1]).add_(self.offsets[:-1, states])
        if penalty.temperature != 1.0:
            x /= penalty.temperature
        largest = x.amax(0)
        share = x.sub_(largest).exp_()
        total = share.sum(0)
        difference = torch.log(total).add_(largest).mul_(penalty.temperature).sub_(data)
        clipped = difference.clamp(*penalty.clip)
        inside = clipped == difference
        td_error = data - self.targets[states]
        self.td_loss[critic] += td_error.square().sum() / self.size
        self.difference[critic] += clipped.sum() / self.size
        share /= total
        share[:-1].masked_fill_(share[:-1] < torch.finfo(share.dtype).eps, 0.0)
        if self.bounds is not None:
            share[:-1].masked_fill_(values[:-1] < bounds, 0.0)
        if self.rows is not None:
            share[:-1] = draw_rows(share[:-1], self.rows, self.generator)
        weight = inside.to(share.dtype).mul_(penalty.weight / self.size)
        share *= weight
        share[-1] += td_error.mul_(2 / self.size).sub_(weight)
        return share


def _zero_gradients(critics: CriticEnsemble) -> None:
    for parameter in critics.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        else:
            parameter.grad.zero_()
