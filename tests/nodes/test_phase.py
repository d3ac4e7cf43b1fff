import numpy as np
import pytest

from robot_learning.nodes.phase import PhaseLock

SECOND = 1_000_000_000


WAIT = 0.02  # longest that a tick waits [s]


def ages(
    camera_rate: float,
    offset: float,
    ticks: int = 600,
    second: float | None = None,
    waits: bool = True,
    jitter: float = 0.0,
) -> tuple[np.ndarray, float]:
    """Age of the oldest picture at each of the ticks of a 10 Hz loop [s], and the loop's mean rate [Hz]."""
    starts = {"front": offset} if second is None else {"front": offset, "wrist": second}
    rng = np.random.default_rng(0)
    times = {name: start + np.arange(4 * ticks) / camera_rate for name, start in starts.items()}
    coming = sorted((t + rng.uniform(0, jitter), name, t) for name, all_of_it in times.items() for t in all_of_it)
    lock = PhaseLock(0.1, {name: 1 / 30 for name in starts}, waits)
    stamps: dict[str, float] = {}

    def hear(now: float) -> None:
        while coming[0][0] <= now:
            arrival, name, stamps[name] = coming.pop(0)
            lock.arrived(name, round(arrival * SECOND))

    now, found, period = 1.0, [], 0.1
    for _ in range(ticks):
        hear(now)
        after_next, acts = lock.next_period(round(now * SECOND)), now
        while waits and lock.worth_waiting(round(acts * SECOND), WAIT) and coming[0][0] <= now + WAIT:
            acts = coming[0][0]
            hear(acts)
        found.append(acts - min(stamps.values()))
        now, period = now + period, after_next  # rclpy's timers take a new period up one tick later
    return np.array(found), (ticks - 1) / (now - 1.0)


@pytest.mark.parametrize("offset", [0.0, 0.01, 0.02, 0.03])
def test_a_picture_s_arrival_starts_the_tick(offset: float) -> None:
    found, _ = ages(30.0, offset)
    assert found[100:].max() < 1e-6


@pytest.mark.parametrize("offset", [0.0, 0.01, 0.02, 0.03])
def test_ticks_that_may_not_wait_settle_just_after_the_picture(offset: float) -> None:
    found, _ = ages(30.0, offset, waits=False)
    assert found[100:].max() < 0.006


def test_pictures_that_come_with_jitter_are_waited_for() -> None:
    found, _ = ages(30.0, 0.01, jitter=0.004)
    assert found[100:].max() < 0.008


@pytest.mark.parametrize("second", [0.0, 0.001, 0.0325])
def test_of_two_cameras_that_expose_together_no_tick_takes_an_old_picture(second: float) -> None:
    found, _ = ages(30.0, 0.0, second=second, jitter=0.002)
    assert found[100:].max() < 0.008


@pytest.mark.parametrize("second", np.linspace(0, 1 / 30, 9))
def test_two_cameras_cost_no_more_than_the_time_between_them(second: float) -> None:
    apart = min(second, 1 / 30 - second)
    found, _ = ages(30.0, 0.0, second=second)
    assert found[100:].max() < apart + 0.004


@pytest.mark.parametrize("rate", [29.7, 30.0, 30.3])
def test_the_loop_is_never_faster_than_its_rate(rate: float) -> None:
    assert ages(rate, 0.01)[1] <= 10.0 + 1e-6


def test_a_slow_camera_is_followed() -> None:
    assert ages(29.7, 0.01)[0][100:].max() < 0.008


def test_a_fast_camera_costs_less_than_a_free_running_loop() -> None:
    assert ages(30.3, 0.01)[0][100:].mean() < 0.016  # free running: half a camera period, 16.7 ms


def test_without_pictures_the_period_is_the_loop_s() -> None:
    assert PhaseLock(0.1, {"front": 1 / 30}).next_period(5 * SECOND) == 0.1


def test_a_camera_that_stopped_is_not_waited_for() -> None:
    lock = PhaseLock(0.1, {"front": 1 / 30})
    lock.arrived("front", 1 * SECOND)
    assert not lock.worth_waiting(2 * SECOND, within=0.02)


@pytest.mark.parametrize(("since", "worth"), [(0.025, True), (0.005, False), (0.045, True), (0.06, False)])
def test_a_picture_is_waited_for_when_it_is_due_or_a_little_late(since: float, worth: bool) -> None:
    lock = PhaseLock(0.1, {"front": 1 / 30})
    lock.arrived("front", 1 * SECOND)
    assert lock.worth_waiting(1 * SECOND + round(since * SECOND), within=0.02) is worth


def test_a_picture_that_makes_the_other_as_old_is_not_waited_for() -> None:
    lock = PhaseLock(0.1, {"front": 1 / 30, "wrist": 1 / 30})
    lock.arrived("front", 1 * SECOND)
    lock.arrived("wrist", 1 * SECOND + 12_000_000)
    now = 1 * SECOND + 14_000_000  # the front camera is due in 19 ms: then the wrist's picture will be 21 ms old
    assert not lock.worth_waiting(now, within=0.02)
