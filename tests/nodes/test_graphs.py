"""The description of the graphs: arguments, and the processes they lead to."""

from pathlib import Path

import pytest
import yaml

from robot_learning import paths
from robot_learning.nodes import graphs
from robot_learning.nodes.graphs import GRAPHS, GraphError, Process
from robot_learning.nodes.reference import node_configs
from robot_learning.training.demo_world import practice_arguments, record_arguments

NEEDED = {
    "policy": {"checkpoint": "last"},
    "record": {"dataset": "drawer"},
    "reward": {"model": "drawer"},
    "practice": {"run": "r", "checkpoint": "last", "reward": "drawer"},
}
EVERY = [
    *((name, NEEDED.get(name, {})) for name in GRAPHS),
    ("teleop", {"robot": "real", "device": "gamepad"}),
    ("record", {"dataset": "d", "operator": "scripted", "task": "open_drawer,close_drawer"}),
    ("policy", {"checkpoint": "c", "record": "true", "dataset": "d", "override": "keyboard", "task": "open_drawer"}),
    ("policy", {"checkpoint": "c", "robot": "real", "task": "open the drawer"}),
    (
        "practice",
        {"run": "r", "checkpoint": "c", "reward": "w", "robot": "real", "tasks": "open the lid,close the lid"},
    ),
    ("sim", {"reward": "r", "uncertain": "u", "question": "is it open?"}),
]


def by_name(name: str, **given: str) -> dict[str, Process]:
    return {process.name: process for process in GRAPHS[name].processes({**NEEDED.get(name, {}), **given})}


@pytest.mark.parametrize(("name", "given"), EVERY)
def test_nodes_have_the_parameters_they_are_given_and_of_that_type(name: str, given: dict[str, str]) -> None:
    configs = node_configs()
    for process in GRAPHS[name].processes(given):
        fields = configs[process.executable].__dataclass_fields__
        for parameter, value in process.parameters.items():
            if parameter == "use_sim_time":
                continue
            assert parameter in fields, f"{process.executable} has no parameter {parameter}; it has {list(fields)}"
            default = fields[parameter].default
            assert type(value) is (list if isinstance(default, tuple) else type(default)), (process.name, parameter)


def test_the_main_job_s_arguments_are_those_of_its_graphs() -> None:
    record = record_arguments(Path("d"), "open_drawer", (2, 1), 7, 3)
    (operator,) = [p for p in GRAPHS["record"].processes(record) if p.executable == "scripted_operator"]
    assert [operator.parameters[key] for key in ("tasks", "episodes", "failures", "seed")] == [["open_drawer"], 2, 1, 7]
    given = practice_arguments(Path("r"), Path("c"), Path("w"), ["open_drawer", "close_drawer"], 50, 7, 3)
    nodes = {process.name: process.parameters for process in GRAPHS["practice"].processes(given)}
    assert nodes["sim_robot"]["furniture"] == 3 and nodes["practice"]["steps"] == 50 and nodes["recorder"]["lockstep"]


@pytest.mark.parametrize("file", ["sim.yaml", "robot.yaml"])
def test_parameter_files_name_real_parameters(file: str) -> None:
    for node, content in yaml.safe_load(paths.config(file).read_text()).items():
        fields = node_configs()[node.removeprefix("/**/")].__dataclass_fields__
        assert set(content["ros__parameters"]) <= set(fields), (node, list(fields))


@pytest.mark.parametrize("name", GRAPHS)
def test_every_argument_says_what_it_is_and_has_a_valid_default(name: str) -> None:
    for argument in GRAPHS[name].arguments:
        assert argument.description
        assert not argument.choices or argument.default in argument.choices


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_has_a_launch_file(name: str) -> None:
    assert f'description("{name}")' in (paths.share() / "launch" / f"{name}.launch.py").read_text()


def test_an_unknown_argument_lists_the_valid_ones() -> None:
    with pytest.raises(GraphError, match=r"no argument 'sede'; did you mean seed\?\nvalid arguments: task, seed"):
        GRAPHS["sim"].processes({"sede": "1"})


def test_a_value_that_is_no_choice_lists_them() -> None:
    with pytest.raises(GraphError, match=r"lockstep:=yes: expected one of \['true', 'false'\]"):
        GRAPHS["sim"].processes({"lockstep": "yes"})


def test_a_missing_argument_is_described() -> None:
    with pytest.raises(GraphError, match=r"checkpoint:=.*Folder of the trained policy"):
        GRAPHS["policy"].processes({})


def test_an_unknown_task_of_the_playroom_lists_the_known_ones() -> None:
    with pytest.raises(GraphError, match=r"make tea.*open_drawer"):
        GRAPHS["sim"].processes({"task": "make tea"})


def test_words_that_are_no_argument_are_refused() -> None:
    with pytest.raises(GraphError, match="expected name:=value, found 'task=x'"):
        graphs.read_arguments(["task=x"])


def test_an_unknown_graph_lists_the_known_ones() -> None:
    with pytest.raises(GraphError, match="valid graphs: sim, teleop, record, policy, robot, practice, reward"):
        graphs.graph("simm")


def test_practice_is_told_its_tasks_and_those_that_recover() -> None:
    nodes = by_name("practice", tasks="sweep_object, grasp_lift", recover="open_drawer")
    assert nodes["practice"].parameters["tasks"] == [
        "sweep the block into the drawer",
        "lift the block out of the drawer",
    ]
    assert nodes["practice"].parameters["recover"] == ["open the drawer"]
    assert "recover" not in by_name("practice")["practice"].parameters


