"""FrameAssembler: which message a frame takes, its age, and what is said of streams that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest

from robot_learning.contract import ENVIRONMENT_STATE, IMAGE_PREFIX, STATE, Contract, ContractError
from robot_learning.data.frames import FrameAssembler, lasting
from robot_learning.envs.observation import environment_state_stream

from . import ros_messages
from .recordings import make_contract, make_image
from .ros_messages import MILLISECOND, SECOND, messages_at

T = 1_000 * SECOND
FRONT = IMAGE_PREFIX + "front"


@pytest.fixture(scope="module")
def assembler() -> FrameAssembler:
    contract = make_contract()
    return FrameAssembler(contract.with_stream(ENVIRONMENT_STATE, environment_state_stream(contract.rate)))


@pytest.fixture(autouse=True)
def _empty(assembler: FrameAssembler) -> None:
    assembler.clear()


def feed(assembler: FrameAssembler, stamp: int, received: int | None = None, t: int = 0) -> None:
    """One message of every stream."""
    for topic, raw in messages_at(assembler.contract, stamp, t).items():
        assembler.add(topic, raw, stamp if received is None else received)


def test_topics_are_the_contracts(assembler: FrameAssembler) -> None:
    assert assembler.topics()["front/image_raw"] == (FRONT, "sensor_msgs/msg/Image")
    assert set(assembler.topics()) == {"joint_states", "front/image_raw", "wrist/image_raw", "environment_state"}


def test_a_whole_frame(assembler: FrameAssembler) -> None:
    feed(assembler, T, t=2)
    frame = assembler.frame(T + 10 * MILLISECOND)
    assert frame.usable
    assert {key: (value.shape, value.dtype.name) for key, value in frame.values.items()} == {
        key: (stream.shape, stream.dtype) for key, stream in assembler.contract.observation.items()
    }
    np.testing.assert_array_equal(frame.values[FRONT], make_image(1, 2))
    assert frame.ages == pytest.approx(dict.fromkeys(assembler.contract.observation, 0.01))


def test_age_is_from_the_stamp_and_without_one_from_the_arrival(assembler: FrameAssembler) -> None:
    feed(assembler, T, received=T + 30 * MILLISECOND)
    ages = assembler.frame(T + 50 * MILLISECOND).ages
    assert ages[STATE] == pytest.approx(0.05)
    assert ages[ENVIRONMENT_STATE] == pytest.approx(0.02)


def test_what_came_later_is_not_in_an_earlier_frame(assembler: FrameAssembler) -> None:
    feed(assembler, T, t=1)
    feed(assembler, T + 30 * MILLISECOND, t=2)
    assert assembler.frame(T + 29 * MILLISECOND).values[ENVIRONMENT_STATE][0] == 1
    assert assembler.frame(T + 30 * MILLISECOND).values[ENVIRONMENT_STATE][0] == 2


def test_what_was_captured_later_is_not_in_an_earlier_frame(assembler: FrameAssembler) -> None:
    feed(assembler, T, t=1)
    feed(assembler, T + 100 * MILLISECOND, received=T, t=2)  # simulated time had not reached this node yet
    frame = assembler.frame(T)
    np.testing.assert_array_equal(frame.values[FRONT], make_image(1, 1))
    assert frame.ages[FRONT] == 0.0


def test_in_lockstep_it_matters_what_was_stamped_not_when_it_came() -> None:
    contract = make_contract()
    contract = contract.with_stream(ENVIRONMENT_STATE, environment_state_stream(contract.rate))
    assembler = FrameAssembler(contract, lockstep=True)
    feed(assembler, T, received=T + 100 * MILLISECOND, t=1)  # this node reads the next tick on its clock already
    frame = assembler.frame(T)
    assert frame.ages[FRONT] == 0.0 and frame.values[ENVIRONMENT_STATE][0] == 1


def test_a_missing_stream_is_named(assembler: FrameAssembler) -> None:
    messages = messages_at(assembler.contract, T)
    del messages["wrist/image_raw"]
    for topic, raw in messages.items():
        assembler.add(topic, raw, T)
    frame = assembler.frame(T)
    assert frame.problems == ("wrist/image_raw: missing, no message yet",)
    assert IMAGE_PREFIX + "wrist" not in frame.values


def test_a_stale_stream_is_named_and_its_value_kept(assembler: FrameAssembler) -> None:
    feed(assembler, T)
    assembler.add("joint_states", messages_at(assembler.contract, T + 310 * MILLISECOND)["joint_states"], T)
    assembler.add("wrist/image_raw", messages_at(assembler.contract, T + 310 * MILLISECOND)["wrist/image_raw"], T)
    assembler.add("environment_state", messages_at(assembler.contract, T)["environment_state"], T + 300 * MILLISECOND)
    frame = assembler.frame(T + 310 * MILLISECOND)
    assert frame.problems == ("front/image_raw: stale, 0.31 s > 0.1 s",)
    assert FRONT in frame.values


def test_a_malformed_newest_message_is_a_problem_at_once(assembler: FrameAssembler) -> None:
    feed(assembler, T)
    assembler.add("front/image_raw", ros_messages.image(T + MILLISECOND, make_image(0, 0, 40)), T + MILLISECOND)
    frame = assembler.frame(T + 2 * MILLISECOND)
    assert len(frame.problems) == 1
    assert frame.problems[0].startswith("front/image_raw: expected 32x32 rgb8")
    assert FRONT not in frame.values


def test_stamps_that_jump_back_are_dropped_counted_and_named(assembler: FrameAssembler) -> None:
    feed(assembler, T, t=1)
    before = assembler.jumped_back["front/image_raw"]
    for late in (1, 2):
        assembler.add("front/image_raw", ros_messages.image(T - 5 * SECOND, make_image(0, 9)), T + late * MILLISECOND)
    assert assembler.jumped_back["front/image_raw"] == before + 2
    np.testing.assert_array_equal(assembler.frame(T + 3 * MILLISECOND).values[FRONT], make_image(1, 1))
    problem = next(p for p in assembler.frame(T + SECOND).problems if p.startswith("front"))
    assert problem == "front/image_raw: stale, 1.00 s > 0.1 s; stamps jumped back 5.00 s, 2 dropped"


def test_a_stamp_far_in_the_future_is_a_problem(assembler: FrameAssembler) -> None:
    feed(assembler, T + SECOND, received=T)
    problems = assembler.frame(T).problems
    assert problems[0] == "joint_states: stamped in the future, by 1.00 s; are the clocks of both machines in step?"


def test_one_stamp_far_in_the_future_is_forgotten_with_the_next_message(assembler: FrameAssembler) -> None:
    """It would be the newest for an hour otherwise, and all others dropped."""
    feed(assembler, T)
    feed(assembler, T + 3600 * SECOND, received=T + 10 * MILLISECOND)
    feed(assembler, T + 20 * MILLISECOND, t=1)
    frame = assembler.frame(T + 30 * MILLISECOND)
    assert frame.usable and frame.ages[STATE] == pytest.approx(0.01)
    feed(assembler, T + 40 * MILLISECOND, t=2)
    assert assembler.frame(T + 40 * MILLISECOND).ages[STATE] == 0.0


def test_a_clock_that_was_ahead_and_is_put_right_is_believed(assembler: FrameAssembler) -> None:
    for tick in range(3):
        feed(assembler, T + SECOND + tick * 10 * MILLISECOND, received=T + tick * 10 * MILLISECOND)
    feed(assembler, T + 30 * MILLISECOND)
    assert assembler.frame(T + 30 * MILLISECOND).usable


def test_an_empty_stamp_is_explained(assembler: FrameAssembler) -> None:
    feed(assembler, 0, received=T)
    assert (
        "joint_states: its header stamp is 0; the driver must set it to the capture time" in assembler.frame(T).problems
    )


def test_nothing_is_decoded_before_a_frame_asks(assembler: FrameAssembler) -> None:
    feed(assembler, T)
    assembler.add("front/image_raw", b"\x00\x01\x00\x00" + bytes(8), T)  # an old stamp: dropped without a look inside
    assembler.add("joint_states", ros_messages.joint_state_of(T, ["a"], np.zeros(1)), T)
    feed(assembler, T + MILLISECOND)
    assert assembler.frame(T + MILLISECOND).usable


def test_a_picture_decoded_beforehand_is_the_frames(assembler: FrameAssembler) -> None:
    feed(assembler, T)
    assembler.decode("front/image_raw")
    first = assembler.frame(T).values[FRONT]
    assert assembler.frame(T).values[FRONT] is first


def test_decoding_before_anything_came_does_nothing(assembler: FrameAssembler) -> None:
    assembler.decode("front/image_raw")
    assert not assembler.frame(T).usable


def test_clear_forgets_messages_and_stamps(assembler: FrameAssembler) -> None:
    feed(assembler, T)
    assembler.clear()
    assert len(assembler.frame(T).problems) == 4
    feed(assembler, T - 100 * SECOND)
    assert assembler.frame(T - 100 * SECOND).usable


def test_history_holds_what_a_late_request_needs(assembler: FrameAssembler) -> None:
    for t in range(12):  # 0.4 s of 30 Hz
        feed(assembler, T + t * 33 * MILLISECOND, t=t)
    np.testing.assert_array_equal(assembler.frame(T + MILLISECOND).values[FRONT], make_image(1, 0))


def test_two_streams_on_one_topic_are_refused() -> None:
    contract = Contract.load("ur5e_2f85")
    with pytest.raises(ContractError, match="share the topic 'front/image_raw'"):
        FrameAssembler(contract.with_stream(IMAGE_PREFIX + "copy", contract.observation[FRONT]))


def test_what_lasts_of_problems_is_the_same_while_their_numbers_change(assembler: FrameAssembler) -> None:
    feed(assembler, T)
    first, later = assembler.frame(T + 20 * SECOND), assembler.frame(T + 21 * SECOND)
    assert first.problems != later.problems
    assert lasting(first.problems) == lasting(later.problems)
    assert "joint_states: stale" in lasting(first.problems)
