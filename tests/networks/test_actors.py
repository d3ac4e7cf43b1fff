import math

import pytest
import torch
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from robot_learning.networks.actors import GaussianActor, SquashedGaussianActor, squashed_log_prob


def actor(**options: object) -> SquashedGaussianActor:
    torch.manual_seed(0)
    return SquashedGaussianActor(5, 3, (16, 16), **options).double()  # type: ignore[arg-type]


def test_log_densities_are_those_of_a_transformed_normal() -> None:
    torch.manual_seed(0)
    mean, log_std = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    before = mean + log_std.exp() * torch.randn(6, 3, dtype=torch.float64)
    squashed = TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform(cache_size=1)])
    torch.testing.assert_close(
        squashed_log_prob(before, mean, log_std), squashed.log_prob(before.tanh()).sum(-1), atol=1e-6, rtol=1e-6
    )


def test_the_density_integrates_to_one() -> None:
    before = torch.linspace(-9, 9, 20001, dtype=torch.float64)[:, None]
    density = squashed_log_prob(before, torch.full((1,), 0.3), torch.full((1,), -0.5)).exp()
    assert torch.trapezoid(density, before[:, 0].tanh()).item() == pytest.approx(1.0, abs=1e-6)


def test_log_densities_stay_finite_far_out() -> None:
    before = torch.tensor([[300.0], [-300.0]], requires_grad=True)
    value = squashed_log_prob(before, torch.zeros(1), torch.zeros(1))
    value.sum().backward()
    assert value.isfinite().all() and before.grad is not None and before.grad.isfinite().all()


def test_samples_come_with_their_log_density() -> None:
    policy, features = actor(log_std_range=(-20.0, -1.0)), torch.randn(7, 5, dtype=torch.float64)
    actions, log_prob = policy.sample(features)
    torch.testing.assert_close(policy.log_prob(features, actions), log_prob, atol=1e-5, rtol=1e-5)


def test_many_samples_have_shapes_and_densities_per_state() -> None:
    policy, features = actor(log_std_range=(-20.0, -1.0)), torch.randn(7, 5, dtype=torch.float64)
    actions, log_prob = policy.sample(features, 4)
    assert actions.shape == (7, 4, 3)
    torch.testing.assert_close(policy.log_prob(features, actions), log_prob, atol=1e-5, rtol=1e-5)


def test_samples_carry_gradients() -> None:
    policy = actor()
    policy.sample(torch.randn(7, 5, dtype=torch.float64))[0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())


@pytest.mark.parametrize("bound", [1.0, -1.0])
def test_actions_on_the_bounds_have_a_finite_density(bound: float) -> None:
    policy = actor()
    assert policy.log_prob(torch.zeros(1, 5, dtype=torch.float64), torch.full((1, 3), bound).double()).isfinite().all()


def test_log_std_stays_in_its_range() -> None:
    log_std = actor(log_std_range=(-0.01, 0.01))(100 * torch.randn(50, 5, dtype=torch.float64))[1]
    assert log_std.min() == -0.01 and log_std.max() == 0.01


def test_the_mode_is_the_squashed_mean() -> None:
    policy, features = actor(), torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(policy.mode(features), torch.tanh(policy(features)[0]))


def test_a_seeded_generator_repeats_samples() -> None:
    policy, features = actor(), torch.randn(2, 5, dtype=torch.float64)
    first, second = (policy.sample(features, generator=torch.Generator().manual_seed(3))[0] for _ in range(2))
    assert torch.equal(first, second)


def test_entropy_of_samples_near_that_of_the_normal_for_small_noise() -> None:
    """With little noise around 0 tanh changes nothing: the mean of -log density is the entropy of a normal."""
    torch.manual_seed(0)
    noise = 0.01 * torch.randn(20000, 1, dtype=torch.float64)
    entropy = -squashed_log_prob(noise, torch.zeros(1), torch.full((1,), math.log(0.01))).mean()
    assert entropy.item() == pytest.approx(0.5 * math.log(2 * math.pi * math.e) + math.log(0.01), abs=0.02)


def gaussian() -> GaussianActor:
    torch.manual_seed(0)
    return GaussianActor(5, 3, (16, 16), (-2.0, 0.0)).double()


def test_gaussian_densities_are_finite_on_the_bounds() -> None:
    policy, features = gaussian(), torch.randn(7, 5, dtype=torch.float64)
    mean, log_std = policy(features)
    actions = torch.ones(7, 3, dtype=torch.float64)
    expected = Normal(mean.tanh(), log_std.exp()).log_prob(actions).sum(-1)
    torch.testing.assert_close(policy.log_prob(features, actions), expected)
    torch.testing.assert_close(policy.log_prob(features, actions[:, None].expand(-1, 4, -1))[:, 2], expected)


def test_gaussian_samples_are_cut_off_and_have_the_policy_s_spread() -> None:
    policy, features = gaussian(), torch.zeros(1, 5, dtype=torch.float64)
    _, log_std = policy(features)
    actions, log_prob = policy.sample(features, 20_000)
    assert actions.abs().max() <= 1
    spread = (actions[0] - policy.mode(features)).abs().median(0).values / 0.6745  # the quartile of a standard normal
    torch.testing.assert_close(spread, log_std.exp()[0].detach(), rtol=0.05, atol=0)
    inside = actions.abs().amax(-1) < 1
    torch.testing.assert_close(policy.log_prob(features, actions)[inside], log_prob[inside])
