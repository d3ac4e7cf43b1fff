import pytest
import torch

from robot_learning.networks import MixtureHead, make_head
from robot_learning.networks.distributions import masked_mean


def test_masked_mean_leaves_padding_out() -> None:
    values = torch.tensor([[[1.0, 3.0], [100.0, 100.0]]])
    assert masked_mean(values, torch.tensor([[False, True]])) == 2.0


@pytest.mark.parametrize("kind", ["l1", "mixture"])
def test_padding_does_not_change_the_loss(kind: str) -> None:
    torch.manual_seed(0)
    head = make_head(kind, features=8, horizon=3, action=2, components=2)
    out = head(torch.randn(4, 8))
    target, is_pad = torch.randn(4, 3, 2), torch.zeros(4, 3, dtype=torch.bool)
    is_pad[:, 2] = True
    other = target.clone()
    other[:, 2] = 7.0
    torch.testing.assert_close(head.loss(out, target, is_pad), head.loss(out, other, is_pad))


@pytest.mark.parametrize("kind", ["l1", "mixture"])
def test_the_mode_is_a_chunk(kind: str) -> None:
    head = make_head(kind, features=8, horizon=3, action=2, components=4)
    assert head.mode(head(torch.randn(5, 8))).shape == (5, 3, 2)


@pytest.mark.parametrize(("kind", "ways"), [("l1", 1), ("mixture", 4)])
def test_the_most_probable_candidate_is_the_mode(kind: str, ways: int) -> None:
    torch.manual_seed(0)
    head = make_head(kind, features=8, horizon=3, action=2, components=4)
    out = head(torch.randn(5, 8))
    log_probabilities, chunks = head.candidates(out)
    assert chunks.shape == (5, ways, 3, 2)
    torch.testing.assert_close(log_probabilities.exp().sum(-1), torch.ones(5))
    torch.testing.assert_close(chunks[torch.arange(5), log_probabilities.argmax(-1)], head.mode(out))


def test_a_mixture_keeps_two_ways_apart() -> None:
    """Half the targets are +1, half -1, from one input: the mode is one of them, not their mean."""
    torch.manual_seed(0)
    head = MixtureHead(features=4, horizon=2, action=1, components=4)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    features, is_pad = torch.ones(16, 4), torch.zeros(16, 2, dtype=torch.bool)
    target = torch.ones(16, 2, 1)
    target[::2] = -1
    for _ in range(200):
        optimizer.zero_grad()
        head.loss(head(features), target, is_pad).backward()
        optimizer.step()
    assert head.mode(head(features)).abs().min() > 0.8


def test_the_mixture_loss_is_a_density() -> None:
    """One component, one number: the likelihood integrates to one."""
    head = MixtureHead(features=1, horizon=1, action=1, components=1)
    out = head(torch.zeros(1, 1))
    grid = torch.linspace(-20, 20, 8001)
    density = torch.stack([-head.loss(out, x.view(1, 1, 1), torch.zeros(1, 1, dtype=torch.bool)) for x in grid]).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1.0, abs=1e-3)


def test_an_unknown_head_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="mixture"):
        make_head("gaussian", 1, 1, 1, 1)
