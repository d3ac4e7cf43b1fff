"""contract check --live against a small robot of this process."""

import pytest
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from robot_learning.contract import Contract
from robot_learning.nodes.base import reliable
from robot_learning.nodes.contract_check import Finding, check

STATE, FRONT = "observation.state", "observation.images.front"


@pytest.fixture
def contract() -> Contract:
    return Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(24, 20)


class Robot:
    """Publishes joint states and a picture, and takes commands."""

    def __init__(self, graph, contract: Contract) -> None:
        self.contract, self.size, self.names = contract, (24, 20), [*contract.joints.names, contract.gripper.joint]
        self.stamp: Time | None = None  # None: the system's time
        self.node = graph.node("robot")
        self.joints = self.node.create_publisher(JointState, "joint_states", reliable(5))
        self.front = self.node.create_publisher(Image, "front/image_raw", reliable(5))
        for topic in (contract.action.topic, contract.gripper.topic):
            self.node.create_subscription(Float64MultiArray, topic, lambda message: None, reliable(1))
        self.node.create_timer(1 / 60, self.publish)

    def publish(self) -> None:
        now = self.stamp or self.node.get_clock().now().to_msg()
        message = JointState(name=self.names, position=[*self.contract.joints.home, 0.0])
        message.header.stamp = now
        self.joints.publish(message)
        height, width = self.size
        image = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=bytes(height * width * 3))
        image.header.stamp = now
        self.front.publish(image)


@pytest.fixture
def robot(graph, contract: Contract) -> Robot:
    return Robot(graph, contract)


def findings(graph, contract: Contract) -> dict[str, Finding]:
    return {finding.subject: finding for finding in check(contract, graph.node("check"), graph.spin, seconds=1.0)}


def test_a_robot_that_keeps_its_contract(graph, contract: Contract, robot: Robot) -> None:
    found = findings(graph, contract)
    # 60 Hz is too slow for the contract's 125, and the machine may be busy: rates are looked at apart
    assert all(finding.ok for subject, finding in found.items() if not subject.endswith("rate")), found
    assert not found["joint_states rate"].ok and found["joint_states rate"].expected == "125 Hz"


def test_an_absent_robot_is_named_stream_by_stream(graph, contract: Contract) -> None:
    found = findings(graph, contract)
    assert found["joint_states"].found == "none" and found["front/image_raw"].found == "none"
    assert not found["forward_position_controller/commands controller"].ok


def test_a_gate_that_hears_what_it_sends_is_no_controller(graph, contract: Contract) -> None:
    gate = graph.node("safety_gate")
    gate.create_publisher(Float64MultiArray, contract.action.topic, reliable(1))
    gate.create_subscription(Float64MultiArray, contract.action.topic, lambda message: None, reliable(1))
    found = findings(graph, contract)
    assert found["forward_position_controller/commands controller"].found == "none"
    assert found["forward_position_controller/commands writers"].ok


def test_a_wrong_picture_size_names_both(graph, contract: Contract, robot: Robot) -> None:
    robot.size = (48, 64)
    found = findings(graph, contract)["front/image_raw messages"]
    assert not found.ok and "expected 20x24" in found.found and "found 64x48" in found.found


def test_foreign_joint_names_are_listed(graph, contract: Contract, robot: Robot) -> None:
    robot.names[0] = "waist"
    found = findings(graph, contract)["joint_states messages"]
    assert not found.ok and "waist" in found.found and "shoulder_pan_joint" in found.found


def test_two_writers_are_named(graph, contract: Contract, robot: Robot) -> None:
    for name in ("safety_gate", "intruder"):
        graph.node(name).create_publisher(Float64MultiArray, contract.action.topic, reliable(1))
    found = findings(graph, contract)["forward_position_controller/commands writers"]
    assert not found.ok and "/intruder" in found.found


def test_stamps_of_a_simulation_name_the_flag(graph, contract: Contract, robot: Robot) -> None:
    robot.stamp = Time(sec=12)
    found = findings(graph, contract)
    for topic in ("joint_states", "front/image_raw"):
        said = found[f"{topic} messages"]
        assert not said.ok and "another clock" in said.found and "give --use-sim-time" in said.found, said


def test_a_robot_without_a_clock_of_its_own_is_not_for_the_flag(graph, contract: Contract, robot: Robot) -> None:
    listener = graph.node("check", parameter_overrides=[Parameter("use_sim_time", value=True)])
    found = {finding.subject: finding for finding in check(contract, listener, graph.spin, seconds=1.0)}
    said = found["joint_states messages"]
    assert not said.ok and "another clock" in said.found and "leave out --use-sim-time" in said.found, said


def test_a_stale_message_of_the_same_clock_keeps_its_age(graph, contract: Contract, robot: Robot) -> None:
    robot.stamp = Time(sec=int(robot.node.get_clock().now().nanoseconds * 1e-9) - 60)
    said = findings(graph, contract)["joint_states messages"]
    assert not said.ok and "stale, 6" in said.found, said
