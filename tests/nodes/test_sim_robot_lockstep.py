"""sim_robot in lockstep: the graph repeats what the environment does in one process, and time waits for commands."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float32MultiArray, Float64MultiArray
from std_srvs.srv import Trigger

from robot_learning.contract import Contract
from robot_learning.control.cartesian import CartesianController
from robot_learning.control.gripper import gripper_opening
from robot_learning.envs.playroom_env import PlayroomEnv

SEED = 11
CONTRACT = Contract.load("ur5e_2f85")


class Commander:
    """Stands for the safety gate: actions become joint targets; keeps the sensors of the present tick."""

    def __init__(self, graph):
        self.graph, node = graph, graph.node("commander")
        self.now, self.sensors = -1, {}
        node.create_subscription(Clock, "/clock", self.on_clock, qos_profile_sensor_data)
        for topic, kind in {"joint_states": JointState, "front/image_raw": Image}.items():
            node.create_subscription(kind, topic, lambda m, t=topic: self.sensors.__setitem__(t, m), 10)
        node.create_subscription(Float32MultiArray, "environment_state", self.on_objects, 10)
        self.arm = node.create_publisher(Float64MultiArray, CONTRACT.action.topic, 5)
        self.gripper = node.create_publisher(Float64MultiArray, CONTRACT.gripper.topic, 5)
        self.status = []
        node.create_subscription(DiagnosticStatus, "sim_robot/status", self.status.append, 10)
        self.objects = 0
        self.controller = CartesianController(CONTRACT)

    def on_clock(self, message):
        self.now = nanoseconds(message.clock)

    def on_objects(self, message):
        self.objects += 1
        self.sensors["environment_state"] = message

    def tick(self, after):
        """Wait for the sensors of the next tick; they and its time."""

        def complete():
            stamps = [nanoseconds(self.sensors[t].header.stamp) for t in ("joint_states", "front/image_raw")]
            return self.now > after and stamps == [self.now, self.now]

        self.graph.until(complete, "the sensors of the next tick")
        return self.now

    def measured(self):
        position = np.array(self.sensors["joint_states"].position)
        return position[:-1], gripper_opening(CONTRACT, float(position[-1]))

    def act(self, action):
        command = self.controller.step(action, *self.measured())
        opened, closed = CONTRACT.gripper.open, CONTRACT.gripper.closed
        self.arm.publish(Float64MultiArray(data=command.joints.tolist()))
        self.gripper.publish(Float64MultiArray(data=[opened + command.gripper * (closed - opened)]))
        return command


def nanoseconds(stamp):
    return stamp.sec * 1_000_000_000 + stamp.nanosec


@pytest.fixture(scope="module")
def commander(shared_graph):
    commander = Commander(shared_graph)
    shared_graph.start("sim_robot", seed=SEED, real_time_factor=0.0, lockstep=True, lockstep_timeout=5.0)
    shared_graph.until(lambda: len(commander.sensors) == 3, "every topic of sim_robot")
    shared_graph.until(lambda: commander.arm.get_subscription_count() == 1)
    return commander


def test_the_graph_repeats_the_environment_s_rollout(commander):
    env = PlayroomEnv(task="open_drawer", cameras=("front",))
    answer = commander.graph.call(Trigger, "sim_robot/reset")
    assert answer.message == f"open_drawer, seed {SEED + 1}"
    seen, _ = env.reset(seed=SEED + 1)
    commander.graph.until(lambda: matches(commander, seen), "the first tick after the reset")
    now, rng = commander.now, np.random.default_rng(0)
    commander.controller.reset(*commander.measured())
    for tick in range(25):
        action = rng.uniform(-1, 1, 5).astype(np.float32)
        command = commander.act(action)
        env.room.follow(command.joints, command.gripper)
        seen = env.observe()
        now = commander.tick(after=now)
        commander.graph.until(lambda: matches(commander, seen), f"tick {tick} to equal the environment's")  # noqa: B023
    env.close()


def matches(commander, observation):
    joints = np.array(commander.sensors["joint_states"].position[:-1], dtype=np.float32)
    picture = np.frombuffer(commander.sensors["front/image_raw"].data, np.uint8).reshape(96, 96, 3)
    objects = np.array(commander.sensors["environment_state"].data)
    return (
        np.allclose(joints, observation["observation.state"][:6], atol=1e-6)
        and np.allclose(objects, observation["observation.environment_state"], atol=1e-5)
        and np.mean(picture != observation["observation.images.front"]) < 0.001
    )


def test_one_command_moves_time_by_one_control_period(commander):
    now = commander.tick(after=commander.now - 1)
    commander.controller.reset(*commander.measured())
    commander.act(np.zeros(5))
    assert commander.tick(after=now) - now == 100_000_000


def test_without_commands_time_goes_on_after_the_timeout_and_it_is_counted(commander):
    counted = []

    def timeouts():
        values = {v.key: v.value for v in commander.status[-1].values} if commander.status else {}
        counted.append(int(values.get("lockstep timeouts", 0)))
        return counted[-1] > counted[0]

    before = commander.now
    commander.graph.until(timeouts, "a counted timeout")
    commander.graph.until(lambda: commander.now > before, "time to go on")


def test_a_reset_does_not_wait_for_a_command(commander):
    before = commander.objects
    assert commander.graph.call(Trigger, "sim_robot/reset").success
    commander.graph.until(lambda: commander.objects > before, "the first tick after the reset")


def test_a_reset_is_answered_once_what_it_shows_is_out(graph, monkeypatch):
    """Or a recorder that is started by the answer begins with a frame of the room before."""
    from robot_learning.nodes import sim_robot

    answers, done_when_published = [], []
    reset, publish = sim_robot.SimRobot._reset, sim_robot.RobotTopics.publish

    def watched(self, *arguments):
        publish(self, *arguments)
        done_when_published.extend(future.done() for future in answers[len(done_when_published) :])

    monkeypatch.setattr(
        sim_robot.SimRobot, "_reset", lambda self, future: (answers.append(future), reset(self, future))
    )
    monkeypatch.setattr(sim_robot.RobotTopics, "publish", watched)
    running(graph)
    assert graph.call(Trigger, "sim_robot/reset").success
    assert done_when_published == [False]


def test_who_waits_for_a_simulation_that_has_ended_is_told(graph, monkeypatch):
    from robot_learning.nodes.sim_robot import RobotTopics

    running(graph)

    def broken(*_):
        raise RuntimeError("no such room")

    monkeypatch.setattr(RobotTopics, "publish", broken)
    answer = graph.call(Trigger, "sim_robot/reset")
    assert not answer.success and "the simulation has ended: no such room" in answer.message


def test_who_asks_for_what_fails_is_told(graph, monkeypatch):
    robot = running(graph)

    def broken():
        raise RuntimeError("no such desk")

    monkeypatch.setattr(robot._simulator, "reset", broken)
    answer = graph.call(Trigger, "sim_robot/reset")
    assert not answer.success and "the simulation has ended: no such desk" in answer.message


def running(graph):
    """A simulated robot in lockstep, in this process, for which time runs."""
    from robot_learning.nodes.sim_robot import SimRobot

    robot = graph.add(SimRobot(context=graph.context, parameter_overrides=[Parameter("lockstep", value=True)]))
    graph.until(lambda: robot._running.is_set(), "the simulation to run")
    return robot
