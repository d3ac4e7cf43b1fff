"""VideoReader: random reads equal a straight read, whatever was read before."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from robot_learning.data import decoder
from robot_learning.data.decoder import OpenFilesError, VideoIndex, VideoReader
from robot_learning.data.files import DamagedDatasetError
from robot_learning.data.video import VideoConfig, VideoEncoder

CODINGS = {
    "keyframes.mp4": VideoConfig(),
    "pairs.mp4": VideoConfig(gop=2),
    "long.mp4": VideoConfig(gop=10),
    "dark.mp4": VideoConfig(),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, np.ndarray]:
    """Videos of several codings, the last a different picture, with their frames as PyAV decodes them from the start."""
    folder, found = tmp_path_factory.mktemp("videos"), {}
    for name, config in CODINGS.items():
        path = folder / name
        encoder = VideoEncoder(path, (32, 48, 3), 10, config)
        rng = np.random.default_rng(len(found))
        base = rng.integers(0, 256, (32, 48, 3)).astype(np.uint8)
        for t in range(20):
            encoder.write(np.roll(base, 2 * t, axis=1))
        encoder.close()
        with av.open(str(path)) as container:
            found[path] = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    return found


def test_random_reads_of_several_files_give_the_frames_of_a_straight_read(videos: dict[Path, np.ndarray]) -> None:
    reader, rng = VideoReader(), np.random.default_rng(0)
    for _ in range(200):
        path = list(videos)[rng.integers(len(videos))]
        numbers = rng.integers(0, 20, rng.choice([1, 1, 1, 3])).tolist()
        assert np.array_equal(reader.frames(path, numbers), videos[path][numbers])


def test_a_damaged_frame_does_not_spoil_the_next_read(videos: dict[Path, np.ndarray], tmp_path: Path) -> None:
    whole = next(iter(videos))
    reader = VideoReader()
    index, damaged = reader.index(whole), tmp_path / "damaged.mp4"
    data = bytearray(whole.read_bytes())
    place = index.position[7] + 8
    data[place : place + index.size[7] - 8] = bytes(index.size[7] - 8)
    damaged.write_bytes(data)
    assert np.array_equal(reader.frames(damaged, [3])[0], videos[whole][3])
    with pytest.raises(DamagedDatasetError, match="frames that decode"):
        reader.frames(damaged, [7])
    assert np.array_equal(reader.frames(whole, [8])[0], videos[whole][8])


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_reader_that_nobody_holds_any_more_leaves_no_file_open(videos: dict[Path, np.ndarray]) -> None:
    before = open_files()
    reader = VideoReader()
    for path in videos:
        reader.frames(path, [0])
    assert open_files() == before + len(videos)
    del reader
    assert open_files() == before


@contextmanager
def room_for(files: int) -> Iterator[None]:
    """This process may open so many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("at_second_opening", [False, True])
def test_too_many_open_files_are_no_damage(
    videos: dict[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch, at_second_opening: bool
) -> None:
    path, reader = next(iter(videos)), VideoReader()
    if at_second_opening:  # it was demuxed, and then another thread took the last number
        index = VideoIndex(path)
        monkeypatch.setattr(decoder, "VideoIndex", lambda *_: index)
    with room_for(0), pytest.raises(OpenFilesError, match=f"{path}.*ulimit -n"):
        reader.frames(path, [0])
    assert np.array_equal(reader.frames(path, [3])[0], videos[path][3])
