"""VideoReader: random reads equal a straight read, whatever was read before."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from robot_learning.data.decoder import VideoReader
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
