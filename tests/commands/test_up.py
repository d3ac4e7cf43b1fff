import re

import pytest

from robot_learning.commands import up
from robot_learning.commands.main import main
from robot_learning.nodes.graphs import GRAPHS, GraphError


def test_show_args_lists_every_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert up.run(up.Config("policy", show_args=True)) == 0
    shown = capsys.readouterr().out
    assert "checkpoint:=" in shown and "must be given" in shown and "namespace:=" in shown


def test_dry_run_prints_the_command_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert up.run(up.Config("sim", ("seed:=7",), dry_run=True)) == 0
    shown = capsys.readouterr().out
    assert "robot_learning.nodes.sim_robot" in shown and "seed:=7" in shown


def test_an_unknown_argument_is_refused_before_anything_starts() -> None:
    with pytest.raises(GraphError, match="valid arguments"):
        up.run(up.Config("sim", ("sede:=7",)))


def test_the_help_lists_all_graphs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "practice" in GRAPHS and all(f"\n{name}: " in (up.__doc__ or "") for name in GRAPHS)
    with pytest.raises(SystemExit):
        main(["up", "--help"])
    words = " ".join(re.sub("[^a-zA-Z,.: ]", " ", capsys.readouterr().out).split())
    assert f"Which graph: {', '.join(GRAPHS)}." in words


def test_without_ros_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(up.NoRosError, match=r"pip install '.\[ros\]'"):
        up.run(up.Config("sim"))
