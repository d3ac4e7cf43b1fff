"""The step of CQL and Cal-QL against the losses written out in plain autograd, for every option."""

import copy
import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from robot_learning.algorithms.cal_ql_update import CalQLConfig, CalQLUpdate

F, A, B, N = 5, 3, 13, 4


def make_update(**options: Any) -> CalQLUpdate:
    torch.manual_seed(0)
    update = CalQLUpdate(F, A, CalQLConfig(**{"hidden": (16, 12), "n_actions": N, **options})).double()
    for parameter in [*update.actor.parameters(), *update.critics.parameters()]:
        torch.nn.init.normal_(parameter, std=0.4)
    update.target_critics.load_state_dict(update.critics.state_dict())
    for parameter in update.target_critics.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return update


def make_batch(dtype: torch.dtype = torch.float64, **changes: Any) -> SimpleNamespace:
    torch.manual_seed(1)
    discount = torch.where(torch.rand(B) < 0.3, 0.0, 0.97).to(dtype)
    mc_return = torch.where(torch.rand(B) < 0.3, -math.inf, torch.randn(B)).to(dtype)
    batch = SimpleNamespace(
        features=torch.randn(B, F, dtype=dtype),
        next_features=torch.randn(B, F, dtype=dtype),
        action=torch.randn(B, A, dtype=dtype).tanh(),
        reward=torch.randn(B, dtype=dtype),
        discount=discount,
        mc_return=mc_return,
        imitate=None,
    )
    return SimpleNamespace(**{**vars(batch), **changes})


