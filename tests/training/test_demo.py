"""The main job at its smallest, in one process: two demonstrations, a few gradient steps, some ticks of practice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_learning.data import Dataset
from robot_learning.envs.tasks import UnknownTaskError
from robot_learning.policies import read_checkpoint
from robot_learning.training.demo import STAGES, Demo, DemoConfig
from robot_learning.training.demo_report import summary_of, write_results
from robot_learning.training.stages import JobError

TINY = {
    "tasks": ("open_drawer", "close_drawer"), "demonstrations": 2, "failures": 1, "steps": 2, "general_steps": 2,
    "reward_steps": 2, "practice": 120, "prior": 1.0, "episodes": 1, "ros": False, "image_size": 32, "processes": 0,
}  # fmt: skip

KILLED = """
import os, signal, sys
from robot_learning.data import DatasetWriter
from robot_learning.training.demo import Demo, DemoConfig

save = DatasetWriter.save_episode

def save_and_die(writer, *args, **kwargs):
    save(writer, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

DatasetWriter.save_episode = save_and_die
Demo(DemoConfig(output=sys.argv[1], **eval(sys.argv[2]))).run()
"""


def tiny(folder: Path, **changes: object) -> DemoConfig:
    return DemoConfig(output=str(folder), **{**TINY, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A job that has run."""
    demo = Demo(tiny(tmp_path_factory.mktemp("jobs") / "demo"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robot_learning.training.demo.FILMED", {True: 1, False: 1})
        demo.run()
    return demo


def test_every_stage_is_done(demo: Demo) -> None:
    assert [name for name, stage in demo.stages.stages.items() if stage.done] == list(STAGES)


def test_it_has_the_demonstrations_and_failures_asked_for(demo: Demo) -> None:
    dataset = Dataset(demo.dataset)
    assert sorted(zip(dataset.episode_tasks, dataset.episode_success.tolist(), strict=True)) == [
        *[("close the drawer", False), *2 * [("close the drawer", True)]],
        *[("open the drawer", False), *2 * [("open the drawer", True)]],
    ]


def test_it_practised_for_the_ticks_asked_for(demo: Demo) -> None:
    assert sum(entry.ticks for entry in demo.entries()) >= 120


def test_before_and_after_are_of_the_same_fresh_episodes(demo: Demo) -> None:
    dataset = Dataset(demo.dataset)
    used = {dataset.episode_info(e)["seed"] for e in range(dataset.num_episodes)}
    kept = [json.loads((demo.folder / f"{when}.json").read_text()) for when in ("before", "after")]
    episodes = [[(e["task"], e["seed"]) for e in told["episodes"]] for told in kept]
    assert episodes[0] == episodes[1] and used.isdisjoint(seed for _, seed in episodes[0])


def test_what_is_measured_after_is_what_practice_made(demo: Demo) -> None:
    assert demo.after.checkpoint == demo.practice / "checkpoints" / "last" and demo.after.checkpoint.is_dir()


def test_practice_begins_with_what_play_elsewhere_taught_too(demo: Demo) -> None:
    assert len(demo.priors) == 2 and all(Dataset(folder).num_frames == 300 for folder in demo.priors)
    general = read_checkpoint(demo.folder / "general" / "checkpoints" / "last")
    known = read_checkpoint(demo.start.checkpoint).tasks
    assert {"open the drawer", "close the drawer"} < set(known) and set(general.tasks) <= set(known)
    first = read_checkpoint(demo.practice / "rounds" / "round_0")
    assert all(
        torch.equal(first.weights[key], value) for key, value in read_checkpoint(demo.start.checkpoint).weights.items()
    )


def test_without_prior_data_practice_begins_with_the_demonstrations(tmp_path: Path) -> None:
    job = Demo(tiny(tmp_path / "job", prior=0.0))
    assert job.begins == job.folder / "clone" and job.priors == [] and job.start.checkpoint == job.clone
    assert list(job.evaluations()) == ["demonstrations alone", "after practice"]


def test_films_show_how_the_episodes_ended(demo: Demo) -> None:
    failed = {name: task.failed_seeds for name, task in demo.after.result().tasks.items()}
    clips = demo.clips("after")
    assert clips and all(clip.success == (clip.seed not in failed[clip.task]) for clip in clips)


def test_the_model_card_has_the_result(demo: Demo) -> None:
    assert "of 1 episodes" in (demo.practised / "README.md").read_text()


def test_summary(demo: Demo) -> None:
    write_results(demo)
    summary = json.loads((demo.folder / "summary.json").read_text())
    assert summary == summary_of(demo)
    assert set(summary["seconds"]) == {*STAGES, "total"}
    assert set(summary["tasks"]["close_drawer"]) == {"before", "start", "after", "gain", "gain_interval"}
    assert summary["practice"]["episodes"] == len(demo.entries())


def test_the_report_is_written(demo: Demo) -> None:
    text = write_results(demo).read_text()
    assert "Open the drawer and close the drawer" in text and "interventions in 1000 steps" in text


def test_a_second_run_repeats_nothing(demo: Demo) -> None:
    before = demo.stages.path.read_text(), len(demo.entries())
    Demo(demo.config).run()
    assert (demo.stages.path.read_text(), len(demo.entries())) == before


def test_the_command_names_only_what_was_changed() -> None:
    assert DemoConfig(output="runs/a", tasks=("open_drawer",), ros=False).command() == (
        "robot-learning demo --output runs/a --tasks open_drawer --no-ros"
    )


def test_the_command_may_be_typed_as_it_is() -> None:
    assert DemoConfig(output="my runs/a").command() == "robot-learning demo --output 'my runs/a'"


def test_where_an_evaluation_is_of_other_weights_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"before\.json: expected .* by the policy in .*last, found none"):
        Demo(tiny(tmp_path / "job")).gain()


def test_it_stops_after_the_stage_asked_for(tmp_path: Path) -> None:
    job = Demo(tiny(tmp_path / "job"))
    job.run(until="record")
    assert list(job.stages.stages) == ["record"]


def test_other_settings_are_refused(demo: Demo) -> None:
    with pytest.raises(JobError, match="episodes: 1 there, 3 asked for"):
        Demo(tiny(demo.folder, episodes=3))


def test_a_killed_collection_goes_on_to_the_same_dataset(demo: Demo, tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "job"), repr(TINY)], check=False)
    again = Demo(tiny(tmp_path / "job"))
    have = Dataset(again.dataset).num_episodes
    again.record()
    assert (killed.returncode, have) == (-9, 1)
    np.testing.assert_array_equal(Dataset(again.dataset).column("action"), Dataset(demo.dataset).column("action"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"demonstrations": 1}, "--demonstrations: expected 2 to 500, found 1"),
        ({"failures": 0}, "--failures: expected 1 to 500, found 0"),
        ({"episodes": 0}, "--episodes: expected 1 to"),
        ({"steps": 0}, "--steps: expected 1 to"),
        ({"reward_steps": 0}, "--reward-steps: expected 1 to"),
        ({"seed": -1}, "--seed: expected 0 to"),
        ({"furniture": -1}, "--furniture: expected 0 to"),
        ({"evaluation_seed": -5}, "--evaluation-seed: expected 0 to"),
        ({"tasks": ()}, r"--tasks: .*each once, found \[\]"),
        ({"tasks": ("open_drawer", "open_drawer")}, "--tasks: .*each once"),
        ({"evaluation_seed": 500}, "overlaps the seeds of the demonstrations"),
        ({"evaluation_seed": 501_000}, "overlaps the seeds of play"),
        ({"prior": -1.0}, "--prior: expected 0 to 600 minutes, found -1"),
        ({"ros": True}, r"--image-size: over ROS expected that of the contract ur5e_2f85, \{96\}, found 32"),
    ],
)
def test_sizes_that_make_no_experiment(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(JobError, match=message):
        Demo(tiny(tmp_path, **changes))


def test_an_unknown_task_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UnknownTaskError, match="open_drawer"):
        Demo(tiny(tmp_path / "job", tasks=("open_window",)))
    assert not (tmp_path / "job").exists()
