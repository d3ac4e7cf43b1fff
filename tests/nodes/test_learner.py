"""The learner node beside a policy node, as processes, with a dataset of practice that grows meanwhile."""

import signal
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import UInt8MultiArray

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.data import Dataset
from robot_learning.nodes.base import latched, reliable
from robot_learning.policies import read_checkpoint
from robot_learning.policies.parcel import unpack, version_of
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.config import TrainConfig
from robot_learning.training.offline import train
from tests.training.grown_practice import practise

ENDLESS = {"gradient_steps": 10**6, "most_gradient_steps": 10**6}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "doors"
    collect_demonstrations(root, {"close_sliding": 0}, episodes=2, cameras=())
    return root


@pytest.fixture(scope="module")
def clone(doors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "clone"
    bc = BehaviourCloningConfig(inputs="state", hidden=(32,), batch_size=16)
    train(TrainConfig(dataset=str(doors), run=str(run), steps=10, threads=1, bc=bc))
    return run


class World:
    """A learner and a policy, what they say, and a recorder's dataset."""

    def __init__(self, graph, doors: Path, clone: Path, folder: Path) -> None:
        self.graph, self.doors, self.clone, self.run = graph, doors, clone, folder / "run"
        self.contract = folder / "robot.yaml"
        contract = Dataset(doors).contract
        assert contract is not None
        self.contract.write_text(yaml.safe_dump(contract.to_dict()))
        self.node = graph.node()
        self.status: dict[str, DiagnosticStatus] = {}
        for name in ("learner", "policy"):
            self.node.create_subscription(
                DiagnosticStatus, f"{name}/status", lambda m, n=name: self.status.update({n: m}), reliable(5)
            )

    def learner(self, **parameters: object):
        self.status.pop("learner", None)
        given = {"run": str(self.run), "start": str(self.clone), "min_new_successes": 2, "gradient_steps": 10}
        return self.graph.start("learner", contract=str(self.contract), **{**given, **parameters})

    def policy(self):
        self.status.pop("policy", None)
        checkpoint = str(self.clone / "checkpoints" / "last")
        return self.graph.start("policy", contract=str(self.contract), checkpoint=checkpoint, act_at_once=False)

    def practise(self, successes: list[bool]) -> None:
        practise(self.run / "practice", self.doors, successes)

    def value(self, name: str, key: str) -> str:
        found = self.status.get(name)
        return {item.key: item.value for item in found.values}.get(key, "") if found else ""

    def says(self, level: bytes, words: str) -> bool:
        found = self.status.get("learner")
        return found is not None and found.level == level and words in found.message

    def until(self, name: str, key: str, value: str) -> None:
        self.graph.until(lambda: self.value(name, key) == value, f"{key} {value} of {name}")


@pytest.fixture
def world(graph, doors: Path, clone: Path, tmp_path: Path) -> World:
    return World(graph, doors, clone, tmp_path)


def test_the_weights_of_each_round_reach_the_policy_and_one_that_was_killed(world: World) -> None:
    world.learner()
    policy = world.policy()
    world.until("policy", "version", "0")
    world.practise([True, False, True])
    world.until("policy", "version", "1")
    world.graph.kill(policy)
    world.practise([True, True])
    world.until("learner", "round", "2")
    world.policy()
    world.until("policy", "version", "2")
    assert read_checkpoint(world.run / "checkpoints" / "last").facts["Round"] == 2


def test_a_second_learner_of_the_same_run_says_so_and_changes_nothing(world: World) -> None:
    world.policy()
    first = world.learner()
    world.until("policy", "version", "0")
    second = world.learner()
    world.graph.until(
        lambda: f"is being written by process {first.pid}" in second.log.read_text(), "the second's refusal"
    )
    world.practise([True, True])
    world.until("policy", "version", "1")


def test_a_killed_learner_goes_on_with_the_next_round(world: World) -> None:
    world.policy()
    first = world.learner()
    world.practise([True, True])
    world.until("policy", "version", "1")
    world.graph.kill(first)
    second = world.learner(**ENDLESS)
    world.practise([True, True])
    world.graph.until(lambda: world.says(DiagnosticStatus.OK, "round 2: training"), "a training")
    world.graph.kill(second)
    assert {path.name for path in (world.run / "rounds").iterdir()} == {"round_0", "round_1"}
    world.learner()
    world.until("policy", "version", "2")


def test_it_says_how_far_it_is_and_stops_within_a_training(world: World) -> None:
    learner = world.learner(**ENDLESS)
    world.practise([True])
    world.graph.until(lambda: world.says(DiagnosticStatus.OK, "round 1: 1 of 2 new successes"), "the wait")
    world.practise([False, True])
    world.graph.until(lambda: world.says(DiagnosticStatus.OK, "round 1: training"), "a training")
    world.graph.until(lambda: int(world.value("learner", "step") or 0) > 0, "a step")
    assert world.value("learner", "steps") == str(10**6) and float(world.value("learner", "seconds_left")) > 0
    assert (world.value("learner", "successes"), world.value("learner", "frames")) == ("2", "18")
    assert float(world.value("learner", "loss")) > 0
    learner.send_signal(signal.SIGTERM)
    assert learner.wait(30) == 0
    assert {path.name for path in (world.run / "rounds").iterdir()} == {"round_0"}


def test_who_comes_later_gets_the_newest_policy_whole(world: World) -> None:
    world.learner()
    world.practise([True, True])
    world.until("learner", "round", "1")
    parcels: list[UInt8MultiArray] = []
    world.node.create_subscription(UInt8MultiArray, "policy/weights", parcels.append, latched())
    world.graph.until(lambda: parcels, "the weights")
    found = unpack(bytes(parcels[-1].data))
    assert version_of(found) == "1" and found.tasks == ["close the sliding door"]


def test_damaged_practice_is_said_and_gone_on_with_when_mended(world: World) -> None:
    world.practise([True])
    info = world.run / "practice" / "meta" / "info.json"
    whole = info.read_bytes()
    info.write_text("{")
    world.learner()
    world.graph.until(lambda: world.says(DiagnosticStatus.ERROR, "info.json"), "the complaint")
    info.write_bytes(whole)
    world.graph.until(lambda: world.says(DiagnosticStatus.OK, "1 of 2 new successes"), "that it goes on")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"run": ""}, "the parameters ['run'] are empty"),
        ({"start": "nowhere"}, "nowhere does not exist"),
        ({"nice": 30}, "nice is 0 to 19"),
    ],
)
def test_what_it_cannot_work_with_is_named(world: World, parameters: dict, words: str) -> None:
    world.learner(**parameters)
    world.graph.until(lambda: world.says(DiagnosticStatus.ERROR, words), words)


def test_a_clone_of_another_robot_is_refused_with_both_sides(world: World) -> None:
    slower = yaml.safe_load(world.contract.read_text()) | {"rate": 5.0}
    world.contract.write_text(yaml.safe_dump(slower))
    world.learner()
    world.graph.until(lambda: world.says(DiagnosticStatus.ERROR, "rate: 5.0 here, 10.0 there"), "the refusal")
