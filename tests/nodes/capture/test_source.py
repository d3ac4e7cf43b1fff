"""Sources of pictures: files, the test pattern, and what they say when there is nothing to read."""

from __future__ import annotations

import shutil
import time

import cv2
import numpy as np
import pytest

from robot_learning.nodes.capture.source import (
    FileSource,
    LiveSource,
    Pace,
    SourceEnded,
    SourceError,
    TestPattern,
    Wish,
    driver_age,
    is_file,
    open_source,
)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Ten pictures, each brighter than the one before."""
    path = tmp_path_factory.mktemp("video") / "ten.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 100.0, (64, 48))
    for i in range(10):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()
    return str(path)


def brightness(source, count):
    return [source.read()[0].mean() for _ in range(count)]


def test_a_file_is_played_in_order_and_once(video):
    source = open_source(video, Wish(rate=1000.0), loop=False)
    assert brightness(source, 10) == pytest.approx([20 * i for i in range(10)], abs=3)
    with pytest.raises(SourceEnded):
        source.read()


def test_a_file_in_a_loop_begins_again(video):
    source = FileSource(video, Wish(rate=1000.0), loop=True)
    assert brightness(source, 13)[10:] == pytest.approx([0, 20, 40], abs=3)


def test_a_file_that_disappears_while_it_is_played_is_lost(video, tmp_path):
    copy = tmp_path / "copy.avi"
    shutil.copy(video, copy)
    source = FileSource(str(copy), Wish(rate=1000.0), loop=True)
    copy.unlink()
    with pytest.raises(SourceError, match=r"copy\.avi"):
        brightness(source, 11)


def test_the_test_pattern_moves_and_has_the_size_asked_for():
    source = TestPattern(Wish(height=48, width=64, rate=1000.0))
    first, second = source.read()[0], source.read()[0]
    assert first.shape == (48, 64, 3) and first.dtype == np.uint8
    assert np.array_equal(first[:, 4:], second[:, :-4]) and not np.array_equal(first, second)


def test_the_test_pattern_is_vga_by_default():
    assert TestPattern(Wish()).read()[0].shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("0", False),
        ("/dev/video2", False),
        ("rtsp://camera/1", False),
        ("test", False),
        ("test@0.008", False),
        ("clip.mp4", True),
        ("/tmp/0", True),
    ],
)
def test_what_is_a_file(source, expected):
    assert is_file(source) is expected


def test_a_missing_device_is_named(capfd):
    with pytest.raises(SourceError, match=r"/dev/video63"):
        LiveSource("/dev/video63", Wish())


def test_a_missing_file_is_named():
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        open_source("nowhere.mp4", Wish())


def test_a_file_that_is_no_video_is_refused(tmp_path, capfd):
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")
    with pytest.raises(SourceError, match=r"notes\.mp4"):
        FileSource(str(path), Wish(), loop=True).read()


@pytest.mark.parametrize(
    ("stamp", "age"),
    [(99_950.0, 0.05), (40.0, 0.0), (0.0, 0.0), (100_050.0, 0.0)],
    ids=["v4l", "file", "none", "future"],
)
def test_only_a_driver_s_stamp_on_the_monotonic_clock_counts(stamp, age):
    assert driver_age(stamp, monotonic=100.0) == pytest.approx(age)


def test_a_pace_is_not_hurried_after_a_pause():
    pace = Pace(20.0)
    pace.wait()
    pace._next -= 10.0  # as if the reader had been away for ten seconds
    pace.wait()
    begun = time.monotonic()
    pace.wait()
    assert time.monotonic() - begun > 0.03


@pytest.mark.parametrize("phase", [0.0, 0.01, 0.049])
def test_a_pace_with_a_phase_begins_there_in_the_clock_s_period(phase):
    pace = Pace(20.0, phase)
    assert (pace._next - phase) / 0.05 == pytest.approx(round((pace._next - phase) / 0.05), abs=1e-4)


@pytest.mark.parametrize("source", ["test@soon", "test@nan", "test@inf"])
def test_a_phase_that_is_no_number_is_refused(source):
    with pytest.raises(SourceError, match=rf"{source}.*test@0\.008"):
        open_source(source, Wish())
