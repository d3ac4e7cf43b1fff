"""Raw messages to arrays: pixels, encodings, sizes, and what a malformed message says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from robot_learning.contract import IMAGE_PREFIX, STATE, Contract, ContractError, Stream
from robot_learning.data.messages import MessageFault, header_stamp, make_decoder

from . import ros_messages
from .recordings import make_image

FRONT = IMAGE_PREFIX + "front"
STAMP = 1_700_000_000_123_456_789


def camera(contract: Contract, **changes: object) -> Contract:
    """The contract with another front camera."""
    return contract.with_stream(FRONT, dataclasses.replace(contract.observation[FRONT], **changes))  # type: ignore[arg-type]


def test_stamp_is_read_from_the_bytes(contract: Contract) -> None:
    assert header_stamp(ros_messages.joint_state(contract, STAMP)) == STAMP


def test_stamp_of_a_stump() -> None:
    with pytest.raises(MessageFault, match="found 6 bytes"):
        header_stamp(bytes(6))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
@pytest.mark.parametrize("padding", [0, 5])
def test_pixels_of_every_encoding(contract: Contract, encoding: str, padding: int) -> None:
    pixels = make_image(0, 3)
    sent = pixels[..., ::-1] if encoding.startswith("bgr") else pixels
    if encoding.endswith("a8"):
        sent = np.concatenate((sent, np.full((*sent.shape[:2], 1), 77, np.uint8)), axis=-1)
    raw = ros_messages.image(STAMP, np.ascontiguousarray(sent), encoding, padding)
    np.testing.assert_array_equal(make_decoder(contract, FRONT)(raw), pixels)


def test_a_larger_source_is_averaged_over_areas(contract: Contract) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    decode = make_decoder(camera(contract, source_shape=(64, 64, 3)), FRONT)
    mean = pixels.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(decode(ros_messages.image(STAMP, pixels)), mean, atol=1.0)  # Pillow rounds once per axis


def test_png_comes_back_exactly(contract: Contract) -> None:
    decode = make_decoder(camera(contract, type="sensor_msgs/msg/CompressedImage"), FRONT)
    pixels = make_image(0, 1)
    np.testing.assert_array_equal(decode(ros_messages.compressed_image(STAMP, pixels)), pixels)


def test_float_arrays_take_the_streams_dtype(contract: Contract) -> None:
    stream = Stream("wrench", "std_msgs/msg/Float64MultiArray", "float32", (3,), 100.0, 0.1)
    decode = make_decoder(contract.with_stream("observation.wrench", stream), "observation.wrench")
    found = decode(ros_messages.array(np.array([1.0, 2.0, 3.0])))
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, 2.0, 3.0]


def wrong_size(contract: Contract) -> bytes:
    return ros_messages.image(STAMP, make_image(0, 0, 40))


def wrong_encoding(contract: Contract) -> bytes:
    return ros_messages.image(STAMP, make_image(0, 0)[..., :1].copy(), "mono8")


def short_rows(contract: Contract) -> bytes:
    return ros_messages.image(STAMP, make_image(0, 0)[:, :, :2].copy(), "rgb8")


def cut_off(contract: Contract) -> bytes:
    return ros_messages.image(STAMP, make_image(0, 0))[:200]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (wrong_size, r"expected 32x32 rgb8 or .*, found 40x40 rgb8"),
        (wrong_encoding, r"expected 32x32 rgb8 or .*, found 32x32 mono8"),
        (short_rows, r"expected 32 rows of at least 96 bytes, found 2048 bytes, step 64"),
        (cut_off, r"found 200 bytes that do not decode"),
    ],
)
def test_faulty_images_say_expected_and_found(contract: Contract, make: object, message: str) -> None:
    with pytest.raises(MessageFault, match=message):
        make_decoder(contract, FRONT)(make(contract))  # type: ignore[operator]


def test_a_cut_off_png_is_a_fault(contract: Contract) -> None:
    decode = make_decoder(camera(contract, type="sensor_msgs/msg/CompressedImage"), FRONT)
    whole = ros_messages.compressed_image(STAMP, np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))
    with pytest.raises(MessageFault):
        decode(whole[:-600])


def test_nan_in_joint_states_names_the_element(contract: Contract) -> None:
    names = [*contract.joints.names, contract.gripper.joint]
    raw = ros_messages.joint_state_of(STAMP, names, np.array([0.0, np.nan, 0, 0, 0, 0, 0]))
    with pytest.raises(MessageFault, match=r"finite numbers, found nan at shoulder_lift_joint.pos"):
        make_decoder(contract, STATE)(raw)


def test_unknown_joints_are_a_fault(contract: Contract) -> None:
    raw = ros_messages.joint_state_of(STAMP, ["a", "b"], np.zeros(2))
    with pytest.raises(MessageFault, match=r"shoulder_pan_joint.*found \['a', 'b'\]"):
        make_decoder(contract, STATE)(raw)


def test_a_type_without_an_array_is_a_contract_error(contract: Contract) -> None:
    stream = Stream("odom", "nav_msgs/msg/Odometry", "float32", (3,), 100.0, 0.1)
    with pytest.raises(ContractError, match="nav_msgs/msg/Odometry"):
        make_decoder(contract.with_stream("observation.odom", stream), "observation.odom")