def log_prob(before: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Of tanh(before) by the change of variables; the derivative of tanh is 1 / cosh^2."""
    return Normal(mean, log_std.exp()).log_prob(before).sum(-1) + 2 * before.cosh().log().sum(-1)


def literal_gradients(update: CalQLUpdate, batch: Any, online: bool = False) -> dict[str, list[Tensor]]:
    """Gradients of critics, actor, entropy weight and multiplier, from the losses as docs/cal_ql.md writes them.

    Random numbers are drawn in the order of the step: policy here, policy next, uniform. The actor's loss takes the first of
    the policy's actions here.
    """
    config, actor, critics, target = update.config, update.actor, update.critics, update.target_critics
    alpha, multiplier = update.log_entropy_weight.detach().exp(), update.log_multiplier
    mean, log_std = actor(batch.features)
    next_mean, next_log_std = actor(batch.next_features)
    before = mean[:, None] + log_std.exp()[:, None] * torch.randn(B, N, A, dtype=mean.dtype)
    next_before = next_mean[:, None] + next_log_std.exp()[:, None] * torch.randn(B, N, A, dtype=mean.dtype)
    here_log = log_prob(before, mean[:, None], log_std[:, None]).detach()
    next_log = log_prob(next_before, next_mean[:, None], next_log_std[:, None]).detach()
    here, following = before.tanh().detach(), next_before.tanh().detach()
    uniform = torch.empty(B, N, A, dtype=mean.dtype).uniform_(-1, 1)

    def q(net: Any, i: int, features: Tensor, actions: Tensor) -> Tensor:
        return net(features, actions)[i]

    def smallest(net: Any, features: Tensor, actions: Tensor) -> Tensor:
        return torch.stack([q(net, i, features, actions) for i in range(config.critics)]).min(0).values

    with torch.no_grad():
        if config.backup == "max":
            values = [smallest(target, batch.next_features, following[:, k]) for k in range(N)]
            value = torch.stack(values).max(0).values
        elif config.backup == "mode":
            value = smallest(target, batch.next_features, next_mean.tanh())
        else:
            value = smallest(target, batch.next_features, following[:, 0])
            if config.backup_entropy:
                value = value - alpha * next_log[:, 0]
        y = batch.reward + batch.discount * value
        if config.target_range is not None:
            y = y.clamp(*config.target_range)

    loss, excess = torch.zeros((), dtype=mean.dtype), torch.zeros((), dtype=mean.dtype)
    scale = multiplier.exp() if config.lagrange_gap is not None else torch.ones((), dtype=mean.dtype)
    calibrate = config.calibrate and (config.calibrate_online or not online)
    for i in range(config.critics):
        q_data, terms = q(critics, i, batch.features, batch.action), []
        for k in range(N):
            value_uniform = q(critics, i, batch.features, uniform[:, k])
            value_here = q(critics, i, batch.features, here[:, k])
            value_next = q(critics, i, batch.features, following[:, k])
            if calibrate:
                value_here = torch.maximum(value_here, batch.mc_return)
                value_next = torch.maximum(value_next, batch.mc_return)
            if config.importance_sampling:
                value_uniform = value_uniform - math.log(0.5**A)
                value_here, value_next = value_here - here_log[:, k], value_next - next_log[:, k]
            terms += [value_uniform, value_here, value_next]
        if not config.importance_sampling:
            terms.append(q_data)
        total = config.temperature * torch.logsumexp(torch.stack(terms) / config.temperature, 0)
        difference = (total - q_data).clamp(*config.clip_difference).mean()
        loss = loss + ((q_data - y) ** 2).mean() + scale.detach() * config.penalty_weight * difference
        if config.lagrange_gap is not None:
            excess = excess - scale * config.penalty_weight * (difference.detach() - config.lagrange_gap)
    result = {"critics": list(torch.autograd.grad(loss, list(critics.parameters())))}
    if config.lagrange_gap is not None:
        result["multiplier"] = list(torch.autograd.grad(excess / config.critics, [multiplier]))

    before = before[:, 0]
    log_density = log_prob(before, mean, log_std)
    value = smallest(critics, batch.features, before.tanh())
    actor_loss = (alpha * log_density - value).mean()
    if config.bc_weight > 0:
        chosen = torch.ones(B, dtype=torch.bool) if batch.imitate is None else batch.imitate
        if config.bc_loss == "mse":
            imitation = ((mean.tanh() - batch.action) ** 2)[chosen].mean()
        else:
            imitation = -log_prob(torch.atanh(batch.action), mean, log_std)[chosen].mean()
        actor_loss = actor_loss + config.bc_weight * value.detach().abs().mean() * imitation
    result["actor"] = list(torch.autograd.grad(actor_loss, list(actor.parameters())))
    if config.entropy_weight is None:
        objective = -(update.log_entropy_weight * (log_density.detach() + update.target_entropy)).mean()
        result["entropy weight"] = list(torch.autograd.grad(objective, [update.log_entropy_weight]))
    return result


OPTIONS: dict[str, dict[str, Any]] = {
    "Cal-QL": {},
    "CQL": {"calibrate": False},
    "Lagrange": {"lagrange_gap": 0.8, "initial_multiplier": 2.0},
    "CQL with Lagrange": {"calibrate": False, "lagrange_gap": 3.0},
    "no importance sampling": {"importance_sampling": False},
    "CQL without importance sampling": {"importance_sampling": False, "calibrate": False},
    "max backup": {"backup": "max"},
    "mode backup": {"backup": "mode"},
    "entropy in the backup": {"backup_entropy": True},
    "temperature": {"temperature": 0.5},
    "difference clipped": {"clip_difference": (-1.0, 4.0)},
    "targets clipped": {"target_range": (0.0, 1.0)},
    "fixed entropy weight": {"entropy_weight": 0.002},
    "target entropy": {"target_entropy": 0.5},
    "imitation": {"bc_weight": 1.0},
    "imitation by likelihood": {"bc_weight": 0.3, "bc_loss": "log_prob"},
    "log-std floor": {"log_std_range": (-0.3, 0.2)},
    "three critics with layer norm": {"critics": 3, "layer_norm": True, "hidden": (8, 8, 8)},
    "everything": {
        "lagrange_gap": 0.8, "importance_sampling": False, "backup": "max", "bc_weight": 1.0, "layer_norm": True,
        "entropy_weight": 0.01, "temperature": 2.0, "target_range": (-1.0, 1.0), "log_std_range": (-1.8, 2.0),
    },
}  # fmt: skip


def relative_error(found: list[Tensor | None], expected: list[Tensor]) -> float:
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None]
    assert len(pairs) == len(expected)
    return max(((a - b).norm() / b.norm().clamp_min(1e-12)).item() for a, b in pairs)


def step_gradients(update: CalQLUpdate, batch: Any) -> dict[str, list[Tensor | None]]:
    update.step(batch)
    return {
        "critics": [p.grad for p in update.critics.parameters()],
        "actor": [p.grad for p in update.actor.parameters()],
        "entropy weight": [update.log_entropy_weight.grad],
        "multiplier": [update.log_multiplier.grad],
    }


@pytest.mark.parametrize("mode", ["literal", "exact"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_gradients_are_those_of_the_losses(options: dict[str, Any], mode: str) -> None:
    update, batch = make_update(mode=mode, **options), make_batch()
    torch.manual_seed(2)
    expected = literal_gradients(update, batch)
    torch.manual_seed(2)
    found = step_gradients(update, batch)
    assert {k: relative_error(found[k], v) for k, v in expected.items() if relative_error(found[k], v) > 1e-5} == {}


@pytest.mark.parametrize("calibrate_online", [False, True])
def test_the_calibration_may_be_dropped_online(calibrate_online: bool) -> None:
    update, batch = make_update(calibrate_online=calibrate_online), make_batch()
    update.online = True
    torch.manual_seed(2)
    expected = literal_gradients(update, batch, online=True)
    torch.manual_seed(2)
    assert relative_error(step_gradients(update, batch)["critics"], expected["critics"]) < 1e-5


def test_the_calibration_matters_here() -> None:
    """Without it the gradients of the tests above would be others."""
    torch.manual_seed(2)
    with_bound = literal_gradients(make_update(), make_batch())["critics"]
    torch.manual_seed(2)
    without = literal_gradients(make_update(calibrate=False), make_batch())["critics"]
    assert relative_error(list(with_bound), without) > 1e-2


def test_only_chosen_rows_are_imitated() -> None:
    batch = make_batch(imitate=torch.arange(B) % 3 == 0)
    update = make_update(bc_weight=1.0)
    torch.manual_seed(2)
    expected = literal_gradients(update, batch)
    torch.manual_seed(2)
    assert relative_error(step_gradients(update, batch)["actor"], expected["actor"]) < 1e-5


def test_no_row_to_imitate_is_no_imitation() -> None:
    metrics = make_update(bc_weight=1.0).step(make_batch(imitate=torch.zeros(B, dtype=torch.bool)))
    assert metrics["bc_loss"] == 0.0


@pytest.mark.parametrize("mode", ["literal", "exact", "sampled"])
def test_an_encoder_gets_the_gradient_of_the_critic_loss(mode: str) -> None:
    raw = torch.randn(B, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    gradients = []
    for update in (make_update(mode="literal"), make_update(mode=mode, sampled_rows=3 * N)):
        encoder = torch.nn.Linear(7, F, dtype=torch.float64)
        torch.nn.init.constant_(encoder.weight, 0.1)
        torch.nn.init.zeros_(encoder.bias)
        torch.manual_seed(2)
        update.step(make_batch(features=encoder(raw)))
        gradients.append([encoder.weight.grad])
    assert relative_error(gradients[1], gradients[0]) < 1e-5  # drawing all rows is exact


def test_sampled_steps_are_exact_in_the_mean() -> None:
    exact, sampled = make_update(mode="exact"), make_update(mode="sampled", sampled_rows=2)
    batch, draws = make_batch(), []
    torch.manual_seed(2)
    expected = torch.cat([g.flatten() for g in step_gradients(exact, batch)["critics"] if g is not None])
    for seed in range(200):
        trial = copy.deepcopy(sampled)
        torch.manual_seed(2)  # the same actions each time, other rows
        drawn = trial._draw(batch)
        conservative = trial._conservative_batch(batch, drawn)
        torch.manual_seed(1000 + seed)
        trial._conservative_batch = lambda *_, c=conservative: c  # type: ignore[method-assign, assignment, misc]
        trial._critic_gradients(batch, drawn)
        draws.append(torch.cat([p.grad.flatten() for p in trial.critics.parameters() if p.grad is not None]))
    spread = (torch.stack(draws).var(0).sum() / len(draws)).sqrt()
    assert (torch.stack(draws).mean(0) - expected).norm() < 1.6 * spread < 0.2 * expected.norm()


def test_targets_follow_by_tau() -> None:
    update = make_update(tau=0.1)
    before = [p.clone() for p in update.target_critics.parameters()]
    update.step(make_batch())
    for target, old, new in zip(update.target_critics.parameters(), before, update.critics.parameters(), strict=True):
        torch.testing.assert_close(target, 0.9 * old + 0.1 * new)


def test_a_fixed_entropy_weight_stays() -> None:
    update = make_update(entropy_weight=0.002)
    update.step(make_batch())
    assert update.log_entropy_weight.exp().item() == pytest.approx(0.002)


def test_the_multiplier_grows_while_the_penalty_is_above_the_gap() -> None:
    update = make_update(lagrange_gap=-100.0, calibrate=False)
    update.step(make_batch())
    assert update.log_multiplier.item() > 0


@pytest.mark.parametrize("mode", ["literal", "exact", "sampled"])
def test_one_seed_gives_one_result(mode: str) -> None:
    results = []
    for _ in range(2):
        update = make_update(mode=mode)
        torch.manual_seed(5)
        results.append([update.step(make_batch()) for _ in range(3)])
    assert results[0] == results[1]


@pytest.mark.parametrize("mode", ["literal", "exact", "sampled"])
def test_metrics_of_all_modes_have_the_same_names(mode: str) -> None:
    metrics = make_update(mode=mode, bc_weight=1.0).step(make_batch())
    assert set(metrics) == {
        "actor_loss", "bc_loss", "entropy", "entropy_weight", "td_loss", "penalty", "penalty_weight", "q_data",
        "q_policy", "q_uniform",
    }  # fmt: skip
    assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize(("name", "value"), [("mode", "fast"), ("backup", "min"), ("bc_loss", "l1")])
def test_unknown_choices_list_the_valid_ones(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="valid"):
        CalQLConfig(**{name: value})


def test_every_setting_has_a_docstring() -> None:
    import inspect

    source = inspect.getsource(CalQLConfig)
    assert source.count('    """') >= len(dataclasses.fields(CalQLConfig))
