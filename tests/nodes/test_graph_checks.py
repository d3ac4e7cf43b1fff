"""What is refused before a graph is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_learning import paths
from robot_learning.nodes.graph_checks import check, check_parameters
from robot_learning.nodes.graph_parts import GraphError, Process
from robot_learning.nodes.graphs import GRAPHS

NODES = [Process("sim_robot", "sim_robot"), Process("safety_gate", "safety_gate"), Process("camera", "front_camera")]


def given(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return file


def of(node: str, parameter: str) -> str:
    return f"{node}:\n  ros__parameters:\n    {parameter}: 1\n"


@pytest.mark.parametrize("node", ["safety_gate", "/safety_gate", "/**/safety_gate", "/left/safety_gate"])
def test_a_misspelt_parameter_is_refused(tmp_path: Path, node: str) -> None:
    with pytest.raises(
        GraphError, match=r"mine\.yaml: .*safety_gate has no parameter 'speed_scal'; did you mean speed_scale\?"
    ):
        check_parameters(given(tmp_path, of(node, "speed_scal")), NODES)


def test_within_a_namespace_as_well(tmp_path: Path) -> None:
    file = given(tmp_path, "left:\n  safety_gate:\n    ros__parameters:\n      speed_scal: 0.1\n")
    with pytest.raises(GraphError, match="'speed_scal'"):
        check_parameters(file, NODES)


@pytest.mark.parametrize(
    ("node", "parameter"),
    [
        ("safety_gate", "speed_scale"),
        ("front_camera", "source"),
        ("/**", "use_sim_time"),
        ("/**", "seed"),
        ("safety_gate", "qos_overrides./tf.publisher.depth"),
    ],
)
def test_what_a_node_has_is_taken(tmp_path: Path, node: str, parameter: str) -> None:
    check_parameters(given(tmp_path, of(node, parameter)), NODES)


def test_a_parameter_for_all_must_be_one_of_some_node(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="'sed'; did you mean seed"):
        check_parameters(given(tmp_path, of("/**", "sed")), NODES)


def test_other_nodes_may_be_in_the_file(tmp_path: Path) -> None:
    check_parameters(given(tmp_path, of("safety_gate", "speed_scale") + of("my_driver", "anything")), NODES)


def test_a_file_about_none_of_the_nodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        GraphError, match="sets parameters of /safty_gate; the nodes of this graph are sim_robot, safety_gate"
    ):
        check_parameters(given(tmp_path, of("/safty_gate", "speed_scale")), NODES)


@pytest.mark.parametrize("text", ["hello\n", "", "[1, 2]\n", "safety_gate:\n  speed_scale: 0.1\n"])
def test_what_holds_no_parameters_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(GraphError, match="expected parameters of nodes, such as"):
        check_parameters(given(tmp_path, text), NODES)


def test_what_is_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"mine\.yaml is not valid YAML"):
        check_parameters(given(tmp_path, "a: [1"), NODES)


@pytest.mark.parametrize("name", ["sim.yaml", "robot.yaml"])
def test_the_package_s_own_files_hold_what_nodes_have(name: str) -> None:
    check_parameters(paths.config(name), NODES)


@pytest.mark.parametrize(
    ("place", "found"), [("nothing", "nothing"), (".", "a folder without config.json"), ("file", "a file")]
)
def test_a_checkpoint_that_is_not_there_is_refused_before_anything_starts(
    tmp_path: Path, place: str, found: str
) -> None:
    (tmp_path / "file").touch()
    graph = GRAPHS["policy"]
    values = graph.values({"checkpoint": str(tmp_path / place)})
    with pytest.raises(GraphError, match=f"expected the folder of a checkpoint.*; found {found} at"):
        check(values, graph.nodes(values))


@pytest.mark.parametrize("where", [".", "checkpoints/last"])
def test_a_checkpoint_may_be_given_as_its_run(tmp_path: Path, where: str) -> None:
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    (tmp_path / where / "config.json").touch()
    graph = GRAPHS["policy"]
    values = graph.values({"checkpoint": str(tmp_path)})
    check(values, graph.nodes(values))


def test_a_reward_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    graph = GRAPHS["reward"]
    values = graph.values({"model": str(tmp_path)})
    with pytest.raises(GraphError, match=r"model:=.*expected the folder of a reward model"):
        check(values, graph.nodes(values))
