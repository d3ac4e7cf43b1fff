"""Token bucket, joint watch, e-stop latch and node watch, at times set by the tests."""

from __future__ import annotations

import math

import pytest

from robot_learning.contract import Contract
from robot_learning.control.watchdogs import EmergencyStop, EstopError, JointWatch, NodeWatch, TokenBucket

S = 1_000_000_000
MS = 1_000_000


# --- token bucket --------------------------------------------------------------------------------------------------------


def test_a_source_at_its_rate_always_passes():
    bucket = TokenBucket(rate=10.0)
    assert all(bucket.take(S + i * 100 * MS) for i in range(1000))


def test_a_flood_passes_at_the_rate():
    bucket = TokenBucket(rate=10.0, burst=2)
    passed = sum(bucket.take(S + i * MS) for i in range(10_000))  # 1 kHz for 10 s
    assert 100 <= passed <= 105


def test_a_burst_is_two():
    bucket = TokenBucket(rate=10.0, burst=2)
    assert [bucket.take(S) for _ in range(4)] == [True, True, False, False]


def test_a_clock_set_back_does_not_close_the_bucket():
    bucket = TokenBucket(rate=10.0, burst=1)
    assert bucket.take(100 * S)
    assert not bucket.take(1 * S)
    assert bucket.take(1 * S + 100 * MS)


# --- joints --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def watch(contract: Contract) -> JointWatch:
    return JointWatch(contract, max_age=0.1)


def text(watch: JointWatch, now: int) -> str:
    fault = watch.fault(now)
    return "" if fault is None else fault.text


def test_before_the_first_message_there_is_a_fault(watch: JointWatch):
    assert text(watch, S).startswith("no joint_states yet")


def test_joints_are_taken_by_name(watch: JointWatch):
    values = {name: 0.1 * i for i, name in enumerate(watch.names)}
    shuffled = ["somebody_elses_joint", *reversed(watch.names)]
    watch.update(shuffled, [9.0, *(values[n] for n in reversed(watch.names))], S, S)
    assert text(watch, S) == ""
    assert watch.joints.tolist() == [values[n] for n in watch.names[:-1]]
    assert watch.gripper == values[watch.names[-1]]


def test_arm_and_gripper_may_come_from_two_publishers(watch: JointWatch):
    watch.update(watch.names[:-1], [0.0] * 6, S, S)
    assert "robotiq_85_left_knuckle_joint" in text(watch, S)
    watch.update(watch.names[-1:], [0.5], S + MS, S + MS)
    assert text(watch, S + MS) == ""


def test_stale_joints_are_a_fault(watch: JointWatch):
    watch.update(watch.names, [0.0] * 7, S, S)
    assert text(watch, S + 100 * MS) == ""
    assert text(watch, S + 101 * MS) == "joint_states is older than 0.1 s"


def test_age_counts_from_the_stamp_and_not_from_the_arrival(watch: JointWatch):
    watch.update(watch.names, [0.0] * 7, S, S + 150 * MS)
    assert text(watch, S + 150 * MS) != ""


def test_a_stamp_ahead_of_the_clock_does_not_keep_joints_fresh(watch: JointWatch):
    watch.update(watch.names, [0.0] * 7, S + 400 * MS, S)
    assert text(watch, S) == ""
    assert text(watch, S + 101 * MS) != ""


def test_a_stamp_of_another_clock_is_a_fault(watch: JointWatch):
    watch.update(watch.names, [0.0] * 7, 50 * S, S)
    assert "ahead of the clock" in text(watch, S)


def test_stamps_that_go_back_are_not_taken(watch: JointWatch):
    watch.update(watch.names, [0.0] * 7, 5 * S, 5 * S)
    watch.update(watch.names, [1.0] * 7, 4 * S, 5 * S + MS)
    assert watch.joints.tolist() == [0.0] * 6
    assert "its stamps went back" in text(watch, 5 * S + 101 * MS)


def test_renamed_joints_are_named(watch: JointWatch):
    watch.update([f"left_{name}" for name in watch.names], [0.0] * 7, S, S)
    assert "elbow_joint" in text(watch, S) and "left_elbow_joint" in text(watch, S)


def test_joints_renamed_while_running_are_named(watch: JointWatch):
    watch.update(watch.names, [0.0] * 7, S, S)
    watch.update([f"left_{name}" for name in watch.names], [0.0] * 7, S + 150 * MS, S + 150 * MS)
    assert "older than" in text(watch, S + 150 * MS) and "left_elbow_joint" in text(watch, S + 150 * MS)


def test_nan_is_a_fault_and_is_not_taken(watch: JointWatch):
    watch.update(watch.names, [0.0] * 7, S, S)
    watch.update(watch.names, [0.0, math.nan, *[0.0] * 5], S + MS, S + MS)
    assert text(watch, S + MS) == "joint_states: shoulder_lift_joint = nan"
    assert watch.joints.tolist() == [0.0] * 6


def test_names_and_positions_of_different_length_are_a_fault(watch: JointWatch):
    watch.update(watch.names, [0.0] * 3, S, S)
    assert text(watch, S) == "joint_states has 7 names and 3 positions"


