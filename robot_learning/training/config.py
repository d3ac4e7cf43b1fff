"""TrainConfig: everything that fixes a training run, written as `config.yaml` into its folder."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

import robot_learning
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.settings import require_at_least, require_more_than, require_some
from robot_learning.training.run_state import RunError

FILE = "config.yaml"


@dataclass(frozen=True)
class TrainConfig:
    """Everything that fixes the result of a run; two runs with equal configs, data and threads have equal weights."""

    dataset: str = ""
    """Folder of the LeRobot v3 dataset to learn from; empty: prior data alone."""
    play: tuple[str, ...] = ()
    """Folders of play; attempts at the tasks that succeeded there are learned from like demonstrations."""
    prior: tuple[str, ...] = ()
    """Folders of prior data, play or demonstrations from elsewhere; what succeeded there, at any task, is part of each batch."""
    relabel: str = ""
    """Reward model that says what was done in play and prior data, at any task whose question it knows, whatever their own labels
    say."""
    relabel_questions: tuple[str, ...] = ()
    """For tasks that are none of the playroom's: "instruction = question", or "instruction = question | question if undone"."""
    start: str = ""
    """Run of `train bc`, or checkpoint of a clone, whose weights to go on from: one of hours of prior data, say."""
    run: str = "runs/bc"
    """Folder of the run: config, metrics, checkpoints."""
    algorithm: tyro.conf.Suppress[str] = "bc"
    """Name of the algorithm."""
    tasks: tuple[str, ...] = ()
    """Instructions to learn ("open the drawer"); all in the dataset when empty."""
    only_success: bool = True
    """Learn only from the episodes that succeeded."""
    held_out: int = 0
    """Episodes of each task kept for a validation loss."""
    steps: int = 1200
    """Gradient steps."""
    time_limit: float | None = None
    """Lower `steps` at the start so that training takes at most this long here, were nothing else running [s]; kept on resume."""
    seed: int = 0
    """Seed of the initial weights, the batches and the augmentation."""
    threads: int = field(default_factory=lambda: min(os.cpu_count() or 1, 8))
    """Threads of torch; the same number gives the same weights to the last bit."""
    log_every: int = 20
    """Steps between two rows of metrics."""
    save_every: float = 20.0
    """Seconds between two saves of the training state; a kill loses at most these."""
    keep_every: int = 0
    """Steps between checkpoints that stay (`checkpoints/step_N`), 0 for none."""
    evaluate_every: int = 0
    """Steps between evaluations in the simulator, 0 for none; the best is kept as `checkpoints/best`."""
    evaluate_tasks: tuple[str, ...] = ()
    """Tasks of the simulator to evaluate ("open_drawer")."""
    evaluate_episodes: int = 10
    """Episodes of each task at each evaluation."""
    evaluate_seed: int = 5000
    """Seed of the first such episode; keep it away from the seeds of the final evaluation."""
    bc: Annotated[BehaviourCloningConfig, tyro.conf.arg(name="")] = field(default_factory=BehaviourCloningConfig)
    """Behaviour cloning."""

    def __post_init__(self) -> None:
        require_at_least(self, 1, "threads", "log_every", "evaluate_episodes")
        require_at_least(self, 0, "held_out", "seed", "keep_every", "evaluate_every", "evaluate_seed")
        if self.time_limit is not None:
            require_more_than(self, 0, "time_limit")
        if self.evaluate_every:
            require_some(self, "evaluate_tasks")


def write_config(run: Path, config: TrainConfig) -> None:
    """Write the resolved config, with the version that made it."""
    save_plain(run, config)


def read_config(run: Path) -> TrainConfig:
    """Reverse of `write_config`.

    Raises:
        RunError: the run has no config, or one this version does not understand.
    """
    config: TrainConfig = read_as(run, lambda data: TrainConfig)
    return config


