"""sim_robot as the rest of the graph meets it: a process on real DDS."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Bool, Float32MultiArray, Float64MultiArray, String
from std_srvs.srv import Trigger

from robot_learning.contract import Contract

ARM, GRIPPER = "forward_position_controller/commands", "gripper_position_controller/commands"
CONTRACT = Contract.load("ur5e_2f85")


class Listener:
    """The last messages of every topic of a simulated robot, and publishers for its commands."""

    def __init__(self, graph):
        self.graph, self.node = graph, graph.node("listener")
        self.seen = {}
        for topic, kind in {
            "joint_states": JointState,
            "front/image_raw": Image,
            "front/image_raw/compressed": CompressedImage,
            "wrist/camera_info": CameraInfo,
            "environment_state": Float32MultiArray,
            "success": Bool,
            "/clock": Clock,
            "sim_robot/status": DiagnosticStatus,
        }.items():
            self.seen[topic] = []
            self.node.create_subscription(kind, topic, self.seen[topic].append, qos_profile_sensor_data)
        self.arm = self.node.create_publisher(Float64MultiArray, ARM, 5)
        self.gripper = self.node.create_publisher(Float64MultiArray, GRIPPER, 5)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.task = self.node.create_publisher(String, "task", latched)

    def next(self, topic, condition=lambda message: True):
        """The next message of a topic that is as wanted."""
        self.seen[topic].clear()
        self.graph.until(lambda: any(map(condition, self.seen[topic])), f"{topic} as wanted")
        return next(filter(condition, self.seen[topic]))

    def joints(self):
        message = self.next("joint_states")
        return np.array(message.position[:-1])

    def status(self, key):
        return {value.key: value.value for value in self.next("sim_robot/status").values}.get(key)


def seconds(stamp):
    return stamp.sec + stamp.nanosec * 1e-9


@pytest.fixture(scope="module")
def robot(shared_graph):
    listener = Listener(shared_graph)
    shared_graph.start("sim_robot", seed=4, compressed=True)
    shared_graph.until(lambda: all(listener.seen.values()), "every topic of sim_robot")
    return listener


def test_joint_states_name_every_joint_and_follow_each_other_by_8_ms(robot):
    first = robot.next("joint_states")
    assert list(first.name) == [*CONTRACT.joints.names, CONTRACT.gripper.joint]
    assert len(first.position) == len(first.velocity) == 7
    robot.graph.until(lambda: len(robot.seen["joint_states"]) > 20)
    stamps = np.array([seconds(m.header.stamp) for m in robot.seen["joint_states"]])
    assert np.median(np.diff(stamps)) == pytest.approx(0.008, abs=1e-6)


def test_another_robot_on_the_same_topics_is_named_until_it_is_gone(robot):
    other = robot.node.create_publisher(JointState, "joint_states", 1)
    named = robot.next("sim_robot/status", lambda status: "/listener" in status.message)
    assert named.level == DiagnosticStatus.WARN and "ROS_DOMAIN_ID" in named.message
    robot.node.destroy_publisher(other)
    robot.next("sim_robot/status", lambda status: status.level == DiagnosticStatus.OK)


def test_pictures_are_as_the_contract_says(robot):
    picture = robot.next("front/image_raw")
    assert (picture.height, picture.width, picture.step, picture.encoding) == (96, 96, 288, "rgb8")
    assert picture.header.frame_id == "front_optical_frame" and len(picture.data) == 96 * 96 * 3
    assert np.array(picture.data).std() > 10


def test_compressed_pictures_show_the_same(robot):
    jpeg = robot.next("front/image_raw/compressed")
    stamp = jpeg.header.stamp
    raw = next((m for m in robot.seen["front/image_raw"] if m.header.stamp == stamp), None) or robot.next(
        "front/image_raw"
    )
    decoded = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    picture = np.frombuffer(raw.data, np.uint8).reshape(96, 96, 3)
    assert jpeg.format == "rgb8; jpeg compressed bgr8"
    assert np.abs(decoded.astype(int) - picture).mean() < 6


def test_camera_info_holds_the_focal_length_of_the_field_of_view(robot):
    info = robot.next("wrist/camera_info")
    assert (info.height, info.width, info.header.frame_id) == (96, 96, "wrist_optical_frame")
    assert info.k[4] == info.k[0] == pytest.approx(48 / np.tan(np.deg2rad(75.0 / 2)))
    assert info.k[2] == info.k[5] == 47.5


def test_clock_and_stamps_are_one_time(robot):
    clock = seconds(robot.next("/clock").clock)
    assert seconds(robot.next("joint_states").header.stamp) == pytest.approx(clock, abs=1.0)


def test_the_arm_follows_a_joint_command(robot):
    goal = robot.joints() + 0.05
    robot.arm.publish(Float64MultiArray(data=goal.tolist()))
    robot.next("joint_states", lambda m: np.allclose(m.position[:-1], goal, atol=6e-3))


def test_the_gripper_follows_its_command(robot):
    robot.gripper.publish(Float64MultiArray(data=[0.4]))
    robot.next("joint_states", lambda m: abs(m.position[-1] - 0.4) < 0.03)


@pytest.mark.parametrize("data", [[0.0] * 5, [float("nan")] * 6], ids=["five joints", "nan"])
def test_a_command_that_makes_no_sense_is_counted_and_not_carried_out(robot, data):
    before = int(robot.status("refused commands") or 0)
    still = robot.joints()
    robot.arm.publish(Float64MultiArray(data=data))
    robot.graph.until(lambda: int(robot.status("refused commands") or 0) > before, "a refused command")
    assert robot.joints() == pytest.approx(still, abs=0.01)


def test_the_task_topic_decides_what_success_means(robot):
    robot.task.publish(String(data="close the drawer"))
    robot.next("success", lambda m: m.data)
    robot.task.publish(String(data="open the drawer"))
    robot.next("success", lambda m: not m.data)


def test_an_unknown_task_has_no_success_and_a_warning_says_why(robot):
    robot.task.publish(String(data="fold the towel"))
    status = robot.next("sim_robot/status", lambda m: "fold the towel" in m.message)
    assert status.level == DiagnosticStatus.WARN and "open the drawer" in status.message
    robot.task.publish(String(data="open the drawer"))
    robot.next("sim_robot/status", lambda m: m.level == DiagnosticStatus.OK)


def test_reset_furnishes_the_room_with_the_next_seed(robot):
    before = np.array(robot.next("environment_state").data)
    answer = robot.graph.call(Trigger, "sim_robot/reset")
    task, _, seed = answer.message.partition(", seed ")
    assert answer.success and task == "open_drawer"
    robot.graph.until(lambda: robot.status("seed") == seed, "the seed in the status")
    assert np.abs(np.array(robot.next("environment_state").data) - before).max() > 1e-3


def test_home_answers_when_the_arm_is_there(robot):
    robot.graph.call(Trigger, "sim_robot/reset")
    answer = robot.graph.call(Trigger, "sim_robot/home")
    assert (answer.success, answer.message) == (True, "home")


def test_the_measured_real_time_factor_is_in_the_status(robot):
    robot.graph.until(lambda: 0.1 < float(robot.status("real-time factor")) < 1.2, "a measured real-time factor")


def test_without_a_clock_it_must_run_in_real_time(graph):
    process = graph.start("sim_robot", publish_clock=False, real_time_factor=0.0)
    graph.until(lambda: process.poll() is not None, "the end of sim_robot")
    assert process.returncode == 2 and "publish_clock" in process.log.read_text()


def test_without_a_clock_stamps_are_of_the_system_s_time(graph):
    node = graph.node()
    stamps = []
    node.create_subscription(
        JointState, "/other/joint_states", lambda m: stamps.append(seconds(m.header.stamp)), qos_profile_sensor_data
    )
    graph.start("sim_robot", "-r", "__ns:=/other", publish_clock=False)
    graph.until(lambda: stamps, "joint states")
    assert stamps[0] == pytest.approx(node.get_clock().now().nanoseconds * 1e-9, abs=5.0)
