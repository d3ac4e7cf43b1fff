"""The hand-written forward and backward of perceptrons against autograd."""

import pytest
import torch
from torch import Tensor, nn

from robot_learning.networks.critics import StackedMLP
from robot_learning.networks.fast_mlp import FastMLP


def make_net(layer_norm: bool, outputs: int = 1, hidden: tuple[int, ...] = (11, 9)) -> StackedMLP:
    torch.manual_seed(0)
    net = StackedMLP(6, hidden, outputs, 3, layer_norm).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    return net


def by_autograd(net: StackedMLP, inputs: Tensor, grad: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """Output, gradients of the parameters, and gradient of the inputs of each copy."""
    copies = inputs.expand(net.copies, *inputs.shape).clone().requires_grad_()
    outputs = torch.stack([net(x)[i] for i, x in enumerate(copies)])
    rows = outputs[:, : grad.shape[1]]
    *parameters, inputs_grad = torch.autograd.grad(rows, [*net.parameters(), copies], grad)
    return outputs.detach(), parameters, inputs_grad[:, : grad.shape[1]]


@pytest.mark.parametrize("rows", [10, 7])
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_it_is_autograd(layer_norm: bool, outputs: int, rows: int) -> None:
    net = make_net(layer_norm, outputs)
    inputs, grad = torch.randn(10, 6).double(), torch.randn(3, rows, outputs).double()
    expected, parameters, inputs_grad = by_autograd(net, inputs, grad)
    fast, features = FastMLP(net), torch.ones(rows, 4).double()
    torch.testing.assert_close(fast.forward(inputs), expected)
    fast.backward(grad, features)
    for parameter, wanted in zip(net.parameters(), parameters, strict=True):
        torch.testing.assert_close(parameter.grad, wanted)
    torch.testing.assert_close(features, 1 + inputs_grad.sum(0)[:, :4])
    torch.testing.assert_close(fast.input_gradient(grad, start=4), inputs_grad[..., 4:])


def test_some_copies_alone_give_what_they_give_among_all() -> None:
    fast, inputs = FastMLP(make_net(True)), torch.randn(5, 6).double()
    everything = fast.forward(inputs)
    torch.testing.assert_close(fast.forward(inputs, copies=[2, 0]), everything[[2, 0]])


def test_gradients_of_the_inputs_leave_those_of_the_parameters_alone() -> None:
    net = make_net(True)
    fast = FastMLP(net)
    fast.forward(torch.randn(5, 6).double())
    fast.input_gradient(torch.randn(3, 5, 1).double())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_old_gradients_and_activations_do_not_matter() -> None:
    net = make_net(True, hidden=(8, 8, 8))
    fast = FastMLP(net)
    for rows in (12, 5, 9):  # memory is used again
        inputs, grad = torch.randn(rows, 6).double(), torch.randn(3, rows, 1).double()
        _, parameters, _ = by_autograd(net, inputs, grad)
        fast.forward(inputs)
        fast.backward(grad)
        for parameter, wanted in zip(net.parameters(), parameters, strict=True):
            torch.testing.assert_close(parameter.grad, wanted)
