"""Set-points: straight, in time, within the velocity limits, at rest when told."""

from __future__ import annotations

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.control.setpoints import LinearSetpoints

S = 1_000_000_000
MS = 1_000_000


@pytest.fixture
def home(contract: Contract) -> np.ndarray:
    return np.array(contract.joints.home)


@pytest.fixture
def setpoints(contract: Contract, home: np.ndarray) -> LinearSetpoints:
    setpoints = LinearSetpoints(contract)
    setpoints.restart(home)
    return setpoints


def test_a_target_is_reached_in_one_period_on_a_straight_line(setpoints: LinearSetpoints, home: np.ndarray):
    step = np.array([0.1, -0.1, 0.0, 0.05, 0.0, 0.0])
    setpoints.target(home + step, S)
    for share in (0.0, 0.25, 0.5):
        assert setpoints.at(S + round(share * 100 * MS)) == pytest.approx(home + share * step)
    assert setpoints.moving
    assert setpoints.at(S + 100 * MS).tolist() == (home + step).tolist()
    assert not setpoints.moving


def test_two_targets_at_once_keep_the_velocity_limit(setpoints: LinearSetpoints, home: np.ndarray, contract: Contract):
    fastest = np.array(contract.joints.velocity) / contract.rate
    setpoints.target(home + fastest, S)
    setpoints.target(home + 2 * fastest, S + MS)
    last, time = setpoints.at(S + MS), S + MS
    while setpoints.moving:
        time += 8 * MS
        point = setpoints.at(time)
        assert np.all(np.abs(point - last) <= np.array(contract.joints.velocity) * 0.008 + 1e-9)
        last = point
    assert last.tolist() == (home + 2 * fastest).tolist()


def test_stop_stays_where_it_is(setpoints: LinearSetpoints, home: np.ndarray):
    setpoints.target(home + 0.1, S)
    setpoints.stop(S + 50 * MS)
    assert not setpoints.moving
    assert setpoints.at(S + 500 * MS) == pytest.approx(home + 0.05)


def test_a_clock_set_back_does_not_throw_the_arm(setpoints: LinearSetpoints, home: np.ndarray):
    setpoints.target(home + 0.1, 50 * S)
    half = setpoints.at(50 * S + 50 * MS)
    assert half == pytest.approx(home + 0.05)
    assert setpoints.at(1 * S).tolist() == half.tolist()


def test_without_a_start_there_is_no_set_point(contract: Contract):
    with pytest.raises(RuntimeError, match="restart"):
        LinearSetpoints(contract).target(contract.joints.home, S)
