"""The graphs of this package: which nodes run together, and what a person may choose about them.

`robot-learning up NAME` and the launch files start the very same processes from this one description. No ROS is needed to
read it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from robot_learning import paths
from robot_learning.contract import IMAGE_PREFIX, Contract
from robot_learning.folders import LAST, checkpoint_at, recovered
from robot_learning.nodes.graph_arguments import (
    BOOL,
    COMMON,
    DATASET,
    DEVICES,
    NO,
    REAL,
    RECORDING,
    RETRY,
    REWARD,
    ROBOT,
    SIMULATION,
    TASK,
    YES,
)  # fmt: skip
from robot_learning.nodes.graph_parts import Argument, Graph, GraphError, Process, Value, Values, read_arguments

__all__ = ["GRAPHS", "Argument", "Graph", "GraphError", "Process", "environment", "graph", "read_arguments", "show"]

PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"
PROFILES = (PROFILE, "FASTRTPS_DEFAULT_PROFILES_FILE")  # the second is the name before Kilted


def environment() -> dict[str, str]:
    """Variables that every process of a graph needs and the person has not set: the DDS profile."""
    if any(os.environ.get(name) for name in PROFILES):
        return {}
    return {PROFILE: str(paths.config("fastdds.xml"))}


def graph(name: str) -> Graph:
    """The graph of this name (`GraphError` lists the valid ones)."""
    if name not in GRAPHS:
        raise GraphError(f"there is no graph {name!r}; valid graphs: {', '.join(GRAPHS)}")
    return GRAPHS[name]


# --- nodes ---------------------------------------------------------------------------------------------------------------


def _flag(text: str) -> bool:
    return text == YES


def _number(values: Values, name: str, kind: type[int] | type[float] = float) -> int | float:
    try:
        return kind(values[name])
    except ValueError:
        raise GraphError(f"{name}:={values[name]}: expected {'a whole' if kind is int else 'a'} number") from None


def _is_simulated(values: Values) -> bool:
    return values.get("robot", "sim") == "sim" and "use_sim_time" in values


def _instruction(task: str) -> str:
    """What a policy or recorder is told: a playroom task's instruction, or the words themselves."""
    if not task or " " in task:
        return task
    from robot_learning.envs.tasks import TASKS  # imports MuJoCo

    return TASKS[task].instruction if task in TASKS else task


def _question(task: str) -> str:
    """What a reward model is asked about a playroom task, given by name or instruction; empty for other tasks."""
    if not task:
        return ""
    from robot_learning.envs.tasks import TASKS

    return next((known.question for name, known in TASKS.items() if task in (name, known.instruction)), "")


def _playroom_task(task: str) -> str:
    """The playroom's name of a task given by name or instruction (`GraphError`)."""
    from robot_learning.envs.tasks import TASKS

    for name, known in TASKS.items():
        if task in (name, known.instruction):
            return name
    raise GraphError(f"task:={task}: the playroom has no such task; valid: {', '.join(TASKS)}")


def _process(
    values: Values,
    executable: str,
    parameters: Mapping[str, Value],
    name: str = "",
    required: bool = False,
    terminal: bool = False,
) -> Process:
    """A node with what all nodes of a graph share."""
    simulated = _is_simulated(values)
    shared: dict[str, Value] = {"contract": _contract(values)}
    if simulated:
        shared["use_sim_time"] = _flag(values["use_sim_time"])
    files = [str(paths.config("sim.yaml" if simulated else "robot.yaml"))]
    if values["params_file"]:
        files.append(_file("params_file", values["params_file"]))
    # rclpy listens to the one absolute /clock: a robot with a namespace has its own clock
    clock = (("/clock", "clock"),) if simulated and values["namespace"] else ()
    # where a reward model judges, what the simulation knows of success is not for the others
    judged = (("success", "sim_robot/success"),) if executable == "sim_robot" and values.get("reward") else ()
    return Process(
        executable,
        name or executable,
        {**shared, **parameters},
        tuple(files),
        (*clock, *judged),
        required,
        terminal,
        values["log_level"],
    )


def _file(argument: str, value: str) -> str:
    path = os.path.abspath(os.path.expanduser(value))
    if not os.path.isfile(path):
        raise GraphError(f"{argument}:={value}: there is no such file")
    return path


def _policy_folder(values: Values) -> str:
    """The checkpoint, given as such or as the run that made it."""
    return str(checkpoint_at(Path(os.path.abspath(os.path.expanduser(values["checkpoint"])))))


def _contract(values: Values) -> str:
    """The contract's name, or its file wherever the node's working folder is."""
    given = values["contract"]
    return _file("contract", given) if given.endswith((".yaml", ".yml")) else given


def _sim_robot(values: Values) -> Process:
    parameters: dict[str, Value] = {
        "seed": _number(values, "seed", int),
        "furniture": _number(values, "furniture", int),
        "real_time_factor": _number(values, "real_time_factor"),
        "lockstep": _flag(values["lockstep"]),
        "publish_clock": _flag(values["use_sim_time"]),
    }
    if values.get("task"):
        parameters["task"] = _playroom_task(values["task"])
    return _process(values, "sim_robot", parameters, required=True)


