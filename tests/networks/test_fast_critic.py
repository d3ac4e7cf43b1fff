"""The hand-written gradient against autograd on networks built of torch's own layers."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from robot_learning.networks.conservative import ConservativeBatch, Penalty, conservative_loss
from robot_learning.networks.critics import CriticEnsemble
from robot_learning.networks.fast_critic import FastCritic
from robot_learning.networks.row_choice import draw_rows

DOUBLE = torch.float64


def make_critics(hidden: tuple[int, ...] = (24, 16), critics: int = 2, layer_norm: bool = False) -> CriticEnsemble:
    torch.manual_seed(0)
    net = CriticEnsemble(5, 3, hidden, critics, layer_norm).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.4)
    return net


def make_batch(states: int = 19, n: int = 12, bounded: bool = True, dtype: torch.dtype = DOUBLE) -> ConservativeBatch:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=DOUBLE)

    bounds = normal(states, n)
    bounds[:, : n // 3] = -math.inf
    parts = normal(states, 5), normal(states, 3).tanh(), normal(states), normal(states, n, 3).tanh(), normal(states, n)
    return ConservativeBatch(*(x.to(dtype) for x in parts), bounds.to(dtype) if bounded else None)


def literal_loss(net: CriticEnsemble, batch: ConservativeBatch, penalty: Penalty) -> Tensor:
    """The loss one critic, one action and one line at a time, from torch's own layers."""
    loss = torch.zeros((), dtype=batch.features.dtype)
    for i in range(net.critics):

        def q(actions: Tensor, i: int = i) -> Tensor:
            x = torch.cat([batch.features, actions], dim=1)
            for n, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
                x = nn.functional.linear(x, weight[i], bias[i])
                if n + 1 < len(net.weights):
                    if net.layer_norm:
                        x = nn.functional.layer_norm(x, x.shape[1:], net.scales[n][i], net.shifts[n][i])
                    x = x.relu()
            return x.squeeze(1)

        q_data, terms = q(batch.data_actions), []
        for k in range(batch.actions.shape[1]):
            value = q(batch.actions[:, k])
            if batch.bounds is not None:
                value = torch.maximum(value, batch.bounds[:, k])
            terms.append(value + batch.offsets[:, k])
        if penalty.data_joins:
            terms.append(q_data)
        total = penalty.temperature * torch.logsumexp(torch.stack(terms) / penalty.temperature, dim=0)
        loss = loss + ((q_data - batch.targets) ** 2).mean()
        loss = loss + penalty.weight * (total - q_data).clamp(*penalty.clip).mean()
    return loss


def gradients(net: CriticEnsemble) -> list[Tensor]:
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def autograd(net: CriticEnsemble, batch: ConservativeBatch, penalty: Penalty) -> tuple[float, list[Tensor], Tensor]:
    """Loss, gradients of the parameters, gradient of the features."""
    net.zero_grad()
    features = batch.features.clone().requires_grad_()
    loss = literal_loss(net, dataclasses.replace(batch, features=features), penalty)
    loss.backward()
    assert features.grad is not None
    return loss.item(), gradients(net), features.grad


def relative_error(found: list[Tensor], expected: list[Tensor]) -> float:
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(found, expected, strict=True))


PENALTIES = {
    "importance sampling": Penalty(weight=5.0),
    "data joins": Penalty(weight=0.7, data_joins=True),
    "temperature": Penalty(weight=2.0, temperature=0.6),
    "some states clipped": Penalty(weight=5.0, clip=(-200.0, 3.0)),
    "no penalty": Penalty(weight=0.0),
}


@pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "layer norm"])
@pytest.mark.parametrize("hidden", [(24,), (24, 16), (12, 20, 8)], ids=str)
@pytest.mark.parametrize("bounded", [False, True], ids=["CQL", "Cal-QL"])
@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES.keys())
def test_exact_gradient_is_that_of_autograd(
    penalty: Penalty, bounded: bool, hidden: tuple[int, ...], layer_norm: bool
) -> None:
    net, batch = make_critics(hidden, layer_norm=layer_norm), make_batch(bounded=bounded)
    expected = autograd(net, batch, penalty)[1]
    FastCritic(net, chunk=8).backward(batch, penalty)
    assert relative_error(gradients(net), expected) < 1e-10


