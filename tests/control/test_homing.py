"""The way home, on a hand that moves as it is told."""

import numpy as np
import pytest

from robot_learning.control.homing import NEAR, SPREAD, STIR_HEIGHT, Home, Homes, Stirring
from robot_learning.control.rotations import wrap_angle

SCALE = np.array([0.03, 0.03, 0.03, 0.25, 0.5])


def walk(home: Home, tcp: np.ndarray, yaw: float) -> list[tuple[np.ndarray, float]]:
    """Every pose on the way, the last one home."""
    way = [(tcp, yaw)]
    for _ in range(100):
        action = home.action(*way[-1], SCALE)
        if action is None:
            return way
        assert np.abs(action).max() <= 1
        way.append((way[-1][0] + action[:3] * SCALE[:3], way[-1][1] + action[3] * SCALE[3]))
    raise AssertionError("never came home")


def test_it_arrives_with_an_open_gripper() -> None:
    home = Home((0.4, 0.0, 0.24), yaw=0.2)
    tcp, yaw = walk(home, np.array([0.6, -0.3, 0.2]), -1.0)[-1]
    assert tcp == pytest.approx(home.position, abs=0.01) and yaw == pytest.approx(0.2, abs=0.05)
    assert home.action(np.zeros(3), 0.0, SCALE)[4] == -1.0


def test_it_rises_before_it_moves_sideways() -> None:
    way = walk(Home((0.4, 0.0, 0.24)), np.array([0.6, -0.3, 0.0]), 0.0)
    low = [tcp for tcp, _ in way if tcp[2] < 0.15]
    assert len(low) > 2 and np.allclose(np.array(low)[:, :2], [0.6, -0.3])


def test_it_turns_the_short_way_round() -> None:
    action = Home((0.0, 0.0, 0.3), yaw=3.0).action(np.array([0.0, 0.0, 0.3]), -3.0, SCALE)
    assert action is not None and action[3] < 0


def test_it_unwinds_a_whole_turn() -> None:
    home, yaw, turned = Home((0.4, 0.0, 0.24)), 0.3, 0.3 + 2 * np.pi
    ticks = 0
    while (action := home.action(np.array([0.4, 0.0, 0.24]), yaw, SCALE, turned)) is not None:
        yaw, turned = wrap_angle(yaw + action[3] * SCALE[3]), turned + action[3] * SCALE[3]
        ticks += 1
        assert ticks < 40
    assert (yaw, turned) == (pytest.approx(0.0, abs=0.05), pytest.approx(0.0, abs=0.05))


def test_it_does_not_turn_the_short_way_where_that_winds_up() -> None:
    action = Home((0.0, 0.0, 0.3), yaw=3.0).action(np.array([0.0, 0.0, 0.3]), -3.0, SCALE, turned=-3.5)
    assert action is not None and action[3] > 0


def test_episodes_begin_all_over_the_spread() -> None:
    rng = np.random.default_rng(0)
    homes = np.array([Homes().draw(rng).position for _ in range(200)])
    away = np.abs(homes - (0.4, 0.0, 0.24)).max(axis=0) / SPREAD
    assert (away <= 1.0).all() and (away > 0.9).all()


DEMONSTRATED = Homes.demonstrated([(0.5, 0.2, 0.2, 0.3), (0.4, -0.2, 0.3, -0.3)])


def test_episodes_begin_about_every_demonstration_and_nowhere_else() -> None:
    rng = np.random.default_rng(0)
    homes = np.array([DEMONSTRATED.draw(rng).position for _ in range(100)])
    near = [(np.abs(homes - place[:3]) <= NEAR).all(axis=1) for place in DEMONSTRATED.places]
    assert (near[0] ^ near[1]).all() and 0.3 < near[0].mean() < 0.7


def test_the_hand_is_turned_as_in_a_demonstration() -> None:
    yaws = [DEMONSTRATED.draw(np.random.default_rng(k)).yaw for k in range(50)]
    assert np.abs(np.abs(yaws) - 0.3).max() <= 0.1 and min(yaws) < 0 < max(yaws)


@pytest.mark.parametrize("homes", [Homes(), DEMONSTRATED])
def test_a_low_home_is_reached_from_above(homes: Homes) -> None:
    highest = max(place[2] for place in homes.places)
    drawn = (homes.draw(np.random.default_rng(seed)) for seed in range(50))
    home = next(home for home in drawn if home.position[2] < highest - 0.01)
    way = walk(home, np.array([0.6, -0.3, 0.0]), 0.0)
    low = [tcp for tcp, _ in way if tcp[2] < highest - 0.09]
    assert np.allclose(np.array(low)[:, :2], [0.6, -0.3])
    assert way[-1][0] == pytest.approx(home.position, abs=0.01)


def test_stirring_stays_low_and_within_the_actions() -> None:
    stirring, tcp = Stirring(np.random.default_rng(0)), np.array([0.4, 0.0, 0.24])
    heights = []
    for _ in range(300):
        action = stirring.action(tcp)
        assert np.abs(action).max() <= 1
        tcp = tcp + action[:3] * SCALE[:3]
        heights.append(tcp[2])
    assert abs(np.mean(heights[30:]) - STIR_HEIGHT) < 0.1
