"""A graph in a process of its own, with a stand-in for the command line: how its end is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from robot_learning.training import graph_process
from robot_learning.training.graph_process import GraphFailedError, command, run_graph


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python that runs `script.py` instead of the command line."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "script.py"} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(graph_process.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(graph_process, "POLL", 0.01)
    return tmp_path / "script.py"


def test_the_command_is_what_a_person_would_type() -> None:
    assert command("record", {"task": "wipe the table"}) == "robot-learning up record 'task:=wipe the table'"


def test_it_waits_for_the_end_and_keeps_what_was_printed(stand_in: Path, tmp_path: Path) -> None:
    stand_in.write_text("import sys; print('heard', sys.argv[3:])")
    run_graph("record", {"seed": "1"}, tmp_path / "logs" / "record.log")
    assert "heard ['up', 'record', 'seed:=1']" in (tmp_path / "logs" / "record.log").read_text()


def test_a_graph_that_fails_is_told_with_its_last_lines(stand_in: Path, tmp_path: Path) -> None:
    stand_in.write_text("import sys; print('the disk is full'); sys.exit(3)")
    with pytest.raises(GraphFailedError, match=r"exit code 3(.|\n)*record.log(.|\n)*the disk is full"):
        run_graph("record", {}, tmp_path / "record.log")


def test_ctrl_c_stops_the_graph_as_its_own_would(stand_in: Path, tmp_path: Path) -> None:
    stand_in.write_text(
        "import pathlib, signal, sys, threading\n"
        "def end(*_):\n    pathlib.Path(sys.argv[0]).with_name('stopped').touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGINT, end)\n"
        "pathlib.Path(sys.argv[0]).with_name('ready').touch()\n"
        "signal.pause()\n"
    )

    def look() -> None:
        if (tmp_path / "ready").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_graph("practice", {}, tmp_path / "practice.log", look)
    assert (tmp_path / "stopped").exists()


def test_without_ros_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_process.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GraphFailedError, match=r"pip install '\.\[ros\]'.*--no-ros"):
        run_graph("record", {}, tmp_path / "record.log")
