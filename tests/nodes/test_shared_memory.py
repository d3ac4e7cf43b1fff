"""Segments of dead processes are removed, those of living ones are not."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from robot_learning.nodes.base import latched
from robot_learning.nodes.shared_memory import FOLDER, remove_abandoned, sparing_dead_ports


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


def locks_of(pid: int) -> set[Path]:
    """The lock files of segments, not ports, that a process holds open."""
    held = {Path(os.readlink(link)) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    return {path for path in held if path.parent == FOLDER and path.name.endswith("_el") and "port" not in path.name}


def test_a_killed_node_leaves_segments_that_can_be_told_from_a_living_ones(graph, tmp_path: Path) -> None:
    """Holds what the module believes about Fast DDS against the one that is installed, seen through links to its files."""
    node = graph.node()
    names = ("spared", "doomed")
    spared, process = (graph.start("safety_gate", "-r", f"__node:={name}") for name in names)
    graph.until(lambda: set(names) <= set(node.get_node_names()), "both gates")
    living, doomed = locks_of(spared.pid), locks_of(process.pid)
    graph.kill(process)
    seen = tmp_path / "shm"
    seen.mkdir()
    for lock in living | doomed:
        for path in (lock, lock.with_name(lock.name.removesuffix("_el"))):
            (seen / path.name).symlink_to(path)
    remove_abandoned(seen, min_age=0)
    left = {path.name for path in seen.glob("*_el")}
    assert living and doomed and not {path.name for path in doomed} & left
    assert {path.name for path in living} <= left


@contextmanager
def somebody(folder: Path) -> Iterator[None]:
    """Another process that lives, with a port of its own."""
    make(folder, "fastdds_port7413")
    with (folder / "fastdds_port7413_el").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    with path.with_name(f"{path.name}_el").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_dead_port_is_locked_while_it_lasts(tmp_path: Path) -> None:
    port = make(tmp_path, "fastdds_port7411")
    with somebody(tmp_path):
        with sparing_dead_ports(tmp_path) as first, sparing_dead_ports(tmp_path) as second:
            assert first == second == {"fastdds_port7411"}
            assert is_locked(port)
        assert not is_locked(port)


def test_a_dead_port_may_be_taken_where_nobody_lives(tmp_path: Path) -> None:
    port = make(tmp_path, "fastdds_port7411")
    with sparing_dead_ports(tmp_path) as spared:
        assert not spared and not is_locked(port)


def test_of_a_port_that_is_passed_over_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "fastdds_port7411")
    lines = "Failed init_port fastdds_port7411: locked\n", "Failed init_port fastdds_port7412: locked\n", "another\n"
    with somebody(tmp_path), sparing_dead_ports(tmp_path):
        os.write(2, "".join(lines).encode())
    assert capfd.readouterr().err == "".join(lines[1:])


def test_what_was_said_before_an_error_is_not_lost(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "fastdds_port7411")
    with somebody(tmp_path), pytest.raises(OSError, match="no network"), sparing_dead_ports(tmp_path):
        os.write(2, b"careful\n")
        raise OSError("no network")
    assert capfd.readouterr().err == "careful\n"


def ports_of(pid: int) -> set[str]:
    """The lock files of the ports at which a process listens."""
    held = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    return {path for path in held if path.startswith(f"{FOLDER}/fastdds_port") and path.endswith("_el")}


def test_a_node_that_is_started_again_does_not_listen_where_the_killed_one_did(graph) -> None:
    """With the Fast DDS that is installed: somebody who wrote to the dead one is still there."""
    node = graph.node()

    def start() -> subprocess.Popen[bytes]:
        """A gate that is up; while it looks for its ports it holds those of all dead ones, too."""
        process, said = graph.start("safety_gate"), list[DiagnosticStatus]()
        node.create_subscription(DiagnosticStatus, "/safety_gate/state", said.append, latched())
        graph.until(lambda: said and ports_of(process.pid), "the gate's word")
        return process

    killed = start()
    before = ports_of(killed.pid)
    graph.kill(killed)
    again = start()
    graph.until(lambda: not before & ports_of(again.pid), "a gate that listens elsewhere")
    assert "init_port" not in again.log.read_text()  # type: ignore[attr-defined]
