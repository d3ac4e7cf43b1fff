"""The reward node on a real graph. The test is the robot and its clock: time moves on when a verdict has come."""

from __future__ import annotations

import array
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float32, String
from std_srvs.srv import Trigger

from robot_learning.contract import Contract
from robot_learning.nodes import reward
from robot_learning.nodes.base import SECOND, latched, ns_to_stamp, reliable, stamp_to_ns
from robot_learning.nodes.reward import RewardNode
from robot_learning.rewards import save_reward
from robot_learning.rewards.json_post import ServerError
from robot_learning.training.uncertain import picture_file, read_wanted
from tests.nodes.reward_stand_in import CLOSED, OPEN, make_model

FRONT = "observation.images.front"
TICK = SECOND // 10
ERROR, WARN, OK = DiagnosticStatus.ERROR, DiagnosticStatus.WARN, DiagnosticStatus.OK


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reward(tmp_path_factory.mktemp("reward") / "model", make_model())


@pytest.fixture
def contract() -> Contract:
    return Contract.load("ur5e_2f85").with_image_size(32, 32)


class Robot:
    """Pictures and a clock; `verdicts` are those of the node so far: success, whose, stamp [ns]."""

    def __init__(self, graph, node: RewardNode, contract: Contract) -> None:
        self.graph, self.reward, self.contract = graph, node, contract
        self.node = graph.node("robot")
        make = self.node.create_publisher
        self.clock, self.front = make(Clock, "/clock", reliable(5)), make(Image, "front/image_raw", reliable(5))
        self.task, self.person = make(String, "task", latched()), make(Bool, "person/success", reliable(5))
        self.verdicts: list[tuple[bool, str, int]] = []
        self.success: list[bool] = []
        self.probability: list[float] = []
        self.status: DiagnosticStatus | None = None
        self.time = 100 * SECOND
        listen = self.node.create_subscription
        listen(JointState, "reward/judged", self._on_judged, reliable(50))
        listen(Bool, "success", lambda message: self.success.append(message.data), reliable(50))
        listen(Float32, "reward/probability", lambda message: self.probability.append(message.data), reliable(50))
        listen(DiagnosticStatus, "reward/status", self._on_status, reliable(5))

    def _on_judged(self, message: JointState) -> None:
        values = dict(zip(message.name, message.position, strict=True))
        self.verdicts.append((bool(values["success"]), message.header.frame_id, stamp_to_ns(message.header.stamp)))

    def _on_status(self, message: DiagnosticStatus) -> None:
        self.status = message

    def connect(self) -> Robot:
        """Wait until the node is active and everybody hears everybody."""
        self.until(lambda: self.reward.is_active, "an active node")
        for publisher in (self.clock, self.front, self.task, self.person):
            self.until(publisher.get_subscription_count, f"the node on {publisher.topic_name}")
        self.until(lambda: self.node.count_publishers("success"), "its verdicts")
        self.passes(0)
        return self

    def until(self, condition, what: str) -> None:
        self.graph.until(condition, f"{what}; it says {self.status}")

    def passes(self, ns: int = TICK) -> None:
        """Time moves on."""
        self.time += ns
        self.clock.publish(Clock(clock=ns_to_stamp(self.time)))
        self.until(lambda: self.reward.now() == self.time, "the node's clock")

    def see(self, bright: bool, stamp: int | None = None, to: tuple = ()) -> None:
        """The camera, or all of `to`, send a picture."""
        pixels = array.array("B", np.full((32, 32, 3), 255 * bright, np.uint8).tobytes())
        image = Image(height=32, width=32, encoding="rgb8", step=96, data=pixels)
        image.header.stamp = ns_to_stamp(self.time if stamp is None else stamp)
        for camera in to or (self.front,):
            camera.publish(image)

    def shows(self, *bright: bool) -> list[bool]:
        """A picture each tick; the verdicts on them."""
        said = []
        for each in bright:
            self.passes()
            count, heard = len(self.verdicts), len(self.success)
            self.see(each)
            self.until(lambda n=count: len(self.verdicts) > n, "a verdict")
            self.until(lambda n=heard: len(self.success) > n, "a word on success")
            self.until(lambda: len(self.probability) == len(self.verdicts), "its probability")
            assert self.verdicts[-1][2] == self.time, "a verdict has the stamp of its picture"
            assert self.success[-1] == self.verdicts[-1][0]
            said.append(self.success[-1])
        return said

    def says(self, level: bytes, *words: str) -> None:
        """Wait for this status."""
        self.until(
            lambda: self.status and self.status.level == level and all(word in self.status.message for word in words),
            f"the status {words}",
        )

    def value(self, key: str) -> str:
        assert self.status is not None
        return {item.key: item.value for item in self.status.values}.get(key, "")

    def person_says(self, success: bool) -> None:
        """A person's verdict, until the node repeats it."""
        self.person.publish(Bool(data=success))
        self.until(lambda: self.reward._verdict.by == "person", "the person's word")

    def asks(self, question: str) -> object:
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=question)
        request = SetParameters.Request(parameters=[ParameterMessage(name="question", value=value)])
        return self.graph.call(SetParameters, "reward/set_parameters", request).results[0]


