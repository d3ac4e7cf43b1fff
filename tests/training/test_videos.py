from pathlib import Path

import av
import numpy as np
import pytest

from robot_learning.training import videos
from robot_learning.training.videos import side_by_side, write_video


def test_cameras_stand_side_by_side_enlarged() -> None:
    left, right = np.full((2, 96, 96, 3), 10, np.uint8), np.full((2, 96, 96, 3), 200, np.uint8)
    joined = side_by_side([left, right])
    assert joined.shape == (2, 288, 576, 3)
    assert (joined[:, :, :288] == 10).all() and (joined[:, :, 288:] == 200).all()


def test_odd_sizes_become_even() -> None:
    assert side_by_side([np.zeros((1, 289, 301, 3), np.uint8)]).shape == (1, 288, 300, 3)


def test_a_video_has_its_frames_and_rate(tmp_path: Path) -> None:
    frames = np.stack([np.full((64, 96, 3), 20 * t, np.uint8) for t in range(8)])
    with av.open(str(write_video(tmp_path / "new" / "film.mp4", frames, 10.0))) as container:
        assert container.streams.video[0].average_rate == 10
        levels = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert levels == pytest.approx([20 * t for t in range(8)], abs=4)


def test_a_crash_leaves_no_half_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(videos.os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        write_video(tmp_path / "film.mp4", np.zeros((2, 64, 64, 3), np.uint8), 10.0)
    assert not (tmp_path / "film.mp4").exists()
