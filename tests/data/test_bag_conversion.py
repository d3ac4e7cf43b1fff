"""Bags of other recorders: sampled at the contract's rate, with the actions sent, commanded or measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from robot_learning.commands.dataset_from_bag import Config, run
from robot_learning.contract import Contract
from robot_learning.control.cartesian import CartesianController
from robot_learning.data import Dataset
from robot_learning.data.bag import Bag
from robot_learning.data.bag_conversion import COMMANDS, MEASURED, SENT, Replay, convert_bag
from robot_learning.data.episode_recorder import open_recorded
from robot_learning.data.mcap import BagError
from robot_learning.data.messages import typestore

from . import ros_messages
from .episodes import PERIOD, T0, action, flag, text
from .recordings import make_contract
from .ros_messages import MILLISECOND

FLOATS = "std_msgs/msg/Float64MultiArray"
TYPES = {
    "success": "std_msgs/msg/Bool",
    "task": "std_msgs/msg/String",
    "safety_gate/action_sent": "sensor_msgs/msg/JointState",
}


@pytest.fixture(scope="module")
def contract() -> Contract:
    return make_contract()


def write_bag(
    path: Path, contract: Contract, messages: list[tuple[int, str, bytes]], prefix: str = "/",
    storage: StoragePlugin = StoragePlugin.MCAP,
) -> Path:  # fmt: skip
    """A bag as `ros2 bag record` makes it, of messages (time, relative topic, bytes)."""
    types = {stream.topic: stream.type for stream in contract.observation.values()}
    types |= {**TYPES, contract.action.topic: FLOATS, contract.gripper.topic: FLOATS}
    with Writer(path, version=9, storage_plugin=storage) as writer:
        topics = {topic for _, topic, _ in messages}
        connections = {t: writer.add_connection(prefix + t, types[t], typestore=typestore()) for t in topics}
        for time, topic, raw in sorted(messages, key=lambda message: message[0]):
            writer.write(connections[topic], time, raw)
    return path


def sensors(contract: Contract, ticks: int) -> list[tuple[int, str, bytes]]:
    found = []
    for t in range(ticks):
        stamp = T0 + t * PERIOD
        found += [(stamp, topic, raw) for topic, raw in ros_messages.messages_at(contract, stamp, t).items()]
    return found


def converted(path: Path, contract: Contract, output: Path, task: str = "wipe", **options: object) -> Dataset:
    with open_recorded(output, contract) as writer:
        convert_bag(Bag(path), writer, contract, task, **options)  # type: ignore[arg-type]
    return Dataset(output)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_measured_motion_becomes_actions_at_the_contracts_rate(
    tmp_path: Path, contract: Contract, storage: StoragePlugin
) -> None:
    path = write_bag(tmp_path / "bag", contract, sensors(contract, 6), "/robot1/", storage)
    assert Replay(Bag(path), contract, "wipe").actions == MEASURED
    dataset = converted(path, contract, tmp_path / "out", success=True)
    assert (dataset.num_frames, dataset.fps, dataset.episode_tasks) == (5, 10, ["wipe"])
    state, names = dataset.column("observation.state"), list(contract.observation["observation.state"].names)
    tcp = state[:, [names.index(f"tcp.{axis}") for axis in "xyz"]]
    moved = np.diff(tcp, axis=0) / np.array(contract.action.scale[:3])
    np.testing.assert_allclose(dataset.column("action")[:-1, :3], np.clip(moved, -1, 1), atol=1e-4)
    assert np.abs(moved).max() > 0.1
    np.testing.assert_allclose(dataset.column("observation.age"), 0.0, atol=1e-6)
    assert dataset.column("next.success").ravel().tolist() == [False] * 4 + [True]


def test_commands_give_back_the_actions_that_made_them(tmp_path: Path, contract: Contract) -> None:
    controller = CartesianController(contract)
    home = np.array(contract.joints.home)
    controller.reset(home, 0.5)
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 5))
    messages, travel = sensors(contract, 6), contract.gripper.closed - contract.gripper.open
    joints, closing = home, 0.5
    for t in range(6):
        time = T0 + t * PERIOD
        values = {contract.action.topic: np.array(joints, float), contract.gripper.topic: np.array([closing * travel])}
        messages += [(time, topic, ros_messages.array(value)) for topic, value in values.items()]
        if t < 5:
            command = controller.step(actions[t], np.array(joints), closing)
            joints, closing = command.joints, command.gripper
    path = write_bag(tmp_path / "bag", contract, messages)
    assert Replay(Bag(path), contract, "wipe").actions == COMMANDS
    found = converted(path, contract, tmp_path / "out").column("action")
    np.testing.assert_allclose(found, actions, atol=0.03)  # the IK stops within half a millimetre


def test_actions_of_the_gate_are_the_ticks(tmp_path: Path, contract: Contract) -> None:
    sent = np.random.default_rng(0).uniform(-1, 1, (4, 5)).astype(np.float32)
    messages = [
        *sensors(contract, 4),
        (T0, "task", text("open the drawer")),
        (T0 + 3 * PERIOD + 1, "success", flag(True)),
    ]
    for t, values in enumerate(sent):
        at = T0 + t * PERIOD + 10 * MILLISECOND
        messages.append((at + MILLISECOND, "safety_gate/action_sent", action(contract, at, values, "teleop")))
    path = write_bag(tmp_path / "bag", contract, messages)
    assert Replay(Bag(path), contract).actions == SENT
    dataset = converted(path, contract, tmp_path / "out", task="")
    np.testing.assert_allclose(dataset.column("action"), sent, atol=1e-6)
    assert dataset.column("intervention").all()
    assert (dataset.episode_tasks, dataset.episode_success.tolist()) == (["open the drawer"], [True])


def test_the_command_line(tmp_path: Path, contract: Contract, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_bag(tmp_path / "bag", Contract.load("ur5e_2f85").with_image_size(32, 32), sensors(contract, 4))
    file = tmp_path / "robot.yaml"
    import yaml

    file.write_text(yaml.safe_dump(contract.to_dict()))
    assert run(Config((path,), tmp_path / "out", contract=str(file), task="wipe")) == 0
    assert "episode 0, 3 frames, actions from the joint states" in capsys.readouterr().out
    with pytest.raises(BagError, match="--contract"):
        run(Config((path,), tmp_path / "other", task="wipe"))


def test_a_missing_stream_lists_the_topics_there_are(tmp_path: Path, contract: Contract) -> None:
    messages = [message for message in sensors(contract, 3) if message[1] != "wrist/image_raw"]
    path = write_bag(tmp_path / "bag", contract, messages)
    with pytest.raises(BagError, match=r"expected the topic 'wrist/image_raw'.*'/front/image_raw', '/joint_states'"):
        converted(path, contract, tmp_path / "out")


def test_a_namespace_chooses_the_robot(tmp_path: Path, contract: Contract) -> None:
    bag = write_bag(tmp_path / "bag", contract, sensors(contract, 3), "/a/")
    replay = Replay(Bag(bag), contract, "wipe", namespace="a")
    assert len(list(replay.frames())) == 2
    with pytest.raises(BagError, match="expected the topic"):
        Replay(Bag(bag), contract, "wipe", namespace="b")


def test_without_a_task_there_is_no_episode(tmp_path: Path, contract: Contract) -> None:
    path = write_bag(tmp_path / "bag", contract, sensors(contract, 3))
    with pytest.raises(BagError, match="--task"):
        converted(path, contract, tmp_path / "out", task="")


def test_pictures_of_another_size_say_so(tmp_path: Path, contract: Contract) -> None:
    path = write_bag(tmp_path / "bag", contract, sensors(contract, 3))
    with pytest.raises(BagError, match=r"not one frame.*expected 64x64"):
        converted(path, contract.with_image_size(64, 64), tmp_path / "out")
