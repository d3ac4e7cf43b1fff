"""What the node `practice` hears of the graph."""

from __future__ import annotations

from pathlib import Path

from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from robot_learning.contract import Contract
from robot_learning.nodes.base import SECOND, ns_to_stamp
from robot_learning.nodes.practice import Practice


def test_the_arm_is_seen_again_after_the_clock_was_set_back(graph, tmp_path: Path) -> None:
    contract, player = Contract.load("ur5e_2f85"), graph.node("player")
    given = {"run": str(tmp_path), "use_sim_time": True, "autostart": False}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    practice = graph.add(Practice(context=graph.context, parameter_overrides=overrides))
    practice.trigger_configure()
    clock, joints = player.create_publisher(Clock, "clock", 5), player.create_publisher(JointState, "joint_states", 5)
    names = [*contract.joints.names, contract.gripper.joint]

    graph.until(lambda: clock.get_subscription_count() and joints.get_subscription_count(), "practice to listen")

    def is_seen_at(seconds: float) -> None:
        """Let it be so late, then let the joints be heard once."""
        now = ns_to_stamp(round(seconds * SECOND))
        clock.publish(Clock(clock=now))
        graph.until(lambda: practice.now() == round(seconds * SECOND), "the time")
        message = JointState(name=names, position=[*contract.joints.home, 0.0])
        message.header.stamp = now
        joints.publish(message)
        graph.until(lambda: practice._hears.frame().usable, f"the arm at {seconds} s", 10.0)

    is_seen_at(100.0)
    is_seen_at(20.0)