def _cameras(values: Values) -> list[Process]:
    """One camera node for each picture of the contract, `front_camera` for observation.images.front."""
    keys = [key.removeprefix(IMAGE_PREFIX) for key in Contract.load(values["contract"]).images]
    return [_process(values, "camera", {"camera": key}, name=f"{key}_camera") for key in keys]


def _robot(values: Values, watch: Sequence[str] = ()) -> list[Process]:
    """The robot's side of the topics, and the safety gate, which holds while a node of `watch` is not well."""
    parameters: dict[str, Value] = {"watch": list(watch)} if watch else {}
    if _is_simulated(values):
        return [_sim_robot(values), _process(values, "safety_gate", parameters, required=True)]
    parameters["speed_scale"] = _number(values, "speed_scale")
    parameters["estop_required"] = _flag(values["estop_required"])
    parameters["command_rate"] = _number(values, "command_rate")
    gate = _process(values, "safety_gate", parameters, required=True)
    return [*(_cameras(values) if _flag(values["cameras"]) else []), gate]


def _teleop(values: Values, device: str) -> Process:
    keyboard = device == "keyboard"
    return _process(values, "teleop", {"device": device}, required=keyboard, terminal=keyboard)


def _reward(values: Values, model: str) -> Process:
    parameters: dict[str, Value] = {"model": os.path.abspath(os.path.expanduser(model))}
    if values["question"]:
        parameters |= {"question": values["question"], "follow_task": False}
    elif question := _question(values.get("task", "")):
        parameters["question"] = question
    if values["uncertain"]:
        parameters["uncertain_folder"] = os.path.abspath(os.path.expanduser(values["uncertain"]))
    return _process(values, "reward", parameters)


def _judges(values: Values) -> list[Process]:
    return [_reward(values, values["reward"])] if values["reward"] else []


def _recorder(values: Values) -> Process:
    parameters: dict[str, Value] = {
        "dataset": os.path.abspath(os.path.expanduser(values["dataset"])),
        "environment_state": _flag(values["environment_state"]),
        "bags": _flag(values["bags"]),
        "lockstep": _is_simulated(values) and _flag(values["lockstep"]),
    }
    instruction = _instruction(values["task"])
    if instruction:
        parameters["task"] = instruction
    return _process(values, "recorder", parameters)


def _robot_nodes(values: Values) -> list[Process]:
    return [*_robot(values), *_judges(values)]


def _reward_nodes(values: Values) -> list[Process]:
    return [_reward(values, values["model"])]


def _teleop_nodes(values: Values) -> list[Process]:
    return [*_robot(values, ["teleop"]), *_judges(values), _teleop(values, values["device"])]


def _record_nodes(values: Values) -> list[Process]:
    if values["operator"] != "scripted":
        operator = _teleop(values, values["operator"])
        return [*_robot(values, ["teleop", "recorder"]), _recorder(values), operator]
    if not _is_simulated(values):
        raise GraphError("operator:=scripted needs robot:=sim: it knows from the simulation where the objects are")
    tasks = [_playroom_task(task) for task in values["task"].split(",")] if values["task"] else ["open_drawer"]
    parameters: dict[str, Value] = {
        "tasks": tasks,
        **{name: _number(values, name, int) for name in ("episodes", "failures", "seed")},
    }
    operator = _process(values, "scripted_operator", parameters, required=True)  # done with the last episode
    values = {**values, "task": tasks[0]}  # the operator asks for the others
    return [*_robot(values, ["recorder"]), _recorder(values), operator]


def _policy_nodes(values: Values) -> list[Process]:
    record, override = _flag(values["record"]), values["override"]
    if record and not values["dataset"]:
        raise GraphError("record:=true needs dataset:=FOLDER")
    lockstep = _is_simulated(values) and _flag(values["lockstep"])
    parameters: dict[str, Value] = {
        "checkpoint": _policy_folder(values),
        "act_at_once": _is_simulated(values) if values["act_at_once"] == "auto" else _flag(values["act_at_once"]),
        "trigger": "frames" if lockstep else "timer",
        "retry": _flag(values["retry"]),
    }
    if values["task"]:
        parameters["task"] = _instruction(values["task"])
    watch = ["policy", *(["teleop"] if override != "none" else []), *(["recorder"] if record else [])]
    processes = [*_robot(values, watch), _process(values, "policy", parameters), *_judges(values)]
    if record:
        processes.append(_recorder(values))
    if override != "none":
        processes.append(_teleop(values, override))
    return processes


