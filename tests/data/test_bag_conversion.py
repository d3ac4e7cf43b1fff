"""Bags of other recorders: sampled at the contract's rate, with the actions sent, commanded or measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer

from robot_learning.commands.dataset_from_bag import Config, run
from robot_learning.contract import Contract
from robot_learning.control.cartesian import CartesianController
from robot_learning.data import Dataset
from robot_learning.data.bag import Bag
from robot_learning.data.bag_conversion import COMMANDS, MEASURED, SENT, Replay, convert_bag
from robot_learning.data.episode_recorder import EpisodeRecorder, open_recorded
from robot_learning.data.mcap import BagError
from robot_learning.data.messages import encode, typestore

from . import ros_messages
from .episodes import PERIOD, T0, Run, action, flag, text
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
    storage: StoragePlugin = StoragePlugin.MCAP, commands: str = FLOATS,
) -> Path:  # fmt: skip
    """A bag as `ros2 bag record` makes it, of messages (time, relative topic, bytes)."""
    types = {stream.topic: stream.type for stream in contract.observation.values()}
    types |= {**TYPES, contract.action.topic: commands, contract.gripper.topic: FLOATS}
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


TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"


def trajectory(names: list[str], positions: list[float] | None) -> bytes:
    """A command to be there in 0.1 s; without `positions` one without points, which stops a controller."""
    types = typestore().types
    soon, none = types["builtin_interfaces/msg/Duration"](0, 100 * MILLISECOND), np.zeros(0)
    point = types["trajectory_msgs/msg/JointTrajectoryPoint"]
    points = [] if positions is None else [point(np.array(positions), none, none, none, soon)]
    return encode(TRAJECTORY, header=ros_messages.header(0), joint_names=names, points=points)


def trajectories(path: Path, contract: Contract, order: list[int], stops: tuple[int, ...] = ()) -> Path:
    """A bag of six ticks with a command each, its joints in the `order` given; at the ticks `stops` without points."""
    names, messages = [contract.joints.names[i] for i in order], sensors(contract, 6)
    for t in range(6):
        wanted = np.array(contract.joints.home) + 0.02 * t * np.array([1, 0.5, -0.5, 0.2, 0, 0])
        raw = trajectory(names, None if t in stops else wanted[order].tolist())
        messages.append((T0 + t * PERIOD, contract.action.topic, raw))
        messages.append((T0 + t * PERIOD, contract.gripper.topic, ros_messages.array(np.zeros(1))))
    return write_bag(path, contract, messages, commands=TRAJECTORY)


@pytest.fixture(scope="module")
def following(contract: Contract) -> Contract:
    """A robot that takes trajectories."""
    return dataclasses.replace(contract, action=dataclasses.replace(contract.action, type=TRAJECTORY))


def test_the_joints_of_a_trajectory_are_found_by_name(tmp_path: Path, following: Contract) -> None:
    straight = trajectories(tmp_path / "straight", following, [0, 1, 2, 3, 4, 5])
    turned = trajectories(tmp_path / "turned", following, [2, 1, 0, 3, 4, 5])
    assert Replay(Bag(turned), following, "wipe").actions == COMMANDS
    one, two = (converted(path, following, tmp_path / f"{path.name}_out") for path in (straight, turned))
    np.testing.assert_array_equal(one.column("action"), two.column("action"))
    assert np.abs(one.column("action")).max() > 0.1
    other = dataclasses.replace(following.joints, names=("another_joint", *following.joints.names[1:]))
    foreign = trajectories(tmp_path / "foreign", dataclasses.replace(following, joints=other), [0, 1, 2, 3, 4, 5])
    with pytest.raises(BagError, match=r"expected a trajectory of .*found \['another_joint'"):
        converted(foreign, following, tmp_path / "none")


def test_a_trajectory_without_points_moves_nothing(tmp_path: Path, following: Contract) -> None:
    path = trajectories(tmp_path / "bag", following, [0, 1, 2, 3, 4, 5], stops=(3,))
    action = converted(path, following, tmp_path / "out").column("action")
    assert np.abs(action).max(axis=1).round(3).tolist()[2] == 0.0 and np.abs(action[3]).max() > 0.1
    path = trajectories(tmp_path / "still", following, [0, 1, 2, 3, 4, 5], stops=tuple(range(6)))
    with pytest.raises(BagError, match="none that moves a joint"):
        converted(path, following, tmp_path / "none")


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
    file.write_text(yaml.safe_dump(contract.to_dict()))
    assert run(Config((path,), tmp_path / "out", contract=str(file), task="wipe")) == 0
    assert "episode 0, 3 frames, actions from the joint states" in capsys.readouterr().out
    with pytest.raises(BagError, match="--contract"):
        run(Config((path,), tmp_path / "other", task="wipe"))


def recorded(root: Path, contract: Contract, episodes: int, begins: int = T0) -> Path:
    """A dataset of the recorder with its bags, its first episode beginning at `begins` [ns]."""
    recorder = EpisodeRecorder(root, contract)
    graph = Run(contract, recorder, begins)
    for _ in range(episodes):
        graph.start()
        graph.tick()
        graph.tick()
        recorder.save(graph.time)
    recorder.close()
    return root


def test_bags_of_different_contracts_are_refused_by_both_names(tmp_path: Path, contract: Contract) -> None:
    larger = dataclasses.replace(contract.action, scale=tuple(10 * share for share in contract.action.scale))
    one = recorded(tmp_path / "one", contract, 1)
    two = recorded(tmp_path / "two", dataclasses.replace(contract, action=larger), 1)
    with pytest.raises(
        BagError, match=r"(?s)two/bags/episode_000000: expected .*one/bags/episode_000000.*action/scale"
    ):
        run(Config((one, two), tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(contract.to_dict()))
    with pytest.raises(BagError, match=r"two/bags/episode_000000: expected .*robot\.yaml"):
        run(Config((two,), tmp_path / "out", contract=str(tmp_path / "robot.yaml")))


def test_a_bad_bag_stops_no_other_and_none_is_converted_twice(
    tmp_path: Path, contract: Contract, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = recorded(tmp_path / "one", contract, 2), recorded(tmp_path / "two", contract, 1, T0 + 10**12)
    (one / "bags/episode_000000/recording_0.mcap").write_bytes(b"something")
    config = Config((tmp_path / "nothing", one, two, two), tmp_path / "out")
    assert run(config) == 1
    told = capsys.readouterr()
    assert "nothing: expected a bag" in told.err and "one/bags/episode_000000: expected a readable bag" in told.err
    assert "2 of 5 bags could not be converted" in told.err
    assert "two/bags/episode_000000: skipped" in told.out  # the second time
    assert Dataset(tmp_path / "out").num_episodes == 2
    assert run(config) == 1
    assert "one/bags/episode_000001: skipped, it is episode 0" in capsys.readouterr().out
    assert run(Config((two,), tmp_path / "out")) == 0
    assert Dataset(tmp_path / "out").num_episodes == 2


def test_bags_of_a_dataset_are_not_converted_into_itself(tmp_path: Path, contract: Contract) -> None:
    one, two = recorded(tmp_path / "one", contract, 1), recorded(tmp_path / "two", contract, 1)
    assert run(Config((one, two), one)) == 0
    assert Dataset(one).num_episodes == 2


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_torn_bag_of_another_recorder_is_named(tmp_path: Path, contract: Contract, storage: StoragePlugin) -> None:
    whole = write_bag(tmp_path / "bag", contract, sensors(contract, 6), storage=storage)
    (file,) = (path for path in whole.iterdir() if path.suffix in (".mcap", ".db3"))
    raw = file.read_bytes()
    for size in (8, *range(0, len(raw), len(raw) // 12), len(raw) - 37, len(raw) - 1):
        file.write_bytes(raw[:size])
        try:
            list(Bag(whole).messages())
        except BagError as error:
            assert str(error).startswith(f"{whole}: expected a readable bag")


def test_a_reader_that_stumbles_is_no_riddle(
    tmp_path: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = Bag(write_bag(tmp_path / "bag", contract, sensors(contract, 2)))

    def stumbles(*_: object) -> None:
        raise TypeError("ord() expected a character")

    monkeypatch.setattr("rosbags.rosbag2.Reader.messages", stumbles)
    with pytest.raises(BagError, match=r"found: TypeError: ord"):
        list(bag.messages())


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
