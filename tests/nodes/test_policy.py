"""The policy node on a real graph: a tiny checkpoint, joint states and pictures from a test node."""

import re
import threading
from array import array
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String, UInt8MultiArray
from std_srvs.srv import Trigger

from robot_learning.contract import Contract
from robot_learning.control.retries import RetryPlan
from robot_learning.networks import VisuomotorNetwork, VisuomotorSpec
from robot_learning.nodes.base import SECOND, latched, ns_to_stamp, reliable, sensor
from robot_learning.nodes.policy import PolicyNode
from robot_learning.policies import (
    Checkpoint,
    ChunkPolicy,
    Normalizer,
    load_policy,
    read_checkpoint,
    register_policy,
    save_checkpoint,
)
from robot_learning.policies.parcel import pack

TASKS = ["close the drawer", "open the drawer"]
STATE, FRONT = "observation.state", "observation.images.front"
OPEN = "open the drawer"


@pytest.fixture
def contract() -> Contract:
    return Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(24, 20)


@pytest.fixture
def contract_file(contract: Contract, tmp_path: Path) -> str:
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump(contract.to_dict()))
    return str(file)


@pytest.fixture
def checkpoint(contract: Contract, tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "policy", contract)


def make_checkpoint(
    path: Path, contract: Contract, kind: str = "chunk", round_: int | None = None, tasks: list[str] = TASKS
) -> Path:
    torch.manual_seed(round_ or 0)
    spec = VisuomotorSpec(
        images=(FRONT,), image_size=(22, 18), vectors={STATE: 18}, tasks=2, action=5, horizon=4,
        channels=(4, 4), kernels=(5, 3), strides=(2, 1), hidden=(16,),
    )  # fmt: skip
    columns = np.random.default_rng(1)
    normalizer = Normalizer.fit({STATE: columns.normal(size=(50, 18)), "action": columns.uniform(-1, 1, (50, 5))})
    return save_checkpoint(
        path,
        Checkpoint(
            policy=kind,
            tasks=tasks,
            config={
                "network": spec.to_dict(), "selected": {STATE: list(range(18))},
                "displacements": True, "blending": {"every": 1},
            },
            contract=contract,
            statistics=normalizer.to_dict(),
            weights=VisuomotorNetwork(spec).state_dict(),
            facts={} if round_ is None else {"Round": round_},
        ),
    )  # fmt: skip


class Robot:
    """Streams without a robot behind them, and what the policy node says."""

    def __init__(self, graph, contract: Contract) -> None:
        self.contract, self.node = contract, graph.node("robot")
        self.joints = self.node.create_publisher(JointState, "joint_states", reliable(5))
        self.front = self.node.create_publisher(Image, "front/image_raw", reliable(5))
        self.sent = self.node.create_publisher(JointState, "safety_gate/action_sent", reliable(5))
        self.task = self.node.create_publisher(String, "task", latched())
        self.weights = self.node.create_publisher(UInt8MultiArray, "policy/weights", latched())
        self.actions: list[JointState] = []
        self.status: DiagnosticStatus | None = None
        self.seen, self.source = True, None  # who acts, where it is not the policy
        self.node.create_subscription(JointState, "policy/action", self._on_action, sensor(5))
        self.node.create_subscription(DiagnosticStatus, "policy/status", self._on_status, reliable(5))
        self.timer = self.node.create_timer(1 / 30, self.publish)

    def _on_action(self, message: JointState) -> None:
        self.actions.append(message)
        sent = JointState(header=message.header, name=message.name, position=message.position)
        sent.header.frame_id = self.source or message.header.frame_id
        self.sent.publish(sent)

    def _on_status(self, message: DiagnosticStatus) -> None:
        self.status = message

    def publish(self, at: int | None = None) -> None:
        now = self.node.get_clock().now().to_msg() if at is None else ns_to_stamp(at)
        names = [*self.contract.joints.names, self.contract.gripper.joint]
        message = JointState(name=names, position=[*self.contract.joints.home, 0.0], velocity=[0.0] * len(names))
        message.header.stamp = now
        self.joints.publish(message)
        if self.seen:
            height, width, _ = self.contract.observation[FRONT].shape
            image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
            image.header.stamp = now
            image.data = bytes(height * width * 3)
            self.front.publish(image)

    def send(self, parcel: bytes) -> None:
        self.weights.publish(UInt8MultiArray(data=array("B", parcel)))

    def says(self, level: bytes, text: str) -> bool:
        return self.status is not None and self.status.level == level and text in self.status.message

    def value(self, key: str) -> str:
        return {item.key: item.value for item in self.status.values}.get(key, "")