@pytest.fixture
def start(graph, contract: Contract, model: Path, tmp_path: Path):
    def starter(robot_s: Contract = contract, **parameters: object) -> Robot:
        file = tmp_path / "robot.yaml"
        file.write_text(yaml.safe_dump(robot_s.to_dict()))
        given = {"contract": str(file), "model": str(model), "question": OPEN, "use_sim_time": True, **parameters}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        node = graph.add(RewardNode(context=graph.context, parameter_overrides=overrides))
        return Robot(graph, node, robot_s)

    return starter


def test_the_task_is_done_after_two_pictures_in_a_row(start) -> None:
    robot = start().connect()
    assert robot.shows(False, True, True, False) == [False, False, True, False]
    assert np.round(robot.probability, 1).tolist() == [0.0, 1.0, 1.0, 0.0]
    robot.says(OK, f"judging: {OPEN}")
    assert float(robot.value("inference_p95_ms")) >= float(robot.value("inference_p50_ms")) > 0
    robot.until(
        lambda: (robot.value("verdict"), robot.value("verdict_by")) == ("not done", "model"), "the last verdict"
    )


def test_how_many_pictures_it_takes_is_a_parameter(start) -> None:
    assert start(consecutive=1).connect().shows(True) == [True]


def test_stale_pictures_have_no_verdict_and_those_before_do_not_count(start) -> None:
    robot = start().connect()
    robot.shows(True, True)
    robot.passes(int(1.1 * TICK))
    robot.says(ERROR, "no verdict: front/image_raw: stale")
    count = len(robot.success)
    robot.see(True, stamp=robot.time - int(1.05 * TICK))
    robot.graph.spin(0.3)
    assert len(robot.success) == count
    assert robot.shows(True, True) == [False, True]
    robot.says(OK, "judging")


def test_without_pictures_it_says_which_are_missing(start) -> None:
    robot = start().connect()
    robot.passes()
    robot.says(ERROR, "no verdict: front/image_raw: missing")
    assert not robot.success


def test_an_instruction_brings_its_question_and_a_new_episode(start) -> None:
    robot = start().connect()
    assert robot.shows(True, True) == [False, True]
    robot.task.publish(String(data="close the drawer"))
    robot.until(lambda: robot.reward._question == CLOSED, "the question")
    assert robot.shows(True, False, False) == [False, False, True]


def test_own_instructions_have_the_questions_given(start) -> None:
    robot = start(questions=["pull = has the drawer been opened?"], question="").connect()
    robot.says(WARN, "waiting for an instruction")
    robot.task.publish(String(data="pull"))
    robot.until(lambda: robot.reward._question, "the question")
    assert robot.shows(True, True) == [False, True]


def test_an_instruction_without_a_question_has_no_verdict(start) -> None:
    robot = start().connect()
    robot.task.publish(String(data="make tea"))
    robot.says(ERROR, "no question is known for the instruction 'make tea'")
    robot.passes()
    robot.see(True)
    robot.graph.spin(0.3)
    assert not robot.success


def test_it_can_be_told_to_keep_to_its_question(start) -> None:
    robot = start(follow_task=False).connect()
    robot.task.publish(String(data="close the drawer"))
    assert robot.shows(True, True) == [False, True]
    assert robot.reward._question == OPEN


def test_the_question_can_be_changed_while_it_runs(start) -> None:
    robot = start().connect()
    assert robot.asks("is the drawer not open?").successful
    assert robot.shows(False, False) == [False, True]


def test_a_question_that_the_model_does_not_know_is_refused(start) -> None:
    robot = start().connect()
    answer = robot.asks("is the kettle boiling?")
    assert not answer.successful and OPEN in answer.reason
    assert robot.shows(True, True) == [False, True]


def test_a_person_s_word_wins_until_the_next_episode(start) -> None:
    robot = start().connect()
    robot.shows(False)
    robot.person_says(True)
    robot.until(lambda: robot.success[-1], "the word repeated at once")
    assert robot.shows(False, False) == [True, True]
    assert robot.verdicts[-1][1] == "person"
    assert robot.graph.call(Trigger, "reward/new_episode").success
    assert robot.shows(False) == [False]
    assert robot.verdicts[-1][1] == "model"


