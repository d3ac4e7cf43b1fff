"""The launch files under the real launch stack; skipped where it is not installed (the ROS wheels of pip lack it)."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="ros2 launch is not installed here: it comes with a ROS installation")

from launch.actions import DeclareLaunchArgument, ExecuteProcess, GroupAction, OpaqueFunction
from launch_ros.actions import Node, PushRosNamespace

from launch import LaunchContext, LaunchService
from robot_learning.nodes import launching
from robot_learning.nodes.graphs import GRAPHS, Argument, Graph, Process
from robot_learning.nodes.launching import description
from robot_learning.nodes.respawning import Respawns

NEEDED = {
    "policy": {"checkpoint": "last"},
    "record": {"dataset": "drawer"},
    "reward": {"model": "drawer"},
    "practice": {"run": "r", "checkpoint": "last", "reward": "drawer"},
}


def actions(name: str, **given: str) -> list[object]:
    """What the launch description of a graph starts for these arguments."""
    entities = description(name).entities
    context = LaunchContext()
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            value = given.get(entity.name)
            if value is not None:
                context.launch_configurations[entity.name] = value
            else:
                entity.execute(context)
    (start,) = [entity for entity in entities if isinstance(entity, OpaqueFunction)]
    return list(start.execute(context) or [])


def group(name: str, **given: str) -> list[object]:
    (found,) = [action for action in actions(name, **given) if isinstance(action, GroupAction)]
    return list(found.get_sub_entities())


@pytest.mark.parametrize("name", GRAPHS)
def test_arguments_are_those_of_the_graph_and_described(name: str) -> None:
    declared = {e.name: e for e in description(name).entities if isinstance(e, DeclareLaunchArgument)}
    assert list(declared) == [argument.name for argument in GRAPHS[name].arguments]
    for argument in GRAPHS[name].arguments:
        assert argument.description in declared[argument.name].description


@pytest.mark.parametrize("name", GRAPHS)
def test_nodes_are_those_of_the_graph(name: str) -> None:
    given = NEEDED.get(name, {})
    nodes = [entity for entity in group(name, **given) if isinstance(entity, Node)]
    assert len(nodes) == len(GRAPHS[name].processes(given))


def test_a_namespace_is_pushed_once_and_only_if_given() -> None:
    assert sum(isinstance(entity, PushRosNamespace) for entity in group("sim", namespace="left")) == 1
    assert not any(isinstance(entity, PushRosNamespace) for entity in group("sim"))


def launch_programs(monkeypatch: pytest.MonkeyPatch, programs: dict[str, str], nodes: list[Process], *args: str) -> int:
    """Launch a graph whose nodes are plain programs; the exit code when it ends by itself."""
    monkeypatch.setattr(
        launching, "_node", lambda p: ExecuteProcess(cmd=[sys.executable, "-c", programs[p.name], *args])
    )
    graph = Graph("tiny", "Two programs", (Argument("namespace", "None"),), lambda _: nodes)
    monkeypatch.setitem(GRAPHS, "tiny", graph)
    service = LaunchService()
    service.include_launch_description(description("tiny"))
    watchdog = threading.Timer(60, lambda: service.shutdown())
    watchdog.start()
    try:
        code: int = service.run()
        assert watchdog.is_alive(), "nothing shut the graph down"
    finally:
        watchdog.cancel()
    return code


@pytest.mark.parametrize("code", [0, 3])
def test_a_required_node_that_ends_shuts_everything_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    """The gate ends as soon as the robot runs, which would do so for ever: it is told to stop."""
    log = tmp_path / "log"
    gate = f"import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.02)\nsys.exit({code})"
    robot = (
        "import signal, sys, time\n"
        "log = open(sys.argv[1], 'a', buffering=1)\n"
        "def stop(*_):\n    log.write(' stopped')\n    sys.exit()\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "log.write('running')\n"
        "while True: time.sleep(1)"
    )
    nodes = [Process("gate", "gate", required=True), Process("robot", "robot")]
    launch_programs(monkeypatch, {"gate": gate, "robot": robot}, nodes, str(log))
    assert log.read_text() == "running stopped"


def test_a_node_that_dies_is_started_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The node is a plain program here: its third start ends the graph's required one."""
    starts, program = tmp_path / "starts", "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(3)"
    gate = f"import os, time\nwhile not os.path.exists({str(starts)!r}) or os.path.getsize({str(starts)!r}) < 3: time.sleep(0.02)"
    nodes = [Process("gate", "gate", required=True), Process("policy", "policy", respawn=True)]
    monkeypatch.setattr(launching, "Respawns", lambda: Respawns(shortest=0.02))
    assert launch_programs(monkeypatch, {"gate": gate, "policy": program}, nodes, str(starts)) == 0
    assert starts.read_text().startswith("xxx")


@pytest.mark.skipif(shutil.which("ros2") is None, reason="the ros2 command is not installed here")
class TestRos2:
    def test_show_args_reads_well(self) -> None:
        done = subprocess.run(
            ["ros2", "launch", "robot_learning", "policy.launch.py", "--show-args"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        for argument in GRAPHS["policy"].arguments:
            assert f"'{argument.name}':\n        {argument.description}" in done.stdout

    def test_the_simulation_comes_up_below_its_namespace_and_stops_on_ctrl_c(self, tmp_path: Path) -> None:
        environment = {**os.environ, "ROS_LOG_DIR": str(tmp_path)}
        launch = subprocess.Popen(
            ["ros2", "launch", "robot_learning", "sim.launch.py", "namespace:=left"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        watchdog = threading.Timer(120, launch.kill)
        watchdog.start()
        lines = []
        assert launch.stdout is not None
        for line in launch.stdout:
            lines.append(line)
            if "[left.sim_robot]: running" in line:
                break
        launch.send_signal(signal.SIGINT)
        lines += launch.stdout.readlines()
        watchdog.cancel()
        assert launch.wait(30) == 0, "".join(lines)
        assert sum("process has finished cleanly" in line for line in lines) == 2, "".join(lines)
