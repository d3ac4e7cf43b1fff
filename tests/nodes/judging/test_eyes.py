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


def see(eyes: Eyes, stamp: int, *topics: str) -> None:
    """A picture of each camera, taken and received at `stamp` [ns]."""
    image = Image(height=4, width=4, encoding="rgb8", step=12, data=bytes(48))
    image.header.stamp = ns_to_stamp(stamp)
    for topic in topics:
        eyes.add(topic, serialize_message(image), stamp)


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
