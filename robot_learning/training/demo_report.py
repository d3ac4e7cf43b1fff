"""What the main job has on the disk, as a report and a summary."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import robot_learning
from robot_learning.contract import IMAGE_PREFIX, Contract
from robot_learning.data import Dataset
from robot_learning.data.files import write_json
from robot_learning.envs.tasks import task as task_named
from robot_learning.rewards import load_reward
from robot_learning.training.demo import AFTERWARDS, GENERAL, MARGIN, PRIOR_SEED, Demo
from robot_learning.training.demo_world import practice_arguments, record_arguments
from robot_learning.training.evaluation import TaskResult
from robot_learning.training.graph_process import command
from robot_learning.training.play_collection import SEEDS
from robot_learning.training.practice_log import Entry
from robot_learning.training.practice_schedule import PERSON
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
    """Seconds per stage; per task success of the demonstrations alone (before), with prior data (start) and after practice; what
    practice took, success where the policy may try again (again); plain data for JSON."""
    before, start, after = demo.before.result(), demo.start.result(), demo.after.result()
    of_practice, again = demo.gain(since=demo.start), demo.again.result()
    seconds = {name: round(stage.seconds, 1) for name, stage in demo.stages.stages.items()}
    entries, gain = demo.entries(), demo.gain()
    ticks, asked = sum(entry.ticks for entry in entries), sum(entry.before == PERSON for entry in entries)
    return {
        "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        "tasks": {
            name: {
                "before": _rate(before.tasks[name]),
                **({"start": _rate(start.tasks[name])} if demo.config.prior else {}),
                "after": _rate(after.tasks[name]),
                "gain": demo.gain(name)[0],
                "gain_interval": list(demo.gain(name)[1]),
            }
            for name in after.tasks
        },
        "before": {"rate": before.rate, "interval": list(before.interval)},
        **({"start": {"rate": start.rate, "interval": list(start.interval)}} if demo.config.prior else {}),
        "after": {"rate": after.rate, "interval": list(after.interval)},
        **({"again": {"rate": again.rate, "interval": list(again.interval)}} if demo.config.retry else {}),
        "gain": gain[0],
        "gain_interval": list(gain[1]),
        "gain_of_practice": of_practice[0],
        "gain_of_practice_interval": list(of_practice[1]),
        "practice": {
            "ticks": ticks,
            "episodes": len(entries),
            "cut_off": sum(bool(entry.cut) for entry in entries),
            "successes": sum(entry.solved for entry in entries),
            **_wrong(entries),
            "interventions": asked,
            "interventions_per_1000": 1000 * asked / max(ticks, 1),
        },
        "contract": demo.contract().hash(),
        "settings": demo.stages.settings,
        "version": robot_learning.__version__,
    }


def _rate(task: TaskResult) -> dict[str, Any]:
    return {
        "successes": task.successes,
        "episodes": task.episodes,
        "rate": task.rate,
        "interval": list(task.interval),
    }


def _wrong(entries: Sequence[Entry]) -> dict[str, int]:
    """How often the reward model was wrong about an episode, by what the simulator knows."""
    known = [entry for entry in entries if not entry.cut and entry.true_success is not None]
    return {
        "false_successes": sum(entry.solved and not entry.true_success for entry in known),
        "missed_successes": sum(bool(entry.true_success) and not entry.solved for entry in known),
    }


def report_of(demo: Demo) -> Report:
    """The report of a finished job."""
    dataset = Dataset(demo.dataset)
    instructions = {name: task_named(name).instruction for name in demo.config.tasks}
    settings = {
        "job": demo.stages.settings,
        "clone": yaml.safe_load((demo.begins / "config.yaml").read_text()),
    }
    entries = demo.entries()
    return Report(
        title=f"{_join(list(instructions.values()))}: a few demonstrations, then practice alone".capitalize(),
        subtitle=f"robot_learning {robot_learning.__version__}, simulated {demo.contract().description}",
        story=_story(demo, dataset, entries),
        evaluations={when: kept.result() for when, kept in demo.evaluations().items()},
        gains={since: demo.gain(since=kept) for since, kept in list(demo.evaluations().items())[:-1]},
        again=demo.again.result() if demo.config.retry else None,
        instructions=instructions,
        stages=_stages(demo),
        films=_films(demo, instructions),
        practice=entries,
        judged=_judged(demo, entries),
        demonstrations={words: _episodes(dataset, words) for words in instructions.values()},
        setup=_setup(dataset, demo.contract()),
        config=yaml.safe_dump(settings, sort_keys=False),
    )


def _films(demo: Demo, instructions: dict[str, str]) -> list[Film]:
    return [
        Film(
            demo.folder / "videos" / who / clip.name,
            instructions[clip.task],
            clip.success,
            clip.seed,
            clip.speed,
            words,
        )
        for who, words in (("before", "demonstrations alone"), ("after", "after practice"))
        for clip in demo.clips(who)
        if clip.task in instructions
    ]


def _judged(demo: Demo, entries: Sequence[Entry]) -> list[list[str]]:
    """The errors of the reward model: on frames of episodes held out, and in practice."""
    rows = [["question", "false yes, held-out frames", "false no", "AUC", "false successes in practice", "missed"]]
    quality = load_reward(demo.reward).facts["quality"]
    for name in demo.config.tasks:
        task = task_named(name)
        mine = [entry for entry in entries if entry.task == task.instruction]
        wrong, said = _wrong(mine), sum(entry.solved for entry in mine)
        true = said - wrong["false_successes"] + wrong["missed_successes"]
        told = quality[task.question]
        rows.append(
            [
                task.question,
                f"{told['false_positive_rate']:.1%} of {told['no']}",
                f"{told['false_negative_rate']:.1%} of {told['yes']}",
                f"{told['auc']:.1%}",
                f"{wrong['false_successes']} of {said}",
                f"{wrong['missed_successes']} of {true}",
            ]
        )
    return rows


def _join(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _story(demo: Demo, dataset: Dataset, entries: Sequence[Entry]) -> list[str]:
    config = demo.config
    minutes = dataset.num_frames / dataset.fps / 60
    cameras = _join([key.removeprefix(IMAGE_PREFIX) for key in dataset.image_keys])
    practised = sum(entry.ticks for entry in entries) / dataset.fps / 60
    where = " Everything from the camera to the controller went over ROS 2." if config.ros else ""
    retry = (
        " In the end it was tested once more in the way it should be used: an attempt that takes longer than the demonstrations "
        "did is given up, the arm goes back, and the policy tries again within the same 15 seconds."
        if config.retry
        else ""
    )
    prior = (
        f"Practice began with a policy that had first learned from {config.prior:g} minutes of play at other desks, where "
        "somebody did one thing after another: prior data, as a robot has that is not the first of its kind."
        if config.prior
        else "Practice began with that policy."
    )
    return [
        f"A scripted demonstrator showed a simulated robot at its desk each of {len(config.tasks)} tasks {config.demonstrations} "
        f"times and failed at it {config.failures} times on purpose, {minutes:.1f} minutes of robot time in all. Arm, drawer, "
        "door and block start differently every time, and the demonstrator varies its way, its speed and its steadiness.",
        "From these recordings two models were trained on this machine's CPU: a reward model, which says from a picture "
        f"whether a task is done, and a policy by behaviour cloning, which sees the {cameras} camera ({config.image_size}x"
        f"{config.image_size} pixels), the gripper and the tool's pose, never the state of the objects.",
        prior,
        f"Then the robot practised by itself for {practised:.1f} minutes of its time: one task, the task that undoes it, the "
        "first again. Nobody put anything back, and nobody but the reward model said what had succeeded. Successes were learned "
        f"from meanwhile, and each new policy took over at the next episode.{where}",
        f"Before and after, the policy was left alone with the same {config.episodes} fresh episodes of each task. An episode "
        "counts as a success when the objects are where they should be within 15 seconds, as the simulator knows; the reward "
        f"model has no say there.{retry}",
    ]


def _stages(demo: Demo) -> list[StageRow]:
    config, folder = demo.config, demo.folder
    names = " ".join(config.tasks)
    again = Path(f"{folder}-again")
    trained = f"--dataset {demo.dataset}"
    tested = (
        f"--task {names} --episodes {config.episodes} --seed {config.evaluation_seed} --furniture {config.furniture}"
    )
    reward = (
        f"robot-learning reward train {trained} --ask {names} --output {again / 'reward'} --margin {MARGIN} "
        f"--image-size {config.image_size} --steps {config.reward_steps}"
    )
    clone = _train_command(demo, again / "clone", f"{trained} --encoder frozen --steps {config.steps}")
    first = config.tasks[0]
    counts = config.demonstrations, config.failures
    if config.ros:
        record = command("record", record_arguments(again / "dataset", first, counts, config.seed, config.furniture))
        practice = command(
            "practice",
            practice_arguments(
                again / "practice",
                demo.begins,
                demo.reward,
                config.tasks,
                config.practice,
                config.seed,
                config.furniture,
            ),
        )
    else:
        record = (
            f"robot-learning collect demonstrations --dataset {again / 'dataset'} --tasks {names} --episodes {counts[0]} "
            f"--failures {counts[1]} --image-size {config.image_size} --seed {config.seed} --furniture {config.furniture}"
        )
        practice = (
            f"robot-learning finetune {demo.begins} --run {again / 'practice'} --reset-free --reward {demo.reward} "
            f"--steps {config.practice} --furniture {config.furniture}"
        )
    what = {
        "record": (f"{counts[0]} demonstrations of each task and {counts[1]} failures, with two cameras", record),
        "reward": ("a model that sees whether a task is done", reward),
        "clone": ("behaviour cloning from pictures", clone),
        "before": (
            f"{config.episodes} fresh episodes of each task",
            f"robot-learning evaluate {demo.clone} {tested}",
        ),
        **(_prior_stages(demo, again, tested) if config.prior else {}),
        "practise": (f"{config.practice} control ticks without resets, and learning meanwhile", practice),
        "after": ("the same episodes", f"robot-learning evaluate {demo.practised} {tested}"),
        **(
            {"again": ("the same, trying again", f"robot-learning evaluate {demo.practised} {tested} --retry")}
            if config.retry
            else {}
        ),
        "report": ("films and this page", config.command()),
    }
    return [StageRow(name, words, demo.stages[name].seconds, line) for name, (words, line) in what.items()]


def _train_command(demo: Demo, run: Path, flags: str) -> str:
    return f"robot-learning train bc --run {run} {flags} --seed {demo.config.seed} --threads 2"


def _prior_stages(demo: Demo, again: Path, tested: str) -> dict[str, tuple[str, str]]:
    folders, minutes = [again / "prior" / folder.name for folder in demo.priors], demo.config.prior / len(demo.priors)
    play = [
        f"robot-learning collect play --dataset {folder} --minutes {minutes:g} --seed {PRIOR_SEED + SEEDS * k}"
        f" --image-size {demo.config.image_size}"
        for k, folder in enumerate(folders)
    ]
    prior, more = f"--prior {' '.join(map(str, demo.priors))}", f"--dropout {GENERAL.dropout:g}"
    shape = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in AFTERWARDS.items())
    pretrain = [
        _train_command(demo, again / "general", f"{prior} {more} --steps {demo.config.general_steps}"),
        _train_command(
            demo,
            again / "pretrain",
            f"--dataset {demo.dataset} {prior} --start {again / 'general'} {more} {shape} --steps {demo.config.steps}",
        ),
    ]
    return {
        "prior": (f"{demo.config.prior:g} minutes of play at other desks", "\n".join(play)),
        "pretrain": (
            "a clone of what succeeded at play, then of the demonstrations too",
            "\n".join(pretrain),
        ),
        "start": ("the same episodes", f"robot-learning evaluate {demo.begins / 'checkpoints' / 'last'} {tested}"),
    }


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
