"""What the gate decides: sources, refusals, faults, timeouts; at times set by the tests."""

from __future__ import annotations

import dataclasses
import math

import pytest

from robot_learning.contract import Contract
from robot_learning.control.safety import Decision, Safety, SafetyError, SafetyLimits

S = 1_000_000_000
MS = 1_000_000
START = 100 * S


class Robot:
    """A gate fed with fresh joint states; `t` is both clocks [ns]."""

    def __init__(self, contract: Contract, **limits: object) -> None:
        self.safety = Safety(contract, SafetyLimits(**limits))  # type: ignore[arg-type]
        self.contract, self.t = contract, START
        self.measure()

    def measure(self) -> None:
        names = self.safety.joints.names
        self.safety.joint_states(names, [*self.contract.joints.home, 0.0][: len(names)], self.t, self.t)

    def wait(self, ms: int) -> Robot:
        for _ in range(ms // 10):
            self.t += 10 * MS
            self.measure()
        return self

    def act(self, source: str = "policy", age_ms: int = 0, **values: float) -> Decision:
        entries = {name: values.get(name, 0.0) for name in self.contract.action.names}
        stamp = self.t - age_ms * MS
        return self.safety.action(source, list(entries), list(entries.values()), stamp, self.t, self.t)

    @property
    def text(self) -> str:
        return self.safety.state(self.t, self.t).text


@pytest.fixture
def robot(contract: Contract) -> Robot:
    return Robot(contract)


# --- acting --------------------------------------------------------------------------------------------------------------


def test_before_any_action_it_holds(robot: Robot):
    assert robot.text == "holding: no action yet from teleop, env, policy"


def test_a_good_action_is_carried_out(robot: Robot):
    decision = robot.act(dx=0.5, gripper=-1.0)
    assert decision.action is not None
    assert decision.action.tolist() == [0.5, 0.0, 0.0, 0.0, -1.0]
    assert decision.resumed and decision.restart
    assert robot.text == "acting: policy"


def test_only_the_first_action_resumes(robot: Robot):
    robot.act()
    second = robot.wait(100).act()
    assert (second.resumed, second.restart) == (False, False)


def test_entries_are_taken_by_name(robot: Robot):
    names = list(reversed(robot.contract.action.names))
    decision = robot.safety.action("policy", names, [0.1, 0.2, 0.3, 0.4, 0.5], robot.t, robot.t, robot.t)
    assert decision.action is not None
    assert decision.action.tolist() == [0.5, 0.4, 0.3, 0.2, 0.1]


def test_entries_above_one_are_clipped_and_named(robot: Robot):
    decision = robot.act(dx=1.5)
    assert decision.action is not None and decision.action[0] == 1.0
    assert decision.clamps == ("action dx",)


def test_the_speed_scale_slows_everything(contract: Contract):
    decision = Robot(contract, speed_scale=0.1).act(dx=1.0, dyaw=-2.0, gripper=1.0)
    assert decision.action is not None
    assert decision.action.tolist() == pytest.approx([0.1, 0.0, 0.0, -0.1, 0.1])


def test_an_action_up_to_the_limit_is_clipped(robot: Robot):
    decision = robot.act(dz=4.9)
    assert decision.action is not None
    assert decision.action[2] == 1.0 and decision.clamps == ("action dz",)


def test_what_was_stopped_begins_anew_with_a_later_observation(robot: Robot):
    robot.act()
    robot.wait(100).safety.stop("the gate was not active", robot.t)
    assert robot.act(age_ms=50).reason == "the action answers an observation made before the robot held"
    decision = robot.wait(100).act()
    assert decision.action is not None and decision.restart


@pytest.mark.parametrize(
    "values",
    [
        {"speed_scale": -0.1},
        {"speed_scale": math.nan},
        {"speed_scale": 1.5},
        {"override_time": 0.0},
        {"sources": ("a", "a")},
    ],
)
def test_impossible_limits_are_refused(values: dict[str, object]):
    with pytest.raises(SafetyError, match=next(iter(values))):
        SafetyLimits(**values)  # type: ignore[arg-type]


# --- sources -------------------------------------------------------------------------------------------------------------


def test_teleop_overrides_the_policy(robot: Robot):
    robot.act("policy")
    assert robot.wait(50).act("teleop", dx=1.0).action is not None
    overridden = robot.wait(50).act("policy")
    assert (overridden.action, overridden.reason) == (None, "teleop overrides policy")
    assert robot.text == "acting: teleop"
    assert robot.safety.counts["overridden policy"] == 1


def test_the_policy_goes_on_after_the_override_time(robot: Robot):
    robot.act("teleop")
    assert robot.wait(500).act("policy").action is None
    assert robot.wait(10).act("policy").action is not None


def test_a_wrong_action_of_teleop_holds_the_policy_too(robot: Robot):
    robot.act("policy")
    robot.wait(100).act("teleop", dx=math.nan)
    assert robot.wait(10).act("policy").action is None
    assert "teleop: the action holds dx = nan" in robot.text


def test_the_policy_does_not_interrupt_teleop_that_ends(robot: Robot):
    robot.act("teleop")
    robot.wait(210)
    assert robot.text == "holding: no action from teleop for more than 0.2 s"


def test_no_source_exceeds_the_control_rate(robot: Robot):
    carried_out = 0
    for _ in range(1000):  # 100 Hz for 10 s
        robot.wait(10)
        carried_out += robot.act().action is not None
    assert 100 <= carried_out <= 105
    assert robot.text == "acting: policy"


# --- refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e6, 5.1, -5.1])
def test_numbers_that_are_no_action_hold(robot: Robot, value: float):
    robot.act()
    assert robot.wait(100).act(dz=value).action is None
    assert robot.text.startswith("holding: policy: the action holds dz = ")


def test_a_good_action_ends_the_hold_of_a_refused_one(robot: Robot):
    robot.act(dz=math.nan)
    decision = robot.wait(100).act()
    assert decision.action is not None and decision.resumed
    assert robot.text == "acting: policy"


def test_unknown_entries_hold_and_both_sides_are_named(robot: Robot):
    decision = robot.safety.action("policy", ["vx", "vy"], [0.0, 0.0], robot.t, robot.t, robot.t)
    assert decision.action is None
    assert "['vx', 'vy']" in robot.text and "'dyaw'" in robot.text


def test_names_without_values_hold(robot: Robot):
    names = list(robot.contract.action.names)
    assert robot.safety.action("policy", names, [], robot.t, robot.t, robot.t).action is None


def test_an_action_for_an_old_observation_holds(robot: Robot):
    robot.wait(2000)
    assert robot.act(age_ms=1000).action is not None
    assert robot.wait(100).act(age_ms=1010).action is None
    assert "older than 1 s" in robot.text


def test_an_action_from_the_future_holds(robot: Robot):
    assert robot.act(age_ms=-600).action is None
    assert "ahead of the clock" in robot.text


def test_an_action_without_a_stamp_is_taken_as_new(robot: Robot):
    names = list(robot.contract.action.names)
    assert robot.safety.action("policy", names, [0.0] * 5, 0, robot.t, robot.t).action is not None


# --- timeouts and faults -------------------------------------------------------------------------------------------------


def test_silence_holds_after_two_periods(robot: Robot):
    robot.act()
    assert robot.wait(200).text == "acting: policy"
    assert robot.wait(10).text == "holding: no action from policy for more than 0.2 s"
    decision = robot.act()
    assert decision.action is not None and decision.resumed and not decision.restart


def test_stale_joint_states_hold(robot: Robot):
    robot.act()
    robot.t += 101 * MS
    assert robot.text == "holding: joint_states is older than 0.1 s"
    assert robot.act().action is None


def test_what_was_queued_before_a_hold_is_never_carried_out(robot: Robot):
    robot.act()
    robot.t += 101 * MS
    assert "joint_states" in robot.text
    robot.wait(50)
    assert robot.act(age_ms=60).action is None
    assert "before the robot held" in robot.text
    assert robot.wait(100).act(age_ms=60).action is not None


def test_the_estop_holds_and_the_restart_begins_where_the_robot_is(robot: Robot):
    robot.act()
    robot.safety.estop.message(True, robot.t)
    state = robot.safety.state(robot.t, robot.t)
    assert state.hold is not None and state.hold.latched
    assert robot.act().action is None
    robot.safety.estop.message(False, robot.t)
    assert robot.act().action is None
    robot.safety.estop.reset(robot.t)
    assert robot.text == (
        "holding: the e-stop is pressed; release it and call reset_estop (over now; waiting for an action)"
    )
    assert robot.act().restart


def test_a_second_writer_holds_until_it_is_gone(robot: Robot):
    robot.act()
    robot.safety.writers.graph("arm/commands", ["/rogue"])
    assert robot.text == "holding: /rogue also commands on arm/commands; only the safety gate may"
    assert robot.act().action is None
    robot.safety.writers.graph("arm/commands", [])
    assert robot.wait(10).act().restart


def test_a_clock_jump_forgets_the_joints_and_holds(robot: Robot):
    robot.act()
    robot.t = 5 * S
    robot.safety.clock_jumped(-95.0, robot.t)
    assert robot.text.startswith("holding: no joint_states since the clock jumped by -95.000 s")
    robot.measure()
    assert "the clock jumped by -95.000 s" in robot.text
    assert robot.act(age_ms=-95_000).action is None  # stamped by the old time
    assert robot.wait(10).act().restart


def test_joints_that_jump_hold_and_restart(robot: Robot):
    robot.act()
    robot.t += 8 * MS
    joints = [*robot.contract.joints.home, 0.0]
    robot.safety.joint_states(robot.safety.joints.names, [joints[0] + 1.0, *joints[1:]], robot.t, robot.t)
    assert "shoulder_pan_joint jumped by 1.00" in robot.text
    assert robot.act().restart


def test_a_watched_node_that_falls_silent_holds(contract: Contract):
    robot = Robot(contract, watch=("recorder",))
    assert robot.act().action is None
    assert robot.text == "holding: recorder has sent no status yet"
    robot.safety.nodes.update("recorder", 0, "", robot.t)
    assert robot.wait(10).act().action is not None
    robot.wait(200)
    assert robot.text == "holding: recorder has been silent for more than 0.18 s"


def test_a_watched_source_matters_only_while_it_acts(contract: Contract):
    robot = Robot(contract, watch=("policy",))
    assert robot.act("teleop").action is not None
    assert robot.wait(600).act("policy").action is None


def test_the_same_rules_serve_another_robot(contract: Contract):
    other = Contract.load("panda_2f85")
    assert len(other.joints.names) != len(contract.joints.names)
    robot = Robot(dataclasses.replace(other, rate=20.0))
    robot.act()
    assert robot.wait(100).text == "acting: policy"
    assert robot.wait(10).text == "holding: no action from policy for more than 0.1 s"
