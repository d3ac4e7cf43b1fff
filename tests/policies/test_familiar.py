"""What a policy was shown, and what it was not."""

import numpy as np
import pytest

from robot_learning.contract import STATE, Contract
from robot_learning.policies.familiar import LONG, Familiar, StrangerWatch
from robot_learning.policies.normalizer import Normalizer, StatisticsError

WRIST = "wrist_3_joint.pos"


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.load("ur5e_2f85").select([STATE])


@pytest.fixture(scope="module")
def familiar(contract: Contract) -> Familiar:
    """All elements lay between -1 and 1."""
    size = len(contract.observation[STATE].names)
    return Familiar.of({STATE: np.array([-np.ones(size), np.zeros(size), np.ones(size)], np.float32)})


def state(contract: Contract, wrist: float) -> dict[str, np.ndarray]:
    values = np.zeros(len(contract.observation[STATE].names), np.float32)
    values[contract.observation[STATE].names.index(WRIST)] = wrist
    return {STATE: values}


def watched(familiar: Familiar | None, contract: Contract, wrists: list[float], without: str = "") -> StrangerWatch:
    names = contract.observation[STATE].names
    watch = StrangerWatch(familiar, contract, {STATE: [i for i, name in enumerate(names) if name != without]})
    for wrist in wrists:
        watch.look(state(contract, wrist))
    return watch


def test_what_stays_outside_is_named_with_its_range(familiar: Familiar, contract: Contract) -> None:
    watch = watched(familiar, contract, [-6.2] * LONG)
    assert watch.told == f"{WRIST} is well outside of all that the policy was shown (-1.00 to 1.00)"
    assert watch.say(WRIST) == f"{WRIST} is -6.20, well outside of all that the policy was shown (-1.00 to 1.00)"


@pytest.mark.parametrize(
    "wrists",
    [[-6.2] * (LONG - 1), [-6.2] * (LONG - 1) + [0.0] + [-6.2] * (LONG - 1), [1.9] * 3 * LONG],
    ids=["not for long", "with a break", "hardly outside"],
)
def test_nothing_is_told_of(familiar: Familiar, contract: Contract, wrists: list[float]) -> None:
    assert watched(familiar, contract, wrists).told == ""


def test_of_several_one_is_told(familiar: Familiar, contract: Contract) -> None:
    watch = StrangerWatch(familiar, contract, {STATE: [0, 1, 2]})
    for _ in range(LONG):
        watch.look({STATE: np.full(len(contract.observation[STATE].names), 5.0, np.float32)})
    assert len(watch.found) == 3 and watch.told.startswith(f"{contract.observation[STATE].names[0]} is well outside")


def test_what_is_told_does_not_change_with_the_value(familiar: Familiar, contract: Contract) -> None:
    """Or the node would log it at each tick."""
    watch = watched(familiar, contract, [-6.0] * LONG)
    before = watch.told
    watch.look(state(contract, -7.5))
    assert before and watch.told == before


def test_what_does_not_count_may_be_anything(familiar: Familiar, contract: Contract) -> None:
    assert watched(familiar, contract, [-6.2] * 2 * LONG, without=WRIST).told == ""


def test_a_policy_that_does_not_know_tells_nothing(contract: Contract) -> None:
    assert watched(None, contract, [-6.2] * 2 * LONG).told == ""


def test_what_either_has_seen_is_familiar_to_both() -> None:
    joined = Familiar.of({"a": np.array([[0.0, 5.0]])}).joined(Familiar.of({"a": np.array([[2.0, 4.0]])}))
    assert joined.to_dict() == {"a": [[0.0, 4.0], [2.0, 5.0]]}


@pytest.mark.parametrize(
    "damaged",
    [{"a": [[0.0]]}, {"a": [[0.0], [1.0, 2.0]]}, {"a": [[0.0], [float("nan")]]}, {"a": 3}, []],
    ids=["no highest", "of other size", "not finite", "no pair", "no mapping"],
)
def test_what_is_damaged_is_refused(damaged: object) -> None:
    with pytest.raises(StatisticsError, match="ranges"):
        Familiar.from_dict(damaged)  # type: ignore[arg-type]


def test_ranges_of_another_policy_are_refused(familiar: Familiar) -> None:
    with pytest.raises(StatisticsError, match=r"expected those of .*\(3,\).*, found .*observation.state"):
        familiar.require(Normalizer.fit({STATE: np.zeros((2, 3)), "action": np.zeros((2, 5))}))


def test_it_survives_being_written() -> None:
    familiar = Familiar.of({"a": np.array([[0.0, -1.0], [2.0, 3.0]])})
    assert Familiar.from_dict(familiar.to_dict()).to_dict() == familiar.to_dict()
