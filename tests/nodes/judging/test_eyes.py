"""When the pictures of all cameras are new, and which are shown."""

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from robot_learning.contract import Contract
from robot_learning.nodes.base import SECOND, ns_to_stamp
from robot_learning.nodes.judging.eyes import Eyes

FRONT, WRIST = "front/image_raw", "wrist/image_raw"
PERIOD = SECOND // 10
START = 100 * SECOND


@pytest.fixture
def eyes() -> Eyes:
    keys = ["observation.images.front", "observation.images.wrist"]
    return Eyes(Contract.load("ur5e_2f85").select(keys).with_image_size(4, 4), PERIOD)


def see(eyes: Eyes, stamp: int, *topics: str, received: int | None = None) -> None:
    """A picture of each camera, taken at `stamp` [ns] and received then, unless told otherwise."""
    image = Image(height=4, width=4, encoding="rgb8", step=12, data=bytes(48))
    image.header.stamp = ns_to_stamp(stamp)
    for topic in topics:
        eyes.add(topic, serialize_message(image), stamp if received is None else received)


def test_every_camera_must_have_a_new_picture(eyes: Eyes) -> None:
    see(eyes, START, FRONT)
    assert not eyes.is_due
    see(eyes, START, WRIST)
    assert eyes.is_due


def test_pictures_are_shown_once(eyes: Eyes) -> None:
    see(eyes, START, FRONT, WRIST)
    assert eyes.look(START).usable
    assert not eyes.is_due


def test_pictures_that_come_faster_wait_for_their_turn(eyes: Eyes) -> None:
    see(eyes, START, FRONT, WRIST)
    eyes.look(START)
    see(eyes, START + PERIOD // 3, FRONT, WRIST)
    assert not eyes.is_due
    see(eyes, START + PERIOD, FRONT, WRIST)
    assert eyes.is_due


def test_a_frame_has_the_stamp_of_its_oldest_picture(eyes: Eyes) -> None:
    see(eyes, START, WRIST)
    see(eyes, START + PERIOD // 2, FRONT)
    assert eyes.stamp(eyes.look(START + PERIOD // 2)) == START


def test_pictures_from_before_the_episode_are_known(eyes: Eyes) -> None:
    eyes.begin(START)
    see(eyes, START, WRIST)
    see(eyes, START + 1, FRONT)
    assert not eyes.is_of_now(eyes.look(START + 1))
    see(eyes, START + PERIOD, FRONT, WRIST)
    assert eyes.is_of_now(eyes.look(START + PERIOD))


def test_pictures_that_no_longer_come_are_missed(eyes: Eyes) -> None:
    see(eyes, START, FRONT, WRIST)
    assert not eyes.missing(START + PERIOD)
    assert [line.split(":")[0] for line in eyes.missing(START + PERIOD + 1)] == [FRONT, WRIST]


def test_one_camera_that_stopped_is_missed_though_the_other_goes_on(eyes: Eyes) -> None:
    see(eyes, START, FRONT, WRIST)
    eyes.look(START)
    for tick in range(1, 4):
        see(eyes, START + tick * PERIOD, FRONT)
    assert [line.split(":")[0] for line in eyes.missing(START + 3 * PERIOD)] == [WRIST]


def test_a_picture_from_the_far_future_is_told_of(eyes: Eyes) -> None:
    for tick in range(3):
        see(eyes, START + tick * PERIOD, WRIST)
        see(eyes, START + tick * PERIOD + 3600 * SECOND, FRONT, received=START + tick * PERIOD)
    assert any("stamped in the future" in line for line in eyes.missing(START + 2 * PERIOD))


def test_a_picture_from_the_far_future_does_not_make_those_after_it_old(eyes: Eyes) -> None:
    see(eyes, START + 3600 * SECOND, FRONT, WRIST, received=START)
    eyes.look(START)
    eyes.clear()  # as a camera that is started anew, with its clock set right
    see(eyes, START + PERIOD, FRONT, WRIST)
    assert eyes.is_due and eyes.look(START + PERIOD).usable
