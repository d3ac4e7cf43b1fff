"""Going on from another policy's weights."""

import dataclasses

import numpy as np
import pytest
import torch

from robot_learning.algorithms.behaviour_cloning import BehaviourCloning
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.contract import Contract
from robot_learning.policies import Checkpoint, CheckpointError

STATE = "observation.state"
SMALL = BehaviourCloningConfig(inputs="state", horizon=3, hidden=(16,), batch_size=8, warmup=5, ignore=())


def shown(tasks: list[str], seed: int, scale: float = 1.0) -> Demonstrations:
    """An episode of 12 frames for each task."""
    rng = np.random.default_rng(seed)
    state = (scale * rng.standard_normal((12 * len(tasks), 18))).astype(np.float32)
    return Demonstrations(
        contract=Contract.load("ur5e_2f85").select([STATE]),
        images={},
        vectors={STATE: state},
        actions=np.tanh(state[:, :5]),
        ends=np.repeat(12 * (1 + np.arange(len(tasks))), 12),
        tasks=tasks,
        task_of=np.repeat(np.arange(len(tasks)), 12),
    )


@pytest.fixture
def start() -> Checkpoint:
    """A policy that knows two tasks."""
    data = shown(["close the drawer", "sweep the desk"], seed=0)
    learner = BehaviourCloning(SMALL, data, np.arange(len(data)), steps=20, seed=0)
    for step in range(20):
        learner.update(step, learner.batch(step))
    return learner.checkpoint({}, [])


def gone_on(start: Checkpoint, tasks: list[str], **changes: object) -> BehaviourCloning:
    data = shown(tasks, seed=1, scale=3.0)
    config = dataclasses.replace(SMALL, **changes)  # type: ignore[arg-type]
    return BehaviourCloning(config, data, np.arange(len(data)), steps=10, seed=5, start=start)


def test_before_its_first_step_it_acts_as_the_policy_it_goes_on_from(start: Checkpoint) -> None:
    policy = gone_on(start, ["close the drawer"]).checkpoint({}, [])
    assert policy.statistics == start.statistics and policy.tasks == start.tasks
    assert all(torch.equal(policy.weights[key], start.weights[key]) for key in start.weights)


def test_a_task_it_did_not_know_begins_as_the_mean_of_those_it_knew(start: Checkpoint) -> None:
    learner = gone_on(start, ["open the drawer"])
    assert learner.data.tasks == ["close the drawer", "open the drawer", "sweep the desk"]
    rows, before = learner.network.task_embedding.weight, start.weights["task_embedding.weight"]
    assert torch.equal(rows[[0, 2]], before) and torch.allclose(rows[1], before.mean(dim=0))


def test_it_remembers_what_the_policy_it_goes_on_from_was_shown(start: Checkpoint) -> None:
    now, before = gone_on(start, ["open the drawer"]).checkpoint({}, []).config["familiar"], start.config["familiar"]
    assert now.keys() == before.keys() and now != before
    for key, (low, high) in before.items():
        assert (np.array(now[key][0]) <= low).all() and (np.array(now[key][1]) >= high).all()


def test_gone_on_from_a_policy_that_does_not_know_what_it_was_shown_it_does_not_know_either(start: Checkpoint) -> None:
    del start.config["familiar"]
    assert gone_on(start, ["open the drawer"]).checkpoint({}, []).config["familiar"] is None


def test_it_learns_the_frames_of_the_right_task(start: Checkpoint) -> None:
    learner = gone_on(start, ["open the drawer"])
    assert {learner.data.tasks[i] for i in learner.batch(0).task} == {"open the drawer"}


def test_another_network_is_refused_with_both_sides(start: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r"hidden \(16,\), here \(32,\)"):
        gone_on(start, ["close the drawer"], hidden=(32,))


def test_dropout_may_differ(start: Checkpoint) -> None:
    assert gone_on(start, ["close the drawer"], dropout=0.5).network.spec.dropout == 0.5


def test_a_policy_of_single_actions_is_none_for_sums(start: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="displacements True, here False"):
        gone_on(start, ["close the drawer"], displacements=False)