@pytest.fixture
def start(graph, contract: Contract, contract_file: str, checkpoint: Path):
    def starter(**parameters: object) -> tuple[Robot, PolicyNode]:
        robot = Robot(graph, contract)
        given = {"contract": contract_file, "checkpoint": str(checkpoint), "task": OPEN, **parameters}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        node = graph.add(PolicyNode(context=graph.context, parameter_overrides=overrides))
        return robot, node

    return starter


def test_actions_are_named_and_stamped_with_their_observation(graph, start) -> None:
    robot, node = start()
    graph.until(lambda: len(robot.actions) >= 5, "five actions")
    action = robot.actions[-1]
    assert list(action.name) == list(node.contract.action.names)
    assert action.header.frame_id == "policy"
    stamps = np.diff([a.header.stamp.sec + 1e-9 * a.header.stamp.nanosec for a in robot.actions])
    assert (stamps > 0).all()
    graph.until(lambda: robot.says(DiagnosticStatus.OK, f"acting: {OPEN}"), "the status")
    assert float(robot.value("inference_p95_ms")) >= float(robot.value("inference_p50_ms")) > 0
    assert 0 <= float(robot.value(f"age_ms {FRONT}")) < 100


@pytest.mark.parametrize("explore", [0.0, 1.0])
def test_it_acts_and_explores_as_the_policy_does_in_process(graph, start, checkpoint: Path, explore: float) -> None:
    """The test is the clock: it moves on by one control period when the last action has come, however busy the machine."""
    robot, node = start(use_sim_time=True, trigger="frames", explore=explore)
    robot.timer.cancel()
    clock = robot.node.create_publisher(Clock, "/clock", reliable(5))
    graph.until(lambda: node.is_active and clock.get_subscription_count(), "the policy and its clock")
    for tick in range(1, 9):
        time = (100 + tick) * SECOND // 10
        clock.publish(Clock(clock=ns_to_stamp(time)))
        graph.until(lambda t=time: node.now() == t, "the node's clock")
        robot.publish(time)
        graph.until(lambda n=tick: len(robot.actions) == n, f"action {tick}")
        graph.until(lambda: not node._interrupted, "the policy to hear that it is the one who acts")
    frame = node._assembler.frame(node.now())  # every frame of this robot is the same
    assert frame.usable, frame.problems
    policy, noise = load_policy(checkpoint), node.config.exploration(5, node._epoch)
    assert isinstance(policy, ChunkPolicy)
    expected = []
    for _ in robot.actions:
        expected.append(noise(policy.predict(frame.values, OPEN)))
        policy.carried_out(expected[-1])
    assert noise.noisy == bool(explore)
    assert np.allclose([action.position for action in robot.actions], expected, atol=1e-4)
    assert not node.counts.get("late_ticks") and not node.counts.get("dropped_ticks")


