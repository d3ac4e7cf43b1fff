import numpy as np
import pytest

from robot_learning.nodes.phase import PhaseLock

SECOND = 1_000_000_000


def ages(camera_rate: float, offset: float, ticks: int = 600, second: float | None = None) -> tuple[np.ndarray, float]:
    """Age of the oldest picture at each of the ticks of a 10 Hz loop [s], and the loop's mean rate [Hz]."""
    starts = {"front": offset} if second is None else {"front": offset, "wrist": second}
    lock = PhaseLock(0.1, {name: 1 / 30 for name in starts})
    now, found, period = 1.0, [], 0.1
    for _ in range(ticks):
        oldest = 0.0
        for name, start in starts.items():
            last = start + np.floor((now - start) * camera_rate) / camera_rate
            lock.arrived(name, round(last * SECOND))
            oldest = max(oldest, now - last)
        found.append(oldest)
        after_next = lock.next_period(round(now * SECOND))
        now, period = now + period, after_next  # rclpy's timers take a new period up one tick later
    return np.array(found), (ticks - 1) / (now - 1.0)


@pytest.mark.parametrize("offset", [0.0, 0.01, 0.02, 0.03])
def test_ticks_settle_just_after_the_picture(offset: float) -> None:
    found, _ = ages(30.0, offset)
    assert found[100:].max() < 0.006


@pytest.mark.parametrize("rate", [29.7, 30.0, 30.3])
def test_the_loop_is_never_faster_than_its_rate(rate: float) -> None:
    assert ages(rate, 0.01)[1] <= 10.0 + 1e-6


def test_a_slow_camera_is_followed() -> None:
    assert ages(29.7, 0.01)[0][100:].max() < 0.008


def test_a_fast_camera_costs_less_than_a_free_running_loop() -> None:
    assert ages(30.3, 0.01)[0][100:].mean() < 0.016  # free running: half a camera period, 16.7 ms


def test_of_two_cameras_the_order_with_the_smaller_worst_age_is_chosen() -> None:
    found, _ = ages(
        30.0, offset=0.0, second=0.004
    )  # right after the wrist camera: 3 + 4 ms, after the front one: 3 + 29
    assert found[100:].max() < 0.010


def test_without_pictures_the_period_is_the_loop_s() -> None:
    assert PhaseLock(0.1, {"front": 1 / 30}).next_period(5 * SECOND) == 0.1


def test_a_camera_that_stopped_is_not_waited_for() -> None:
    lock = PhaseLock(0.1, {"front": 1 / 30})
    lock.arrived("front", 1 * SECOND)
    assert not lock.due(2 * SECOND, within=0.02)


def test_a_picture_about_to_come_is_due() -> None:
    lock = PhaseLock(0.1, {"front": 1 / 30})
    lock.arrived("front", 1 * SECOND)
    assert lock.due(1 * SECOND + 25_000_000, within=0.02)
    assert not lock.due(1 * SECOND + 5_000_000, within=0.02)