def save_plain(run: Path, config: Any) -> None:
    """Write a dataclass as `config.yaml`, with the version that made it."""
    partial = run / f".{FILE}.tmp"
    data = {"package_version": robot_learning.__version__, **_plain(config)}
    partial.write_text(yaml.safe_dump(data, sort_keys=False))
    os.replace(partial, run / FILE)


def begin_or_resume(config: Any, resume: bool, read: Callable[[Path], Any]) -> tuple[Any, bool]:
    """The config to run with, and whether its folder holds the run already.

    Args:
        resume: go on with the run in `config.run` where there is one; the config that `read` finds there then holds.

    Raises:
        RunError: the run exists and `resume` is false.
    """
    run = Path(config.run)
    if not (run / FILE).is_file():
        return config, False
    if not resume:
        raise RunError(f"{run} already holds a run; go on with it (--resume) or choose another folder (--run)")
    return dataclasses.replace(read(run), run=str(run)), True


def not_in_force(config: Any, own: Mapping[str, Any], given: Collection[str]) -> list[str]:
    """Of each flag among `given` (`"robot.reset_service"`) that `config` has otherwise than the run, whose config.yaml holds
    `own`: what was given and what the run goes on with."""
    return [
        f"given {name.replace('_', '-')} {_words(value)}, the run goes on with its own {_words(kept)}"
        for name, value, kept in _differences(config, own)
        if name in given
    ]


def read_as(run: Path, kind: Callable[[dict[str, Any]], type[Any]]) -> Any:
    """The dataclass in a run's `config.yaml`, of the class that `kind` chooses by the data.

    Raises:
        RunError: the run has no config, or one this version does not understand.
    """
    data = read_plain(run)
    try:
        return _build(kind(data), data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run / FILE} is not a training config of this version: {error}") from error


def from_plain(kind: type[Any], data: Any, where: str) -> Any:
    """The dataclass `kind` from plain data, as `read_as` makes it of a run's config.

    Raises:
        RunError: the data is not of this version; `where` names its source.
    """
    try:
        return _build(kind, data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{where} is not a {kind.__name__} of this version: {error}") from error


def read_plain(run: Path) -> dict[str, Any]:
    """What a run's `config.yaml` holds, besides the version that made it.

    Raises:
        RunError: the run has no config, or it is no YAML mapping.
    """
    path = run / FILE
    if not path.is_file():
        raise RunError(f"{run} is not a training run: it has no {FILE}")
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is not a training config of this version: {error}") from error
    if not isinstance(data, dict):
        raise RunError(f"{path} is not a training config: expected a mapping of settings, found {data!r:.40}")
    data.pop("package_version", None)
    return data


def _plain(value: Any) -> Any:
    """Dataclasses and tuples as the mappings and lists that a safe YAML loader gives back."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _differences(config: Any, own: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Flag, value in `config` and value in `own` of all that differs."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    for name in (f.name for f in dataclasses.fields(config) if f.name in own):
        value, kept = getattr(config, name), own[name]
        if dataclasses.is_dataclass(value) and isinstance(kept, Mapping):
            is_flat = any(getattr(extra, "name", None) == "" for extra in getattr(hints[name], "__metadata__", ()))
            yield from _differences(value, kept, prefix if is_flat else f"{prefix}{name}.")
        elif _plain(value) != kept:
            yield prefix + name, _plain(value), kept


def _words(value: Any) -> str:
    return " ".join(map(str, value if isinstance(value, list) else ["" if value is None else value])) or "none"


def _build(kind: Any, data: Any) -> Any:
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise TypeError(f"unknown fields {unknown}; valid: {sorted(hints)}")
    return kind(**{name: _value(hints[name], value) for name, value in data.items()})


def _value(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value)
    if isinstance(value, list):
        return tuple(value)
    if typing.get_origin(hint) in (types.UnionType, typing.Union) or not isinstance(hint, type):
        return value
    return hint(value)