def test_it_keeps_its_way_from_tick_to_tick(graph, start, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two ways is a little more probable until it has acted, the other from then on."""
    way, robots = torch.arange(1.0, 5.0)[:, None].expand(4, 5), list[Robot]()  # sums of actions

    def candidates(*_: object) -> tuple[torch.Tensor, torch.Tensor]:
        acted = any(robot.actions for robot in robots)
        return torch.tensor([[-0.1, 0.1] if acted else [0.1, -0.1]]), torch.stack([way, -way])[None]

    monkeypatch.setattr(VisuomotorNetwork, "candidates", candidates)
    robot, node = start()
    robots.append(robot)
    graph.until(lambda: len(robot.actions) >= 5, "five actions")
    forth, back = (node._policy.normalizer.restore("action", sign * way.numpy())[0] for sign in (1, -1))
    for action in robot.actions:
        assert np.linalg.norm(action.position - forth) < np.linalg.norm(action.position - back)


def test_an_attempt_that_takes_too_long_is_given_up_and_begun_anew(
    graph, start, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The robot never moves, so the way back, with the gripper open, takes its longest."""
    monkeypatch.setattr("robot_learning.control.retries.RETREAT_TICKS", 6)
    saved = read_checkpoint(checkpoint)
    saved.config["retry"] = RetryPlan({OPEN: 4}, ((0.3, 0.2, 0.3, 0.0),)).to_dict()
    save_checkpoint(checkpoint, saved)
    robot, _ = start(retry=True)
    graph.until(lambda: len(robot.actions) >= 4 + 6 + 4, "a second attempt")
    goes_back = "".join("-" if action.position[4] > -1 else "b" for action in robot.actions)
    assert re.match("-{1,4}b{6}-{1,4}", goes_back), goes_back


def test_after_a_person_has_acted_an_attempt_has_its_whole_time(graph, start, checkpoint: Path) -> None:
    saved = read_checkpoint(checkpoint)
    saved.config["retry"] = RetryPlan({OPEN: 6}, ((0.3, 0.2, 0.3, 0.0),)).to_dict()
    save_checkpoint(checkpoint, saved)
    robot, node = start(retry=True)
    graph.until(lambda: len(robot.actions) >= 3, "three actions")
    robot.source = "teleop"
    graph.until(lambda: len(robot.actions) >= 20, "many more, none of which the gate lets through")
    assert node._retries.attempt == 0 and all(action.position[4] > -1 for action in robot.actions)
    robot.source = None
    graph.until(lambda: node._retries.attempt == 1, "the attempt to be given up")


def test_a_robot_elsewhere_than_shown_is_told_of(graph, start, checkpoint: Path) -> None:
    saved = read_checkpoint(checkpoint)
    low, high = [-9.0] * 18, [9.0] * 18
    low[0], high[0] = 1.0, 2.0  # the first joint, which is at 0 here
    saved.config["familiar"] = {STATE: [low, high]}
    save_checkpoint(checkpoint, saved)
    robot, _ = start()
    told = "shoulder_pan_joint.pos is well outside of all that the policy was shown (1.00 to 2.00)"
    graph.until(lambda: robot.says(DiagnosticStatus.WARN, told), "the warning")


def test_retries_need_a_clone_that_knows_how_long_attempts_take(graph, start) -> None:
    robot, _ = start(retry=True)
    graph.until(lambda: robot.says(DiagnosticStatus.ERROR, "how long its attempts may take"), "the complaint")


def test_a_stopped_camera_is_named_and_nothing_is_sent(graph, start) -> None:
    robot, _ = start()
    graph.until(lambda: robot.actions, "an action")
    robot.seen = False
    graph.until(lambda: robot.says(DiagnosticStatus.ERROR, "front/image_raw: stale"), "the complaint")
    count = len(robot.actions)
    graph.spin(0.5)
    assert len(robot.actions) == count
    robot.seen = True
    graph.until(lambda: len(robot.actions) > count, "actions again")
    graph.until(lambda: robot.says(DiagnosticStatus.OK, "acting"), "the status")


def test_another_robot_s_contract_fails_configure_and_lists_both_sides(
    graph, start, contract: Contract, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(contract.with_image_size(48, 64).to_dict()))
    robot, _ = start(contract=str(other))
    graph.until(lambda: robot.says(DiagnosticStatus.ERROR, "cannot configure"), "the refusal")
    assert "[48, 64, 3] here, [24, 20, 3] there" in robot.status.message
    state = graph.call(GetState, "policy/get_state")
    assert state.current_state.label == "unconfigured"


def test_a_missing_checkpoint_is_named(graph, start) -> None:
    robot, _ = start(checkpoint="nowhere/last")
    graph.until(lambda: robot.says(DiagnosticStatus.ERROR, "nowhere/last does not exist"), "the refusal")


def test_without_an_instruction_it_waits_for_the_topic(graph, start) -> None:
    robot, _ = start(task="")
    graph.until(lambda: robot.says(DiagnosticStatus.WARN, "waiting for an instruction"), "the wait")
    assert not robot.actions
    robot.task.publish(String(data="close the drawer"))
    graph.until(lambda: robot.says(DiagnosticStatus.OK, "acting: close the drawer"), "the task")


def test_an_unknown_instruction_stops_it(graph, start) -> None:
    robot, _ = start()
    graph.until(lambda: robot.actions, "an action")
    robot.task.publish(String(data="make tea"))
    graph.until(lambda: robot.says(DiagnosticStatus.ERROR, "does not know the task 'make tea'"), "the complaint")


def test_an_unknown_instruction_as_a_parameter_is_refused(graph, start) -> None:
    robot, _ = start()
    graph.until(lambda: robot.actions, "an action")
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="make tea")
    request = SetParameters.Request(parameters=[ParameterMessage(name="task", value=value)])
    answer = graph.call(SetParameters, "policy/set_parameters", request).results[0]
    assert not answer.successful and OPEN in answer.reason


