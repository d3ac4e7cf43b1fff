import pytest
import torch

from robot_learning.networks import MixtureHead, make_head
from robot_learning.networks.distributions import masked_mean


def test_masked_mean_leaves_padding_out() -> None:
    values = torch.tensor([[[1.0, 3.0], [100.0, 100.0]]])
    assert masked_mean(values, torch.tensor([[False, True]])) == 2.0


@pytest.mark.parametrize("kind", ["l1", "mixture", "flow"])
def test_padding_does_not_change_the_loss(kind: str) -> None:
    torch.manual_seed(0)
    head = make_head(kind, features=8, horizon=3, action=2, components=2)
    head.eval()  # flow matching draws noise in training
    out = head(torch.randn(4, 8))
    target, is_pad = torch.randn(4, 3, 2), torch.zeros(4, 3, dtype=torch.bool)
    is_pad[:, 2] = True
    other = target.clone()
    other[:, 2] = 7.0
    torch.testing.assert_close(head.loss(out, target, is_pad), head.loss(out, other, is_pad))


@pytest.mark.parametrize("kind", ["l1", "mixture", "flow"])
def test_the_mode_is_a_chunk(kind: str) -> None:
    head = make_head(kind, features=8, horizon=3, action=2, components=4)
    assert head.mode(head(torch.randn(5, 8))).shape == (5, 3, 2)


@pytest.mark.parametrize(("kind", "ways"), [("l1", 1), ("mixture", 4), ("flow", 1)])
def test_the_most_probable_candidate_is_the_mode(kind: str, ways: int) -> None:
    torch.manual_seed(0)
    head = make_head(kind, features=8, horizon=3, action=2, components=4)
    out = head(torch.randn(5, 8))
    log_probabilities, chunks = head.candidates(out)
    assert chunks.shape == (5, ways, 3, 2)
    torch.testing.assert_close(log_probabilities.exp().sum(-1), torch.ones(5))
    torch.testing.assert_close(chunks[torch.arange(5), log_probabilities.argmax(-1)], head.mode(out))


def trained(head: torch.nn.Module, target: torch.Tensor, steps: int) -> torch.Tensor:
    """The chunks `(B, T, A)` of a head that was trained on these targets for one input."""
    features, is_pad = torch.ones(len(target), 4), torch.zeros(target.shape[:2], dtype=torch.bool)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02 if isinstance(head, MixtureHead) else 2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        head.loss(head(features), target, is_pad).backward()
        optimizer.step()
    with torch.no_grad():
        return head.mode(head(features))


@pytest.mark.parametrize(("kind", "steps"), [("mixture", 200), ("flow", 600)])
def test_two_ways_are_kept_apart(kind: str, steps: int) -> None:
    """A third of the targets is -1, the rest +1, from one input: the mode is one of them, not their mean."""
    torch.manual_seed(0)
    target = torch.ones(18, 2, 1)
    target[::3] = -1
    chunks = trained(make_head(kind, features=4, horizon=2, action=1, components=4), target, steps)
    assert chunks.abs().min() > 0.8


def test_a_flow_gives_the_mean_where_there_is_one_way() -> None:
    torch.manual_seed(0)
    target = 0.5 + 0.2 * torch.randn(64, 2, 1)
    chunks = trained(make_head("flow", features=4, horizon=2, action=1, components=1), target, 600)
    torch.testing.assert_close(chunks[0], target.mean(0), atol=0.1, rtol=0)


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
