import numpy as np
import pytest

from robot_learning.contract import STATE, Contract
from robot_learning.control.retries import RETREAT_TICKS, Retries, RetryPlan
from robot_learning.control.tool_pose import TOOL

OPEN, CLOSE = "open the drawer", "close the drawer"
STARTS = ((0.4, 0.1, 0.25, 0.0), (0.35, -0.1, 0.2, 0.3))
PLAN = RetryPlan({OPEN: 5, CLOSE: 8}, STARTS)


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.load("ur5e_2f85").select([STATE])


def state(contract: Contract, x: float, y: float, z: float, yaw: float) -> np.ndarray:
    values = np.zeros(len(contract.observation[STATE].names), np.float32)
    for name, value in zip(TOOL, (x, y, z, np.cos(yaw), np.sin(yaw)), strict=True):
        values[contract.observation[STATE].names.index(name)] = value
    return values


def go_back(retries: Retries, contract: Contract, pose: np.ndarray) -> list[np.ndarray]:
    """Carries out the way back from `pose` (4,), as a perfect arm would; the actions of it."""
    actions = []
    while (action := retries.action(state(contract, *pose), OPEN)) is not None:
        pose += action[:4] * np.array(contract.action.scale)[:4]
        actions.append(action)
    return actions


def test_the_policy_acts_while_an_attempt_is_young(contract: Contract) -> None:
    retries = Retries(PLAN, contract)
    told = [retries.action(state(contract, 0.5, 0.0, 0.05, 0.0), OPEN) for _ in range(6)]
    assert told[:5] == [None] * 5 and told[5] is not None
    assert retries.told == ", attempt 1 took too long: going back"
    assert (retries.attempt, retries.is_retreating) == (1, True)


def test_each_task_has_its_own_patience(contract: Contract) -> None:
    retries = Retries(PLAN, contract)
    told = [retries.action(state(contract, 0.5, 0.0, 0.05, 0.0), CLOSE) for _ in range(9)]
    assert told[:8] == [None] * 8 and told[8] is not None


def test_the_way_back_opens_the_gripper_rises_and_ends_where_a_demonstration_began(contract: Contract) -> None:
    retries, pose = Retries(PLAN, contract), np.array([0.5, 0.0, 0.05, 0.0])
    for _ in range(5):
        retries.action(state(contract, *pose), OPEN)
    assert retries.told == ""
    actions = go_back(retries, contract, pose)
    assert retries.told == ", attempt 2"
    assert all(action[4] == -1 for action in actions)
    assert actions[0][2] == 1 and not actions[0][:2].any(), "out of the drawer first"
    assert min(np.linalg.norm(pose[:3] - start[:3]) for start in STARTS) < 0.011
    assert not retries.is_retreating


def test_a_wrist_that_is_wound_up_is_unwound_on_the_way_back(contract: Contract) -> None:
    retries, here = Retries(PLAN, contract), state(contract, *STARTS[0])
    here[contract.observation[STATE].names.index("wrist_3_joint.pos")] = -6.2
    told = [retries.action(here, OPEN) for _ in range(6)]
    assert told[5] is not None and abs(told[5][3]) == 1


def test_after_the_way_back_the_policy_has_its_time_again(contract: Contract) -> None:
    retries, pose = Retries(PLAN, contract), np.array([0.5, 0.0, 0.05, 0.0])
    for _ in range(5):
        retries.action(state(contract, *pose), OPEN)
    go_back(retries, contract, pose)  # its end was the policy's first tick
    told = [retries.action(state(contract, *pose), OPEN) for _ in range(5)]
    assert told[:4] == [None] * 4 and told[4] is not None
    assert retries.attempt == 2


def test_an_arm_that_cannot_go_back_tries_from_where_it_is(contract: Contract) -> None:
    retries, stuck = Retries(PLAN, contract), state(contract, 0.5, 0.0, 0.05, 0.0)
    told = [retries.action(stuck, OPEN) is None for _ in range(5 + RETREAT_TICKS + 1)]
    assert told == [True] * 5 + [False] * RETREAT_TICKS + [True]


def test_a_new_episode_has_its_whole_time(contract: Contract) -> None:
    retries, here = Retries(PLAN, contract), state(contract, 0.5, 0.0, 0.05, 0.0)
    for _ in range(7):
        retries.action(here, OPEN)
    retries.reset()
    assert [retries.action(here, OPEN) for _ in range(5)] == [None] * 5 and retries.attempt == 0


def test_there_is_no_way_back_from_a_pose_that_is_not_finite(contract: Contract) -> None:
    retries = Retries(PLAN, contract)
    assert all(retries.action(state(contract, np.nan, 0.0, 0.05, 0.0), OPEN) is None for _ in range(50))


def test_a_task_that_was_never_demonstrated_is_not_given_up(contract: Contract) -> None:
    retries = Retries(PLAN, contract)
    assert all(retries.action(state(contract, 0.5, 0.0, 0.05, 0.0), "make tea") is None for _ in range(50))


def test_a_plan_knows_how_long_demonstrations_took_and_where_they_began(contract: Contract) -> None:
    lengths = [10] * 9 + [40] + [20]
    ends = np.repeat(np.cumsum(lengths), lengths)
    tasks = [OPEN] * sum(lengths[:10]) + [CLOSE] * 20
    states = np.stack([state(contract, 0.001 * k, 0.0, 0.2, 0.5) for k in range(len(ends))])
    plan = RetryPlan.of(contract, states, ends, tasks)
    assert plan is not None
    assert plan.ticks == {
        OPEN: 17,
        CLOSE: 26,
    }  # 1.3 times 13, so that one slow demonstration does not count, and 1.3 times 20
    assert [start[0] for start in plan.starts] == pytest.approx([0.01 * k for k in range(10)] + [0.13], abs=1e-4)
    assert plan.starts[0][3] == pytest.approx(0.5, abs=1e-4)


def test_a_plan_goes_through_json() -> None:
    assert RetryPlan.from_dict(PLAN.to_dict()) == PLAN


def test_there_is_no_plan_where_the_tools_pose_is_unknown() -> None:
    contract = Contract.load("ur5e_2f85")
    other = contract.select([key for key in contract.observation if key != STATE][:1])
    assert RetryPlan.of(other, np.zeros((3, 18), np.float32), np.full(3, 3), [OPEN] * 3) is None


def test_what_is_held_takes_no_attempts_time(contract: Contract) -> None:
    retries, pose = Retries(PLAN, contract), state(contract, 0.5, 0.0, 0.05, 0.0)
    held = [retries.action(pose, OPEN, held=True) for _ in range(50)]
    told = [retries.action(pose, OPEN) for _ in range(6)]
    assert held == [None] * 50
    assert told[:5] == [None] * 5 and told[5] is not None


def test_nor_that_of_the_way_back(contract: Contract) -> None:
    retries, pose = Retries(PLAN, contract), state(contract, 0.5, 0.0, 0.05, 0.0)
    for _ in range(6):
        retries.action(pose, OPEN)
    assert all(retries.action(pose, OPEN, held=True) is not None for _ in range(2 * RETREAT_TICKS))
    assert retries.is_retreating
