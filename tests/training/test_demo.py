"""The main job at its smallest: two demonstrations, two gradient steps, one fresh episode."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robot_learning.data import Dataset
from robot_learning.envs.tasks import UnknownTaskError
from robot_learning.training.demo import Demo, DemoConfig
from robot_learning.training.demo_report import summary_of, write_results
from robot_learning.training.metrics import read_metrics
from robot_learning.training.stages import JobError

TINY = {"tasks": ("close_drawer",), "demonstrations": 2, "episodes": 2, "steps": 2, "image_size": 32, "processes": 0}

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
    assert [name for name, stage in demo.stages.stages.items() if stage.done] == [
        "collect",
        "train",
        "evaluate",
        "report",
    ]


def test_it_has_the_demonstrations_asked_for(demo: Demo) -> None:
    dataset = Dataset(demo.dataset)
    assert dataset.episode_tasks == ["close the drawer"] * 2 and bool(dataset.episode_success.all())


def test_evaluation_uses_fresh_seeds(demo: Demo) -> None:
    dataset = Dataset(demo.dataset)
    used = {dataset.episode_info(e)["seed"] for e in range(dataset.num_episodes)}
    assert used.isdisjoint(range(10000, 10002)) and demo.result().tasks["close_drawer"].episodes == 2


def test_films_show_how_the_episodes_ended(demo: Demo) -> None:
    failed = demo.result().tasks["close_drawer"].failed_seeds
    assert demo.clips() and all(clip.success == (clip.seed not in failed) for clip in demo.clips())


def test_the_model_card_has_the_result(demo: Demo) -> None:
    assert "of 2 episodes" in (demo.checkpoint / "README.md").read_text()


def test_summary(demo: Demo) -> None:
    write_results(demo)
    summary = json.loads((demo.folder / "summary.json").read_text())
    assert summary == summary_of(demo)
    assert set(summary["seconds"]) == {"collect", "train", "evaluate", "report", "total"}
    assert set(summary["tasks"]["close_drawer"]) == {"successes", "episodes", "rate", "interval"}


def test_the_report_is_written(demo: Demo) -> None:
    assert "Close the drawer" in write_results(demo).read_text()


def test_a_second_run_repeats_nothing(demo: Demo) -> None:
    before = demo.stages.path.read_text(), len(read_metrics(demo.folder / "train"))
    Demo(demo.config).run()
    assert (demo.stages.path.read_text(), len(read_metrics(demo.folder / "train"))) == before


def test_the_command_names_only_what_was_changed() -> None:
    assert DemoConfig(output="runs/a", tasks=("open_drawer",)).command() == (
        "robot-learning demo --output runs/a --tasks open_drawer"
    )


def test_it_stops_after_the_stage_asked_for(tmp_path: Path) -> None:
    job = Demo(tiny(tmp_path / "job"))
    job.run(until="collect")
    assert list(job.stages.stages) == ["collect"]


def test_other_settings_are_refused(demo: Demo) -> None:
    with pytest.raises(JobError, match="episodes: 2 there, 3 asked for"):
        Demo(tiny(demo.folder, episodes=3))


def test_an_evaluation_of_other_weights_does_not_count(demo: Demo) -> None:
    path = demo.folder / "evaluation.json"
    content = path.read_text()
    path.write_text(json.dumps({**json.loads(content), "weights": "0"}))
    try:
        assert demo.result().episodes == 0
    finally:
        path.write_text(content)


def test_a_killed_collection_goes_on_to_the_same_dataset(demo: Demo, tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "job"), repr(TINY)], check=False)
    again = Demo(tiny(tmp_path / "job"))
    have = Dataset(again.dataset).num_episodes
    again.collect()
    assert (killed.returncode, have) == (-9, 1)
    np.testing.assert_array_equal(Dataset(again.dataset).column("action"), Dataset(demo.dataset).column("action"))


def test_an_interrupted_evaluation_goes_on_with_the_missing_episode(demo: Demo) -> None:
    path = demo.folder / "evaluation.json"
    complete = json.loads(path.read_text())
    first, second = complete["episodes"]
    marked = {**first, "length": 1}  # would be overwritten if it were run again
    path.write_text(json.dumps({**complete, "episodes": [marked]}))
    demo.evaluate()
    assert json.loads(path.read_text())["episodes"] == [marked, second]
    path.write_text(json.dumps(complete))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"demonstrations": 1}, "--demonstrations: expected 2 to 500, found 1"),
        ({"episodes": 0}, "--episodes: expected 1 to"),
        ({"steps": 0}, "--steps: expected 1 to"),
        ({"evaluation_seed": 500}, "overlaps the seeds of the demonstrations"),
    ],
)
def test_sizes_that_make_no_experiment(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    with pytest.raises(JobError, match=message):
        Demo(tiny(tmp_path, **changes))


def test_an_unknown_task_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UnknownTaskError, match="open_drawer"):
        Demo(tiny(tmp_path / "job", tasks=("open_window",)))
    assert not (tmp_path / "job").exists()
