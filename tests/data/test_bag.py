"""Bags: what goes in comes out, what a killed writer left is readable, and what rosbag2 needs is there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from robot_learning.data.bag import FILE, METADATA, Bag, BagWriter, Message
from robot_learning.data.mcap import BagError, is_finished, read_metadata

JOINTS, FRONT = "/joint_states", "/robot1/front/image_raw"
TOPICS = {JOINTS: "sensor_msgs/msg/JointState", FRONT: "sensor_msgs/msg/Image"}
CUSTOM = {"contract": "name: größe\n", "config": "{}"}


def make_messages(count: int = 50) -> list[Message]:
    """Messages of both topics in the order of a run; several share a time."""
    rng = np.random.default_rng(0)
    return [
        Message((JOINTS, FRONT)[i % 2], 1_000 + 7 * (i // 3), b"\x00\x01\x00\x00" + rng.bytes(20 + 1000 * (i % 2)))
        for i in range(count)
    ]


def write(folder: Path, messages: list[Message], every: int = 7) -> BagWriter:
    writer = BagWriter(folder, TOPICS, CUSTOM)
    for number, message in enumerate(messages):
        writer.write(*message)
        if number % every == every - 1:
            writer.flush()
    return writer


def test_what_goes_in_comes_out_in_order(tmp_path: Path) -> None:
    messages = make_messages()
    write(tmp_path / "bag", messages).close()
    bag = Bag(tmp_path / "bag")
    assert list(bag.messages()) == messages
    assert (bag.topics, bag.custom) == (TOPICS, CUSTOM)


def test_only_the_topics_asked_for(tmp_path: Path) -> None:
    messages = make_messages()
    write(tmp_path / "bag", messages).close()
    assert list(Bag(tmp_path / "bag").messages({FRONT})) == [m for m in messages if m.topic == FRONT]


def test_an_empty_bag(tmp_path: Path) -> None:
    write(tmp_path / "bag", []).close()
    assert list(Bag(tmp_path / "bag").messages()) == []


def test_metadata_is_what_rosbag2_reads(tmp_path: Path) -> None:
    write(tmp_path / "bag", make_messages(50)).close()
    text = (tmp_path / "bag" / METADATA).read_text()
    info = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert "&id" not in text
    assert (info["version"], info["storage_identifier"], info["message_count"]) == (8, "mcap", 50)
    assert info["relative_file_paths"] == [FILE]
    assert info["starting_time"] == {"nanoseconds_since_epoch": 1000}
    assert info["duration"] == {"nanoseconds": 7 * 16}
    assert info["custom_data"] == CUSTOM
    topic = info["topics_with_message_count"][0]
    assert (topic["message_count"], topic["topic_metadata"]["offered_qos_profiles"]) == (25, "")
    assert topic["topic_metadata"]["type_description_hash"].startswith("RIHS01_")


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.data.test_bag import make_messages, write
writer = write(Path(sys.argv[1]), make_messages(), every=7)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writers_bag_holds_all_that_was_flushed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "bag"], cwd=root, check=False)
    assert done.returncode == -9
    assert not is_finished(tmp_path / "bag" / FILE)
    assert read_metadata(tmp_path / "bag" / FILE)["robot_learning"] == CUSTOM
    assert list(Bag(tmp_path / "bag").messages()) == make_messages()[:49]
    assert is_finished(tmp_path / "bag" / FILE)


@pytest.mark.parametrize("cut", [1, 30, 300, 3000, 5000])
def test_a_bag_cut_off_anywhere_is_readable(tmp_path: Path, cut: int) -> None:
    messages = make_messages()
    write(tmp_path / "bag", messages).close()
    path = tmp_path / "bag" / FILE
    (tmp_path / "bag" / METADATA).unlink()
    os.truncate(path, path.stat().st_size - cut)
    found = list(Bag(tmp_path / "bag").messages())
    assert found == messages[: len(found)]
    assert len(found) >= 35


@pytest.mark.parametrize(("begin", "whole"), [(1200, 0), (1340, 0), (5000, 7), (9000, 12), (15000, 21), (29000, 42)])
@pytest.mark.parametrize("zeros", ["tail", "page"])
def test_what_comes_before_the_zeros_of_a_power_cut_is_readable(
    tmp_path: Path, zeros: str, begin: int, whole: int
) -> None:
    messages, path = make_messages(), tmp_path / "bag" / FILE
    write(tmp_path / "bag", messages).close()
    (tmp_path / "bag" / METADATA).unlink()
    raw = path.read_bytes()
    after = raw[begin + 1500 :] if zeros == "page" else b""  # more bytes than a message has
    path.write_bytes(raw[:begin] + bytes(len(raw) - begin - len(after)) + after)
    found = list(Bag(tmp_path / "bag").messages())
    assert found[:-1] == messages[: len(found)][:-1]  # of the last one, the end may be among the zeros
    assert whole <= len(found) <= whole + 7
    assert is_finished(path)
    assert not after or path.with_name(f"{FILE}.torn").read_bytes().endswith(after)


def test_a_compressed_bag_of_another_recorder_is_left_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "bag", make_messages()).close()
    (tmp_path / "bag" / METADATA).unlink()
    path = tmp_path / "bag" / FILE
    raw = path.read_bytes()
    kind = raw.index(b"\x06" + (3425).to_bytes(8, "little")) + 9 + 28  # where the first chunk names its compression
    path.write_bytes(raw[:kind] + b"\x04\0\0\0zstd" + raw[kind + 8 :])
    before = path.read_bytes()
    with pytest.raises(BagError, match="uncompressed"):
        Bag(tmp_path / "bag")
    assert path.read_bytes() == before


def test_a_bag_that_is_being_recorded_is_refused(tmp_path: Path) -> None:
    writer = write(tmp_path / "bag", make_messages())
    with pytest.raises(BagError, match="being recorded by a living process"):
        Bag(tmp_path / "bag")
    writer.close()


def test_a_full_disk_keeps_the_whole_chunks(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag", TOPICS, CUSTOM)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the kernel refuses bytes beyond this
    try:
        with pytest.raises(OSError):
            for message in make_messages():
                writer.write(*message)
                writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.close()
    found = list(Bag(tmp_path / "bag").messages())
    assert 10 < len(found) < 50
    assert found == make_messages()[: len(found)]


def test_no_bag_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="found nothing"):
        Bag(tmp_path / "absent")
    with pytest.raises(BagError, match="ros2 bag reindex"):
        Bag(tmp_path)