def test_in_practice_the_gate_holds_unless_all_who_take_part_are_well() -> None:
    nodes = by_name("practice")
    assert nodes["safety_gate"].parameters["watch"] == ["policy", "reward", "recorder", "practice"]
    assert nodes["sim_robot"].remappings == (("success", "sim_robot/success"),)
    assert nodes["practice"].parameters["tasks"] == ["open the drawer", "close the drawer"]
    assert not nodes["policy"].parameters["act_at_once"]


def test_the_learner_of_practice_begins_with_its_policy_or_is_elsewhere() -> None:
    learner = by_name("practice")["learner"].parameters
    assert Path(str(learner["start"])).name == "last" and Path(str(learner["run"])).name == "r"
    assert (
        by_name("practice")["practice"].parameters["checkpoint"] == learner["start"]
    )  # where its demonstrations began
    assert "learner" not in by_name("practice", learn="false")


def test_practice_that_goes_on_begins_with_the_newest_policy(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "last").mkdir(parents=True)
    nodes = by_name("practice", run=str(tmp_path))
    assert nodes["policy"].parameters["checkpoint"] == str(tmp_path / "checkpoints" / "last")
    assert nodes["learner"].parameters["start"] == str(Path("last").absolute())


def test_practice_goes_on_with_a_policy_whose_writer_was_killed_between_its_renames(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / ".last.previous").mkdir(parents=True)
    policy = by_name("practice", run=str(tmp_path))["policy"]
    assert policy.parameters["checkpoint"] == str(tmp_path / "checkpoints" / "last")


@pytest.mark.parametrize("robot", ["sim", "real"])
def test_in_practice_all_that_may_die_are_started_again(robot: str) -> None:
    nodes = by_name("practice", robot=robot)
    assert {name for name, node in nodes.items() if not node.respawn} <= {"sim_robot", "safety_gate", "practice"}
    assert not any(node.respawn and node.required for node in nodes.values())


def test_where_a_person_watches_nothing_is_started_again() -> None:
    assert not any(node.respawn for node in by_name("policy", record="true", dataset="d").values())


def test_on_a_real_robot_a_person_helps_practice() -> None:
    assert "help_service" not in by_name("practice", robot="real")["practice"].parameters


def test_a_task_s_name_becomes_the_instruction() -> None:
    nodes = by_name("policy", task="open_drawer")
    assert nodes["policy"].parameters["task"] == "open the drawer"
    assert nodes["sim_robot"].parameters["task"] == "open_drawer"


def test_lockstep_makes_the_policy_follow_the_frames() -> None:
    assert by_name("policy", lockstep="true")["policy"].parameters["trigger"] == "frames"
    assert by_name("policy")["policy"].parameters["trigger"] == "timer"


def test_on_a_real_robot_a_policy_waits_to_be_started_and_is_slow() -> None:
    nodes = by_name("policy", robot="real")
    assert nodes["policy"].parameters["act_at_once"] is False
    assert nodes["safety_gate"].parameters["speed_scale"] == 0.1
    assert nodes["safety_gate"].parameters["estop_required"] is True
    assert nodes["safety_gate"].parameters["command_rate"] == 125.0
    assert {"front_camera", "wrist_camera"} <= set(nodes)


def test_the_gate_watches_who_acts_and_records() -> None:
    nodes = by_name("policy", record="true", dataset="d")
    assert nodes["safety_gate"].parameters["watch"] == ["policy", "recorder"]


def test_a_simulated_robot_with_a_namespace_has_its_own_clock() -> None:
    assert by_name("sim", namespace="left")["safety_gate"].remappings == (("/clock", "clock"),)
    assert by_name("sim")["safety_gate"].remappings == ()


def test_where_a_reward_model_judges_the_simulation_keeps_its_success_to_itself() -> None:
    nodes = by_name("sim", reward="r", task="open_drawer", namespace="left")
    assert nodes["sim_robot"].remappings == (("/clock", "clock"), ("success", "sim_robot/success"))
    assert nodes["reward"].remappings == (("/clock", "clock"),)
    assert nodes["reward"].parameters["question"] == "is the drawer open?"
    assert "reward" not in by_name("sim")


def test_a_question_that_was_given_is_kept_to() -> None:
    nodes = by_name("robot", reward="r", question="is the towel folded?")
    assert nodes["reward"].parameters["question"] == "is the towel folded?"
    assert nodes["reward"].parameters["follow_task"] is False


@pytest.mark.parametrize("name", ["sim", "teleop", "policy", "robot"])
def test_the_gate_holds_for_no_reward_node(name: str) -> None:
    nodes = by_name(name, reward="r")
    assert "reward" in nodes and "reward" not in nodes["safety_gate"].parameters.get("watch", ())


def test_the_scripted_operator_needs_the_simulation() -> None:
    with pytest.raises(GraphError, match="needs robot:=sim"):
        GRAPHS["record"].processes({"dataset": "d", "operator": "scripted", "robot": "real"})


def test_a_parameter_file_that_is_not_there_is_named() -> None:
    with pytest.raises(GraphError, match=r"params_file:=mine.yaml: there is no such file"):
        GRAPHS["sim"].processes({"params_file": "mine.yaml"})


def test_the_person_s_dds_profile_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(graphs.PROFILE, raising=False)
    assert Path(graphs.environment()[graphs.PROFILE]).is_file()
    monkeypatch.setenv(graphs.PROFILE, "mine.xml")
    assert graphs.environment() == {}
