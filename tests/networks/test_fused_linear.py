"""A linear layer with ReLU in one pass, and the way without the fused operation."""

import pytest
import torch

from robot_learning.networks import fused_linear as module
from robot_learning.networks.fused_linear import fused_linear


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_linear_and_relu(monkeypatch, fused, dtype, relu, with_bias):
    if not fused:
        monkeypatch.setattr(module, "_FUSED", None)
    torch.manual_seed(0)
    x, weight, bias = (torch.randn(*shape, dtype=dtype) for shape in ((40, 7), (5, 7), (5,)))
    expected = torch.nn.functional.linear(x, weight, bias if with_bias else None)
    found = fused_linear(x, weight, bias if with_bias else None, relu)
    torch.testing.assert_close(found, expected.relu() if relu else expected)