def test_a_joint_named_twice_is_a_fault(watch: JointWatch):
    watch.update([*watch.names, watch.names[2]], [*[0.0] * 7, 1.0], S, S)
    assert text(watch, S) == f"joint_states names {watch.names[2]} more than once; do two drivers share the topic?"


def test_a_clock_set_back_does_not_keep_joints_fresh(watch: JointWatch):
    watch.update(watch.names, [0.0] * 7, 100 * S, 100 * S)
    fault = watch.fault(97 * S)
    assert fault is not None and fault.moved
    assert fault.text == "the clock was set back by 3.00 s"


def test_a_joint_that_jumps_is_told(watch: JointWatch):
    assert watch.update(watch.names, [0.0] * 7, S, S) == ""
    assert watch.update(watch.names, [0.01] * 7, S + 8 * MS, S + 8 * MS) == ""
    told = watch.update(watch.names, [0.01, 0.01, 1.5, *[0.01] * 4], S + 16 * MS, S + 16 * MS)
    assert told == "elbow_joint jumped by 1.49 within 8 ms"


# --- e-stop --------------------------------------------------------------------------------------------------------------


def test_without_a_device_nothing_is_stopped():
    assert EmergencyStop(0.15).fault(100 * S) is None


def test_a_required_device_is_waited_for():
    stop = EmergencyStop(0.15, required=True)
    assert stop.fault(S) is not None
    stop.message(False, S)
    assert stop.fault(S) is None


def test_pressed_stays_after_release_until_reset():
    stop = EmergencyStop(0.15)
    stop.message(True, S)
    stop.message(False, S + MS)
    fault = stop.fault(S + MS)
    assert fault is not None and fault.latched
    stop.reset(S + MS)
    assert stop.fault(S + MS) is None


def test_reset_is_refused_while_pressed():
    stop = EmergencyStop(0.15)
    stop.message(True, S)
    with pytest.raises(EstopError, match="still pressed"):
        stop.reset(S + MS)
    assert stop.fault(S + MS) is not None


def test_silence_presses():
    stop = EmergencyStop(0.15)
    stop.message(False, S)
    assert stop.fault(S + 150 * MS) is None
    fault = stop.fault(S + 151 * MS)
    assert fault is not None and fault.latched and "silent" in fault.text
    stop.message(False, S + 200 * MS)  # back again: still latched
    assert stop.fault(S + 200 * MS) is not None


def test_silence_cannot_be_reset_before_the_device_is_back():
    stop = EmergencyStop(0.15)
    stop.message(False, S)
    assert stop.fault(2 * S) is not None
    with pytest.raises(EstopError, match="not heard"):
        stop.reset(2 * S)
    stop.message(False, 3 * S)
    stop.reset(3 * S)
    assert stop.fault(3 * S) is None


def test_a_lost_publisher_presses():
    stop = EmergencyStop(0.15)
    stop.lost()  # never seen: nothing to lose
    assert stop.fault(S) is None
    stop.message(False, S)
    stop.lost()
    assert stop.fault(S) is not None
    with pytest.raises(EstopError, match="not heard"):
        stop.reset(S)


def test_a_silent_device_holds_until_the_middleware_vouches_for_it():
    stop = EmergencyStop(0.15)
    stop.message(False, S)
    stop.vouch(None)
    hold = stop.fault(2 * S)
    assert hold is not None and not hold.latched and "does not yet vouch" in hold.text
    stop.vouch(True)
    assert stop.fault(3 * S) is None


def test_a_device_that_the_middleware_vouches_for_may_be_silent():
    stop = EmergencyStop(0.15)
    stop.message(False, S)
    stop.vouch(True)
    assert stop.fault(60 * S) is None
    stop.vouch(False)
    assert stop.fault(60 * S) is not None


# --- nodes ---------------------------------------------------------------------------------------------------------------


def test_beside_a_second_device_it_holds_and_is_not_reset():
    """The first is down, the second up: a message does not say which."""
    stop = EmergencyStop(timeout=0.15)
    stop.devices(2)
    stop.message(True, S)
    stop.message(False, S)
    with pytest.raises(EstopError, match="2 devices publish on estop"):
        stop.reset(S)
    stop.devices(1)
    stop.message(False, S)
    stop.reset(S)
    assert stop.fault(S) is None
    stop.devices(2)
    fault = stop.fault(S)
    assert fault is not None and fault.moved and "2 devices" in fault.text


def test_a_watched_node_must_be_heard_fresh_and_well():
    watch = NodeWatch(("recorder",), timeout=0.2)

    def told(wall: int) -> str:
        fault = watch.fault(("recorder",), wall)
        return "" if fault is None else fault.text

    assert told(S) == "recorder has sent no status yet"
    watch.update("recorder", 1, "a warning", S)
    assert told(S + 200 * MS) == ""
    assert told(S + 201 * MS) == "recorder has been silent for more than 0.2 s"
    watch.update("recorder", 2, "disk full", 2 * S)
    assert told(2 * S) == "recorder is in error: disk full"