def test_pictures_taken_before_the_episode_are_not_judged(start) -> None:
    robot = start(consecutive=1).connect()
    robot.passes()
    assert robot.graph.call(Trigger, "reward/new_episode").success
    robot.see(True, stamp=robot.time - TICK // 2)
    robot.graph.spin(0.3)
    assert not robot.success
    assert robot.shows(True) == [True]


def test_a_verdict_that_takes_longer_than_max_age_is_none(start) -> None:
    robot = start().connect()
    go, asks = threading.Event(), robot.reward._model.probability
    robot.reward._model.probability = lambda *given: (go.wait(30), asks(*given))[1]
    robot.passes()
    robot.see(True)
    robot.until(lambda: robot.reward._looking, "the model to look")
    robot.passes(2 * TICK)
    go.set()
    robot.says(ERROR, "no verdict: the model takes too long")
    assert robot.reward.counts["late_verdicts"] == 1 and not robot.success


def test_a_longer_age_can_be_allowed(start) -> None:
    robot = start(max_age=5.0, consecutive=1).connect()
    robot.passes()
    robot.passes(5 * TICK)
    robot.see(True, stamp=robot.time - 4 * TICK)
    robot.until(lambda: robot.success == [True], "the verdict")


def test_a_second_judge_is_named(graph, start) -> None:
    robot = start().connect()
    graph.node("oracle").create_publisher(Bool, "success", reliable(5))
    robot.until(lambda: robot.reward._others == "oracle", "the other to be found")
    robot.shows(False)
    robot.says(WARN, "oracle says success too")


def test_a_robot_without_the_model_s_camera_is_refused(start, contract: Contract) -> None:
    robot = start(contract.select([key for key in contract.observation if key != FRONT]))
    robot.says(ERROR, "cannot configure", "['front'] missing")
    assert robot.graph.call(GetState, "reward/get_state").current_state.label == "unconfigured"


def test_a_missing_model_is_named(start) -> None:
    start(model="nowhere/reward").says(ERROR, "nowhere/reward does not exist")


@pytest.mark.parametrize(
    "parameters",
    [{"rate": math.nan}, {"max_age": math.nan}, {"max_age": math.inf}, {"lower_threshold": math.nan}],
    ids=["rate", "age", "endless age", "threshold"],
)
def test_a_parameter_that_is_no_number_is_refused(start, parameters: dict[str, float]) -> None:
    start(**parameters).says(ERROR, "cannot configure: reward: rate and max_age must be numbers")


def test_a_folder_that_cannot_be_written_to_is_named_and_nothing_of_the_try_is_left(start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    robot = start(uncertain_folder=str(tmp_path / "file"))
    robot.says(ERROR, f"cannot configure: {tmp_path / 'file'}: expected a folder that can be written to")
    assert not robot.reward._inference._thread.is_alive()


def test_after_a_model_that_could_not_be_asked_it_is_shut_down_without_a_word(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_there(*given: object) -> float:
        raise ServerError("http://host/v1: expected an answer, found none")

    monkeypatch.setattr(reward, "probability", nobody_there)
    robot = start()
    robot.says(ERROR, "cannot configure: http://host/v1")
    transition = Transition(id=Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert robot.graph.call(ChangeState, "reward/change_state", ChangeState.Request(transition=transition)).success


def test_an_answer_that_is_no_number_is_no_verdict(start) -> None:
    robot = start().connect()
    robot.shows(False)
    robot.reward._model.probability = lambda *given: math.nan
    robot.passes()
    robot.see(True)
    robot.says(ERROR, "no verdict: reward model: expected a P(yes)")
    assert robot.success == [False]


def test_one_of_two_cameras_that_stops_is_named(start, contract: Contract, tmp_path: Path) -> None:
    both = save_reward(tmp_path / "both", make_model(cameras=("front", "wrist")))
    robot = start(model=str(both)).connect()
    wrist = robot.node.create_publisher(Image, "wrist/image_raw", reliable(5))
    robot.until(wrist.get_subscription_count, "the node on the wrist's camera")
    robot.passes()
    robot.see(True, to=(robot.front, wrist))
    robot.until(lambda: robot.success, "a verdict")
    for _ in range(3):
        robot.passes()
        robot.see(True)
    robot.says(ERROR, "no verdict: wrist/image_raw: stale")


def test_what_it_is_not_sure_of_is_kept(start, tmp_path: Path) -> None:
    unsure = save_reward(tmp_path / "unsure", make_model(always=1.5))
    folder = tmp_path / "wanted"
    robot = start(model=str(unsure), uncertain_folder=str(folder)).connect()
    robot.shows(True)
    robot.until(lambda: len(read_wanted(folder)) == 1, "a picture")
    (wanted,) = read_wanted(folder)
    assert (wanted.question, wanted.cameras) == (OPEN, ("front",))
    assert wanted.probability == pytest.approx(0.82, abs=0.01)
    assert picture_file(folder, wanted.picture, "front").is_file()


def test_what_a_person_contradicts_is_kept_though_the_model_was_sure(start, tmp_path: Path) -> None:
    folder = tmp_path / "wanted"
    robot = start(uncertain_folder=str(folder)).connect()
    robot.shows(False)
    assert not read_wanted(folder)
    robot.person_says(True)
    robot.until(lambda: len(read_wanted(folder)) == 1, "a picture")
