import pytest
import torch
from torch import nn

from robot_learning.networks.critics import CriticEnsemble, ValueNetwork


def sequential(net: CriticEnsemble | ValueNetwork, copy: int) -> nn.Sequential:
    """One copy of a stacked network, built of torch's own layers."""
    layers: list[nn.Module] = []
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        linear = nn.Linear(weight.shape[2], weight.shape[1])
        linear.weight.data, linear.bias.data = weight[copy].data, bias[copy].data
        layers.append(linear)
        if i + 1 < len(net.weights):
            if net.layer_norm:
                norm = nn.LayerNorm(weight.shape[1])
                norm.weight.data, norm.bias.data = net.scales[i][copy].data, net.shifts[i][copy].data
                layers.append(norm)
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def randomise(net: nn.Module) -> None:
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("hidden", [(16,), (16, 12), (8, 8, 8)])
def test_critics_are_plain_networks_stacked(hidden: tuple[int, ...], layer_norm: bool) -> None:
    torch.manual_seed(0)
    net = CriticEnsemble(5, 3, hidden, critics=3, layer_norm=layer_norm)
    randomise(net)
    features, actions = torch.randn(7, 5), torch.randn(7, 3)
    expected = torch.stack([sequential(net, i)(torch.cat([features, actions], 1)).squeeze(-1) for i in range(3)])
    torch.testing.assert_close(net(features, actions), expected)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_many_actions_of_a_state_are_the_same_as_one_by_one(layer_norm: bool) -> None:
    torch.manual_seed(0)
    net = CriticEnsemble(5, 3, (16, 16), critics=2, layer_norm=layer_norm)
    features, actions = torch.randn(7, 5), torch.randn(7, 4, 3)
    one_by_one = torch.stack([net(features, actions[:, n]) for n in range(4)], dim=2)
    torch.testing.assert_close(net(features, actions), one_by_one)


def test_values_are_one_plain_network() -> None:
    torch.manual_seed(0)
    net = ValueNetwork(5, (16, 16), layer_norm=True)
    features = torch.randn(7, 5)
    torch.testing.assert_close(net(features), sequential(net, 0)(features).squeeze(-1))


def test_the_default_initialisation_is_that_of_linear_layers() -> None:
    torch.manual_seed(0)
    net = CriticEnsemble(60, 4, (256,), critics=2)
    for weight, bias in zip(net.weights, net.biases, strict=True):
        bound = weight.shape[2] ** -0.5
        assert 0.9 * bound < weight.abs().max() <= bound
        assert bias.abs().max() <= bound


def test_orthogonal_layers_keep_lengths() -> None:
    net = CriticEnsemble(6, 2, (8, 8), critics=2, initialisation="orthogonal")
    product = net.weights[1][1] @ net.weights[1][1].T
    torch.testing.assert_close(product, 2 * torch.eye(8), atol=1e-5, rtol=0)


def test_critics_start_differently() -> None:
    net = CriticEnsemble(6, 2, (8,), critics=2)
    assert not torch.equal(net.weights[0][0], net.weights[0][1])


def test_an_unknown_initialisation_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="orthogonal"):
        CriticEnsemble(6, 2, (8,), initialisation="xavier")