@pytest.mark.parametrize("critics", [1, 2, 5])
@pytest.mark.parametrize("chunk", [1, 8, 19, 64])
def test_exact_gradient_with_any_number_of_critics_and_chunks(critics: int, chunk: int) -> None:
    net, batch = make_critics(critics=critics), make_batch()
    expected = autograd(net, batch, Penalty(5.0))[1]
    FastCritic(net, chunk).backward(batch, Penalty(5.0))
    assert relative_error(gradients(net), expected) < 1e-10


@pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "layer norm"])
@pytest.mark.parametrize("hidden", [(24,), (24, 16)], ids=str)
def test_features_get_their_gradient(hidden: tuple[int, ...], layer_norm: bool) -> None:
    net, batch = make_critics(hidden, layer_norm=layer_norm), make_batch()
    expected = autograd(net, batch, Penalty(5.0))[2]
    found = torch.zeros_like(batch.features)
    FastCritic(net, chunk=8).backward(batch, Penalty(5.0), feature_gradient=found)
    assert relative_error([found], [expected]) < 1e-10


@pytest.mark.parametrize("rows", [None, 2])
@pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "layer norm"])
@pytest.mark.parametrize("hidden", [(24,), (12, 20, 8)], ids=str)
def test_actions_get_the_gradient_of_their_value(hidden: tuple[int, ...], layer_norm: bool, rows: int | None) -> None:
    net, batch = make_critics(hidden, layer_norm=layer_norm), make_batch()
    actions = batch.actions[:, 5].clone().requires_grad_()
    values = net(batch.features, actions)
    expected = torch.stack([torch.autograd.grad(v.sum(), actions, retain_graph=True)[0] for v in values])
    found = torch.empty_like(expected)
    FastCritic(net, chunk=8).backward(batch, Penalty(5.0), rows, action_gradient=found, action_index=5)
    assert relative_error([found], [expected]) < 1e-10


@pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "layer norm"])
def test_single_precision_is_as_good_as_autograd_in_single_precision(layer_norm: bool) -> None:
    net = make_critics(layer_norm=layer_norm)
    expected = autograd(net, make_batch(), Penalty(5.0))[1]
    net.float()
    net.zero_grad()
    FastCritic(net).backward(make_batch(dtype=torch.float32), Penalty(5.0))
    assert relative_error([g.double() for g in gradients(net)], expected) < 2e-5


@pytest.mark.parametrize("rows", [None, 4])
def test_terms_are_those_of_the_loss(rows: int | None) -> None:
    net, batch, penalty = make_critics(), make_batch(), Penalty(5.0, clip=(-200.0, 3.0))
    loss = autograd(net, batch, penalty)[0]
    terms = FastCritic(net, chunk=8).backward(batch, penalty, rows)
    assert (terms.td_loss.sum() + 5.0 * terms.difference.sum()).item() == pytest.approx(loss, rel=1e-10)


@pytest.mark.parametrize("data_joins", [False, True])
@pytest.mark.parametrize("bounded", [False, True])
def test_the_autograd_version_is_the_same_loss(bounded: bool, data_joins: bool) -> None:
    net, batch, penalty = make_critics(), make_batch(bounded=bounded), Penalty(5.0, 0.8, data_joins, (-200.0, 4.0))
    expected, expected_gradients, _ = autograd(net, batch, penalty)
    net.zero_grad()
    loss, _ = conservative_loss(net, batch, penalty)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    assert relative_error(gradients(net), expected_gradients) < 1e-10


