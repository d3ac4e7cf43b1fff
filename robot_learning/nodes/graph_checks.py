"""What can be said before a graph is started: files that are not there, and parameters that no node has."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from robot_learning.folders import checkpoint_at, recovered
from robot_learning.nodes import parameters
from robot_learning.nodes.graph_parts import GraphError, Process, Values

PARAMETERS = "ros__parameters"
OF_ROS = ("use_sim_time", "start_type_description_service", "qos_overrides")
FOLDERS = {
    "checkpoint": "a checkpoint, or of the run that trained it",
    "reward": "a reward model (robot-learning reward train)",
    "model": "a reward model (robot-learning reward train)",
}
MARK = "config.json"  # in each of these folders


def check(values: Values, processes: Sequence[Process]) -> None:
    """Both checks.

    Raises:
        GraphError: an argument names a folder that is none of its kind, or `params_file` sets what no node has.
    """
    for argument, kind in FOLDERS.items():
        if values.get(argument):
            _check_folder(argument, values[argument], kind)
    if values.get("params_file"):
        check_parameters(Path(os.path.abspath(os.path.expanduser(values["params_file"]))), processes)


def _check_folder(argument: str, given: str, kind: str) -> None:
    path = Path(os.path.abspath(os.path.expanduser(given)))
    if (recovered(checkpoint_at(path)) / MARK).is_file():
        return
    found = "a folder without config.json" if path.is_dir() else "a file" if path.exists() else "nothing"
    raise GraphError(f"{argument}:={given}: expected the folder of {kind}; found {found} at {path}")


def check_parameters(file: Path, processes: Sequence[Process]) -> None:
    """Look at each parameter that a YAML file has for the nodes of these processes.

    Raises:
        GraphError: the file is no such file, is about none of these nodes, or names a parameter that its node has not.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GraphError(f"{file} is not valid YAML: {error}") from None
    settings = list(_settings(content, "")) if isinstance(content, Mapping) else []
    if not settings:
        raise GraphError(
            f"{file}: expected parameters of nodes, such as\n/**/safety_gate:\n  {PARAMETERS}:\n    speed_scale: 0.1\n"
            f"found {content if isinstance(content, str) else type(content).__name__ if content else 'nothing'!r}"
        )
    executables = {process.name: process.executable for process in processes}
    matched = False
    for name, given in settings:
        wanted = name.rsplit("/", 1)[-1]
        nodes = list(executables) if "*" in wanted else [wanted] if wanted in executables else []
        matched |= bool(nodes)
        known = {found for node in nodes for found in _parameters(executables[node])}
        for parameter in given if nodes else ():
            if parameter.split(".")[0] not in (*known, *OF_ROS):
                near = difflib.get_close_matches(parameter, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise GraphError(
                    f"{file}: {name} has no parameter {parameter!r}{hint}\nit has {', '.join(sorted(known))}"
                )
    if not matched:
        names = ", ".join(name for name, _ in settings)
        raise GraphError(f"{file} sets parameters of {names}; the nodes of this graph are {', '.join(executables)}")


def _settings(content: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The full name of each node in the file, and its parameters."""
    for key, value in content.items():
        if not isinstance(value, Mapping):
            continue
        name = f"{path}/{key}".replace("//", "/")
        if isinstance(value.get(PARAMETERS), Mapping):
            yield name, value[PARAMETERS]
        else:
            yield from _settings(value, name)


def _parameters(executable: str) -> list[str]:
    module = importlib.import_module(f"robot_learning.nodes.{executable}")
    return [spec.name for spec in parameters.specs(module.Config)]
