"""Segments of dead processes are removed, those of living ones are not."""

import fcntl
from pathlib import Path

from robot_learning.nodes.shared_memory import FOLDER, remove_abandoned


def make(folder: Path, name: str) -> Path:
    segment = folder / name
    segment.write_bytes(bytes(8192))
    (folder / f"{name}_el").touch()
    return segment


def test_an_abandoned_segment_goes(tmp_path: Path) -> None:
    segment = make(tmp_path, "fastdds_0123456789abcdef")
    assert remove_abandoned(tmp_path, min_age=0) >= 8192
    assert not segment.exists() and not list(tmp_path.iterdir())


def test_a_segment_in_use_stays(tmp_path: Path) -> None:
    segment = make(tmp_path, "fastdds_0123456789abcdef")
    with (tmp_path / f"{segment.name}_el").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_abandoned(tmp_path, min_age=0) == 0
    assert segment.exists()


def test_a_segment_that_is_just_being_made_stays(tmp_path: Path) -> None:
    segment = make(tmp_path, "fastdds_0123456789abcdef")
    assert remove_abandoned(tmp_path, min_age=60) == 0
    assert segment.exists()


def test_other_files_stay(tmp_path: Path) -> None:
    for name in ("fastdds_port7411", "fastdds_port7411_el", "mine_el", "fastdds_0123_el"):
        (tmp_path / name).touch()
    assert remove_abandoned(tmp_path, min_age=0) == 0
    assert len(list(tmp_path.iterdir())) == 4


def test_a_killed_node_leaves_segments_that_can_be_told_from_a_living_ones(graph) -> None:
    """Holds what the module believes about Fast DDS against the one that is installed."""
    before = {path.name for path in FOLDER.glob("*_el")}
    node = graph.node()
    living = {path.name for path in FOLDER.glob("*_el")} - before
    process = graph.start("safety_gate")
    graph.until(lambda: "safety_gate" in node.get_node_names(), "the gate")
    doomed = {path.name for path in FOLDER.glob("*_el")} - before - living
    process.kill()
    process.wait()
    remove_abandoned(min_age=0)
    left = {path.name for path in FOLDER.glob("*_el")}
    segments = {name for name in doomed if "port" not in name}
    assert segments and not segments & left
    assert {name for name in living if "port" not in name} <= left