def test_values_of_the_critics_are_returned() -> None:
    net, batch = make_critics(), make_batch()
    terms = FastCritic(net, chunk=8).backward(batch, Penalty(5.0))
    torch.testing.assert_close(terms.q_data, net(batch.features, batch.data_actions).detach())
    torch.testing.assert_close(terms.q_sampled, net(batch.features, batch.actions).detach())


def test_a_second_pass_replaces_the_gradient() -> None:
    net, batch = make_critics(), make_batch()
    fast = FastCritic(net, chunk=8)
    fast.backward(batch, Penalty(5.0))
    first = gradients(net)
    fast.backward(batch, Penalty(5.0))
    assert relative_error(gradients(net), first) < 1e-12


def test_batches_of_changing_size_share_the_buffers() -> None:
    net = make_critics()
    fast = FastCritic(net, chunk=8)
    for states, n in [(19, 12), (3, 5), (30, 20)]:
        batch = make_batch(states, n)
        expected = autograd(net, batch, Penalty(5.0))[1]
        fast.backward(batch, Penalty(5.0))
        assert relative_error(gradients(net), expected) < 1e-10


@pytest.mark.parametrize(
    ("bounded", "layer_norm", "rows"), [(False, False, 1), (False, True, 4), (True, False, 4), (True, True, 2)]
)
def test_the_mean_of_sampled_gradients_converges_to_the_exact_one(bounded: bool, layer_norm: bool, rows: int) -> None:
    """The squared length of the error of a mean of k unbiased estimates is about their variance over k."""
    net, batch, penalty = make_critics(layer_norm=layer_norm), make_batch(9, bounded=bounded), Penalty(5.0)
    exact = torch.cat([g.flatten() for g in autograd(net, batch, penalty)[1]])
    fast, generator = FastCritic(net), torch.Generator().manual_seed(2)
    draws = []
    for _ in range(300):
        fast.backward(batch, penalty, rows, generator=generator)
        draws.append(torch.cat([g.flatten() for g in gradients(net)]))
    mean, variance = torch.stack(draws).mean(0), torch.stack(draws).var(0).sum()
    expected = (variance / len(draws)).sqrt()
    assert (mean - exact).norm() < 1.6 * expected
    assert expected < 0.1 * exact.norm()


def test_a_biased_choice_of_rows_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same test with the largest terms always chosen, their weights not corrected, fails."""

    def largest(share: Tensor, rows: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.where(share >= share.topk(rows, dim=0).values[-1], share, 0.0)

    monkeypatch.setattr("robot_learning.networks.fast_critic.draw_rows", largest)
    with pytest.raises(AssertionError):
        test_the_mean_of_sampled_gradients_converges_to_the_exact_one(False, False, 4)


def test_weights_of_drawn_rows_have_the_shares_as_their_mean() -> None:
    torch.manual_seed(0)
    share = (1.5 * torch.randn(9, 5, dtype=DOUBLE)).softmax(0)
    draws = torch.stack([draw_rows(share, 3) for _ in range(2000)])
    error = (draws.mean(0) - share).abs() / (draws.std(0) / math.sqrt(len(draws)) + 1e-12)
    assert error.max() < 4.5


def test_large_shares_are_kept_with_their_exact_weight() -> None:
    share = torch.tensor([0.9, 0.05, 0.03, 0.02], dtype=DOUBLE)[:, None]
    weights = torch.stack([draw_rows(share, 2)[0, 0] for _ in range(50)])
    torch.testing.assert_close(weights, torch.full_like(weights, 0.9))


@pytest.mark.parametrize("rows", [1, 3])
def test_no_more_rows_than_asked_for_are_kept(rows: int) -> None:
    torch.manual_seed(0)
    share = torch.randn(30, 400, dtype=DOUBLE).softmax(0)
    kept = (draw_rows(share, rows) > 0).sum(0)
    assert kept.min() >= rows - 1 and kept.max() <= rows + 1


def test_terms_without_a_share_are_never_drawn() -> None:
    share = torch.zeros(6, 3)
    share[2, 0] = 0.4
    assert torch.equal(draw_rows(share, 4), share)