def test_it_can_be_stopped_and_started(graph, start) -> None:
    robot, _ = start(act_at_once=False)
    graph.until(lambda: robot.says(DiagnosticStatus.OK, "stopped"), "the status")
    assert not robot.actions
    assert graph.call(Trigger, "policy/start").success
    graph.until(lambda: robot.actions, "an action")
    assert graph.call(Trigger, "policy/stop").success
    count = len(robot.actions)
    graph.spin(0.4)
    assert len(robot.actions) <= count + 1  # one may have been under way


def test_frames_trigger_ticks_at_the_contract_s_rate_at_most(graph, start) -> None:
    robot, _ = start(trigger="frames")
    graph.until(lambda: len(robot.actions) >= 5, "five actions")
    stamps = np.array([a.header.stamp.sec + 1e-9 * a.header.stamp.nanosec for a in robot.actions])
    assert np.diff(stamps).min() >= 0.07


def test_an_unknown_trigger_is_refused(graph, start) -> None:
    robot, _ = start(trigger="often")
    graph.until(lambda: robot.says(DiagnosticStatus.ERROR, "'often' is not one of"), "the refusal")


class SlowPolicy(ChunkPolicy):
    """A chunk policy whose plans wait until they are let go."""

    go = threading.Event()

    def plan(self, observation, task, tick=None):
        assert self.go.wait(30)
        return super().plan(observation, task, tick)


@register_policy("slow")
def _slow(checkpoint: Checkpoint) -> ChunkPolicy:
    from robot_learning.policies.chunk_policy import _build

    built = _build(checkpoint)
    built.__class__ = SlowPolicy
    return built


def test_a_late_plan_acts_from_the_present_tick_on(graph, start, contract: Contract, tmp_path: Path) -> None:
    SlowPolicy.go.set()
    robot, node = start(checkpoint=str(make_checkpoint(tmp_path / "slow", contract, "slow")))
    graph.until(lambda: len(robot.actions) >= 2, "the first actions")
    SlowPolicy.go.clear()
    asked = node._tick
    graph.until(lambda: node._tick >= asked + 4 and not node._answered, "a tick that no plan reaches")
    ticks, count = node._tick, len(robot.actions)
    at = node._at
    SlowPolicy.go.set()
    graph.until(lambda: len(robot.actions) > count, "an action")
    sent = robot.actions[-1].header.stamp
    assert sent.sec * 10**9 + sent.nanosec >= at, "never an action for a tick that is past"
    assert node.counts["late_ticks"] >= ticks - asked - 1


# --- weights that come while it runs -------------------------------------------------------------------------------------


