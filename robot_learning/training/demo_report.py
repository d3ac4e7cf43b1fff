"""What the main job has on the disk, as a report and a summary."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import robot_learning
from robot_learning.contract import IMAGE_PREFIX, Contract
from robot_learning.data import Dataset
from robot_learning.data.files import write_json
from robot_learning.envs.tasks import task as task_named
from robot_learning.training.config import read_config
from robot_learning.training.demo import Demo
from robot_learning.training.metrics import read_metrics
from robot_learning.training.report import Film, Report, StageRow, write_report

SHOWN = 4  # demonstrations of each task on the contact sheet
VERSIONS = ("torch", "mujoco", "gymnasium", "mink", "numpy", "av", "pyarrow")


def write_results(demo: Demo) -> Path:
    """Write `report.html` and `summary.json` into the job's folder and return the report's path."""
    path = demo.folder / "report.html"
    write_report(path, report_of(demo))
    write_json(demo.folder / "summary.json", summary_of(demo))
    return path


def summary_of(demo: Demo) -> dict[str, Any]:
    """Seconds per stage; per task successes, episodes, rate and 95 % interval; plain data for JSON."""
    result = demo.result()
    seconds = {name: round(stage.seconds, 1) for name, stage in demo.stages.stages.items()}
    return {
        "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        "tasks": {
            name: {
                "successes": task.successes,
                "episodes": task.episodes,
                "rate": task.rate,
                "interval": list(task.interval),
            }
            for name, task in result.tasks.items()
        },
        "successes": result.successes,
        "episodes": result.episodes,
        "rate": result.rate,
        "interval": list(result.interval),
        "contract": demo.contract().hash(),
        "settings": demo.stages.settings,
        "version": robot_learning.__version__,
    }


def report_of(demo: Demo) -> Report:
    """The report of a finished job."""
    dataset = Dataset(demo.dataset)
    config = read_config(demo.folder / "train")
    instructions = {name: task_named(name).instruction for name in demo.config.tasks}
    settings = {
        "job": demo.stages.settings,
        "training": yaml.safe_load((demo.folder / "train/config.yaml").read_text()),
    }
    return Report(
        title=f"{_join(list(instructions.values()))}, from {dataset.num_episodes} demonstrations".capitalize(),
        subtitle=f"robot_learning {robot_learning.__version__}, simulated {demo.contract().description}",
        story=_story(demo, dataset, config.steps),
        result=demo.result(),
        instructions=instructions,
        stages=_stages(demo),
        films=[
            Film(demo.folder / "videos" / clip.name, instructions[clip.task], clip.success, clip.seed, clip.speed)
            for clip in demo.clips()
            if clip.task in instructions
        ],
        curve=read_metrics(demo.folder / "train"),
        demonstrations={words: _episodes(dataset, words) for words in instructions.values()},
        setup=_setup(dataset, demo.contract()),
        config=yaml.safe_dump(settings, sort_keys=False),
    )


def _join(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _story(demo: Demo, dataset: Dataset, steps: int) -> list[str]:
    config = demo.config
    minutes = dataset.num_frames / dataset.fps / 60
    cameras = _join([key.removeprefix(IMAGE_PREFIX) for key in dataset.image_keys])
    return [
        f"A scripted demonstrator showed each of {len(config.tasks)} tasks {config.demonstrations} times in the simulated "
        f"playroom, {minutes:.1f} minutes of robot time in all. Furniture, block and arm start differently every time, and the "
        "demonstrator varies its way, its speed and its steadiness as people do.",
        f"A policy was trained on the recording by behaviour cloning, {steps} gradient steps on this machine's CPU. It sees the "
        f"{cameras} camera ({config.image_size}x{config.image_size} pixels), the gripper and the tool's pose, never the state "
        "of the objects, and moves the tool ten times a second.",
        f"Then it was left alone with {config.episodes} fresh episodes of each task, from starts that no demonstration used. An "
        "episode counts as a success when the objects are where they should be within 15 seconds.",
    ]


def _stages(demo: Demo) -> list[StageRow]:
    config, folder = demo.config, demo.folder
    names = " ".join(config.tasks)
    training = read_config(folder / "train")
    what = {
        "collect": (
            f"{config.demonstrations} demonstrations of each task with two cameras",
            f"robot-learning collect demonstrations --dataset {folder / 'dataset-again'} --tasks {names} "
            f"--episodes {config.demonstrations} --image-size {config.image_size} --seed {config.seed}",
        ),
        "train": (
            "behaviour cloning from pictures",
            f"robot-learning train bc --dataset {demo.dataset} --run {folder / 'train-again'} --held-out 1 "
            f"--steps {training.steps} --seed {config.seed} --threads {training.threads}",
        ),
        "evaluate": (
            f"{config.episodes} fresh episodes of each task",
            f"robot-learning evaluate {demo.checkpoint} --task {names} --episodes {config.episodes} "
            f"--seed {config.evaluation_seed}",
        ),
        "report": ("films and this page", config.command()),
    }
    return [StageRow(name, words, demo.stages[name].seconds, command) for name, (words, command) in what.items()]


def _episodes(dataset: Dataset, instruction: str) -> list[np.ndarray]:
    mine = [e for e, words in enumerate(dataset.episode_tasks) if words == instruction][:SHOWN]
    ranges = dataset.episode_ranges
    return [dataset.images(dataset.image_keys[0], np.arange(*ranges[e])) for e in mine]


def _setup(dataset: Dataset, contract: Contract) -> list[tuple[str, str]]:
    return [
        ("contract", f"{contract.name} ({contract.hash()})"),
        ("dataset", f"LeRobot v3, {dataset.num_episodes} episodes, {dataset.num_frames} frames at {dataset.fps} Hz"),
        ("machine", f"{platform.platform()}, {platform.machine()}, Python {platform.python_version()}"),
        ("versions", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)),
    ]
