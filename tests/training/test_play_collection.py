from pathlib import Path

import pytest

from robot_learning.data import Dataset
from robot_learning.training.play_collection import PlayError, collect_play_in_parts


def test_parts_are_played_at_once_and_not_again(tmp_path: Path) -> None:
    roots = [tmp_path / "one", tmp_path / "two"]
    collect_play_in_parts(roots, minutes=0.1, seed=3, image_size=32)
    parts = [Dataset(root) for root in roots]
    assert [part.num_frames for part in parts] == [30, 30]
    assert [part.episode_info(0)["session"] for part in parts] == [3, 1003]
    before = [(root / "meta" / "info.json").stat().st_mtime_ns for root in roots]
    collect_play_in_parts(roots, minutes=0.1, seed=3, image_size=32)
    assert [(root / "meta" / "info.json").stat().st_mtime_ns for root in roots] == before


def test_what_goes_wrong_in_a_part_is_told(tmp_path: Path) -> None:
    collect_play_in_parts([tmp_path / "one"], minutes=0.05, seed=3, image_size=32)
    with pytest.raises(PlayError, match=r"(?s)one: .*observation\.images"):
        collect_play_in_parts([tmp_path / "one"], minutes=0.1, seed=3, image_size=64)