def _practice_nodes(values: Values) -> list[Process]:
    """Actor, judge, recorder and conductor; the learner too, unless it runs elsewhere."""
    run = os.path.abspath(os.path.expanduser(values["run"]))
    simulated, start = _is_simulated(values), _policy_folder(values)
    named = {name: values[name].split(",") for name in ("tasks", "recover") if values[name].strip()}
    newest = Path(run, LAST)
    policy: dict[str, Value] = {
        "checkpoint": str(newest) if recovered(newest).is_dir() else start,
        "act_at_once": False,
        "trigger": "frames" if simulated and _flag(values["lockstep"]) else "timer",
        "explore": _number(values, "explore"),
    }
    practice: dict[str, Value] = {"run": run, "checkpoint": start}
    practice |= {name: [_instruction(task.strip()) for task in tasks] for name, tasks in named.items()}
    practice |= {name: _number(values, name, int) for name in ("steps", "episode_ticks")}
    practice["seed"] = _number(values, "seed", int) if simulated else 0
    if simulated:
        practice |= {"help_service": "sim_robot/reset", "truth_topic": "sim_robot/success"}
    values = {**values, "task": "", "dataset": os.path.join(run, "practice"), "environment_state": NO}
    nodes = [
        *_robot(values, ["policy", "reward", "recorder", "practice"]),
        _process(values, "policy", policy),
        *_judges(values),
        _recorder(values),
        *([_process(values, "learner", {"run": run, "start": start})] if _flag(values["learn"]) else []),
        _process(values, "practice", practice, required=True),
    ]
    return [replace(node, respawn=not node.required) for node in nodes]  # nobody may be there to do it


GRAPHS: dict[str, Graph] = {
    g.name: g
    for g in (
        Graph("sim", "The simulated robot and its safety gate", (TASK, *SIMULATION, *REWARD, *COMMON), _robot_nodes),
        Graph(
            "teleop",
            "Move the robot by keyboard or gamepad",
            (
                ROBOT,
                Argument("device", "What moves it", "keyboard", DEVICES),
                TASK,
                *SIMULATION,
                *REAL,
                *REWARD,
                *COMMON,
            ),
            _teleop_nodes,
        ),
        Graph(
            "record",
            "Collect demonstrations into a dataset",
            (
                Argument("dataset", DATASET, None),
                Argument("operator", "Who demonstrates", "keyboard", (*DEVICES, "scripted")),
                Argument("episodes", "Scripted operator: how many demonstrations to record of each task", "20"),
                Argument("failures", "Scripted operator: how many more that fail on purpose", "0"),
                *(ROBOT, TASK, *RECORDING, *SIMULATION, *REAL, *COMMON),
            ),
            _record_nodes,
        ),
        Graph(
            "policy",
            "Let a trained policy act, and a person override it",
            (
                Argument("checkpoint", "Folder of the trained policy, or of the run that trained it", None),
                Argument(
                    "act_at_once",
                    "Act as soon as everything is up, or after the service policy/start; auto: at once in simulation only",
                    "auto",
                    ("auto", *BOOL),
                ),
                Argument("override", "What a person overrides the policy with", "none", ("none", *DEVICES)),
                Argument("record", "Record what happens", NO, BOOL),
                Argument("dataset", f"With record:=true. {DATASET}"),
                *(RETRY, ROBOT, TASK, *RECORDING, *SIMULATION, *REAL, *REWARD, *COMMON),
            ),
            _policy_nodes,
        ),
        Graph(
            "robot",
            "A real robot: its cameras and its safety gate, at a tenth of the speed",
            (*REAL, *REWARD, *COMMON),
            _robot_nodes,
        ),
        Graph(
            "practice",
            "Practise by itself: forward, backward, forward again, judged by a reward model",
            (
                Argument("run", "Folder of the run; gone on with where there is one", None),
                Argument(
                    "checkpoint", "The clone to begin with, which reads pictures: its folder, or that of its run", None
                ),
                Argument(
                    "tasks",
                    "The cycle, separated by commas: a task and the one that undoes it",
                    "open_drawer,close_drawer",
                ),
                Argument("recover", "Tasks that make those possible again, tried when it gets nowhere", ""),
                Argument("steps", "Control ticks to practise for in all", "30000"),
                Argument("episode_ticks", "Control ticks after which an attempt has failed", "100"),
                Argument("explore", "Share of the episodes with noise on the policy's actions", "0.5"),
                Argument(
                    "learn",
                    "Start the learner here; false where it runs on another machine, or nothing is learned",
                    YES,
                    BOOL,
                ),
                ROBOT,
                *(replace(REWARD[0], default=None), *REWARD[1:], RECORDING[1], *SIMULATION, *REAL, *COMMON),
            ),
            _practice_nodes,
        ),
        Graph(
            "reward",
            "Judge success from the pictures of a robot that runs already",
            (
                Argument("model", "Folder of the reward model", None),
                *(ROBOT, TASK, *REWARD[1:], SIMULATION[-1], *COMMON),
            ),
            _reward_nodes,
        ),
    )
}


def show(selected: Graph) -> str:
    """A graph and its arguments, for people."""
    lines = [f"{selected.name}: {selected.description}"]
    for argument in selected.arguments:
        default = "must be given" if argument.default is None else f"default '{argument.default}'"
        choices = f"; one of {', '.join(argument.choices)}" if argument.choices else ""
        lines += [f"  {argument.name}:=", f"      {argument.description} ({default}{choices})"]
    return "\n".join(lines)