@pytest.fixture
def acting(graph, start, monkeypatch: pytest.MonkeyPatch) -> tuple[Robot, PolicyNode]:
    """A policy in the middle of an episode, long after it joined the graph."""
    monkeypatch.setattr("robot_learning.nodes.policy_weights.JOINING", 0.0)
    robot, node = start()
    graph.until(lambda: len(robot.actions) >= 2, "actions")
    return robot, node


def test_new_weights_are_taken_up_with_the_next_task(graph, acting, contract: Contract, tmp_path: Path) -> None:
    robot, node = acting
    newer = make_checkpoint(tmp_path / "newer", contract, round_=3)
    robot.send(pack(read_checkpoint(newer)))
    graph.until(lambda: robot.status and robot.value("next_version") == "3", "the weights")
    count = len(robot.actions)
    graph.until(lambda: len(robot.actions) >= count + 3, "more actions of this episode")
    assert robot.value("version") == ""
    robot.task.publish(String(data="close the drawer"))
    graph.until(lambda: robot.value("version") == "3", "the new policy")
    graph.until(lambda: robot.says(DiagnosticStatus.OK, "acting: close the drawer"), "its actions")
    expected = load_policy(newer).network.state_dict()
    assert all(torch.equal(expected[key], value) for key, value in node._policy.network.state_dict().items())


def test_a_policy_that_rests_takes_new_weights_at_once(graph, acting, contract: Contract, tmp_path: Path) -> None:
    robot, _ = acting
    assert graph.call(Trigger, "policy/stop").success
    robot.send(pack(read_checkpoint(make_checkpoint(tmp_path / "newer", contract, round_=1))))
    graph.until(lambda: robot.value("version") == "1", "the new policy")


def test_a_policy_that_comes_later_starts_with_the_newest_weights(
    graph, start, contract: Contract, tmp_path: Path
) -> None:
    robot, _ = start(autostart=False)
    for number in (1, 2):
        robot.send(pack(read_checkpoint(make_checkpoint(tmp_path / str(number), contract, round_=number))))
    graph.nodes[-1].trigger_configure()
    graph.nodes[-1].trigger_activate()
    graph.until(lambda: robot.status and robot.value("version") == "2", "the newest weights")


def refused_parcels(contract: Contract, checkpoint: Path, tmp_path: Path) -> dict[str, bytes]:
    """Parcels that must not act, by words of the refusal."""
    other = make_checkpoint(tmp_path / "other", contract)
    slower = yaml.safe_load((other / "contract.yaml").read_text()) | {"rate": 5.0}
    (other / "contract.yaml").write_text(yaml.safe_dump(slower))
    blind = yaml.safe_load((checkpoint / "contract.yaml").read_text())
    del blind["observation"][FRONT]
    fewer = make_checkpoint(tmp_path / "fewer", contract)
    (fewer / "contract.yaml").write_text(yaml.safe_dump(blind))
    tea = make_checkpoint(tmp_path / "tea", contract, tasks=[OPEN, "make tea"])
    return {
        "expected the files of a checkpoint": b"garbage",
        "rate: 10.0 here, 5.0 there": pack(read_checkpoint(other)),
        "expected a policy that reads": pack(read_checkpoint(fewer)),
        "does not know ['close the drawer']": pack(read_checkpoint(tea)),
    }


def test_what_cannot_take_its_place_is_refused_and_the_old_policy_goes_on(
    graph, acting, contract: Contract, checkpoint: Path, tmp_path: Path
) -> None:
    robot, node = acting
    running = node._policy
    for words, parcel in refused_parcels(contract, checkpoint, tmp_path).items():
        robot.send(parcel)
        graph.until(lambda w=words: robot.says(DiagnosticStatus.WARN, w), f"the refusal: {words}")
    robot.task.publish(String(data="close the drawer"))
    graph.until(
        lambda: robot.says(DiagnosticStatus.WARN, "acting: close the drawer; new weights are refused"), "it acts on"
    )
    assert node._policy is running
    robot.send(pack(read_checkpoint(make_checkpoint(tmp_path / "good", contract, round_=1))))
    graph.until(lambda: robot.says(DiagnosticStatus.OK, "acting"), "that good weights end the warning")
