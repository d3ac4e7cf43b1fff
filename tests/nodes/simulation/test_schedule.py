"""When topics are due, and how simulated time is paced."""

from __future__ import annotations

import time

import pytest

from robot_learning.nodes.simulation.schedule import Pacer, Schedule


def steps_of(schedule, name, until):
    found, step = [], 0
    while step < until:
        step, due = schedule.after(step)
        found += [step] * (name in due)
    return found


def test_a_rate_that_divides_the_physics_rate_stays_on_its_grid():
    schedule = Schedule({"joints": 2.0, "camera": 25 / 3})
    assert steps_of(schedule, "joints", 100) == list(range(2, 101, 2))


def test_any_other_rate_is_kept_on_average_and_never_early():
    schedule = Schedule({"joints": 2.0, "camera": 25 / 3})
    assert steps_of(schedule, "camera", 250)[:6] == [9, 17, 25, 34, 42, 50]
    assert len(steps_of(schedule, "camera", 2500)) == 300


def test_streams_due_at_the_same_step_come_together():
    assert Schedule({"tick": 25, "camera": 25 / 3, "joints": 2}).after(48) == (50, ("tick", "camera", "joints"))


def test_more_often_than_the_physics_is_once_a_step():
    assert steps_of(Schedule({"fast": 0.1}), "fast", 5) == [1, 2, 3, 4, 5]


def test_the_schedule_goes_on_from_wherever_a_reset_has_moved_time_to():
    assert Schedule({"camera": 25 / 3}).after(1_000_000 * 25)[0] == 1_000_000 * 25 + 9


@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_simulated_time_does_not_run_ahead_of_its_factor(factor):
    pacer = Pacer(factor)
    pacer.restart(10.0)
    begun = time.monotonic()
    pacer.wait(10.2)
    assert time.monotonic() - begun >= 0.2 / factor


def test_the_measured_factor_is_what_was_reached():
    pacer = Pacer(2.0)
    ends = []
    for i in range(1, 9):
        pacer.wait(i * 0.2)
        ends.append(time.monotonic())
    assert pacer.measured == pytest.approx(1.4 / (ends[-1] - ends[0]), rel=0.3)


def test_nothing_is_measured_before_there_is_enough_of_it_nor_across_a_jump():
    pacer = Pacer(0.0)
    pacer.wait(1.0)
    time.sleep(0.6)
    pacer.wait(2.0)
    assert pacer.measured > 0.0
    pacer.jump(100.0)
    pacer.wait(101.0)
    assert pacer.measured == 0.0


def test_factor_zero_never_waits():
    pacer = Pacer(0.0)
    begun = time.monotonic()
    for i in range(1, 1001):
        pacer.wait(float(i))
    assert time.monotonic() - begun < 100.0


def test_lost_time_is_given_up_instead_of_hurried_after():
    pacer = Pacer(1.0)
    pacer.restart(10.0)
    pacer.wait(0.0)  # ten seconds late
    begun = time.monotonic()
    pacer.wait(0.1)
    assert time.monotonic() - begun >= 0.09
