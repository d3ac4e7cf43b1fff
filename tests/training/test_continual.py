"""Learning beside practice: rounds as practice grows, from what was really carried out; a kill loses the training in progress."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import DemonstrationError, Demonstrations
from robot_learning.algorithms.input_selection import unheard
from robot_learning.algorithms.self_imitation import SelfImitationConfig
from robot_learning.data import Dataset
from robot_learning.data.files import DatasetError
from robot_learning.policies import CheckpointError, load_policy, read_checkpoint
from robot_learning.training import continual
from robot_learning.training.clone_rounds import CloneRounds
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.config import TrainConfig
from robot_learning.training.continual import ContinualConfig, ContinualLearner, Progress, from_start
from robot_learning.training.metrics import read_metrics
from robot_learning.training.offline import train
from robot_learning.training.practised import PractisedSuccesses
from robot_learning.training.run_state import RunError
from tests.training.grown_practice import practise

CLONE = BehaviourCloningConfig(inputs="state", hidden=(32,), batch_size=16)
SHORT = SelfImitationConfig(gradient_steps=10, most_gradient_steps=20)
RUNNING = threading.Event()  # never set


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "doors"
    collect_demonstrations(root, {"close_sliding": 0}, episodes=2, cameras=())
    return root


@pytest.fixture(scope="session")
def clone(doors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "clone"
    train(TrainConfig(dataset=str(doors), run=str(run), steps=10, threads=1, bc=CLONE))
    return run


@pytest.fixture
def config(clone: Path, tmp_path: Path) -> ContinualConfig:
    return dataclasses.replace(from_start(clone, tmp_path / "run"), min_new_successes=2, settings=SHORT)


def rounds(config: ContinualConfig) -> set[str]:
    return {path.name for path in (Path(config.run) / "rounds").iterdir()}


def test_it_begins_with_the_clone_and_waits_for_practice(config: ContinualConfig, clone: Path) -> None:
    learner = ContinualLearner(config)
    assert learner.advance(RUNNING) is None
    assert rounds(config) == {"round_0"} and learner.newest.facts["Round"] == 0
    first = load_file(clone / "checkpoints" / "last" / "weights.safetensors")
    assert all(torch.equal(first[key], value) for key, value in learner.newest.weights.items())


def test_a_round_follows_whenever_enough_has_succeeded(config: ContinualConfig, doors: Path) -> None:
    learner, practice = ContinualLearner(config), Path(config.practice)
    practise(practice, doors, [True, False, False])
    assert learner.advance(RUNNING) is None, "one success is too few"
    for number, new in enumerate(([True], [False, True, True]), start=1):
        practise(practice, doors, new)
        policy = learner.advance(RUNNING)
        assert policy is not None and policy.facts["Round"] == number
        assert learner.advance(RUNNING) is None, "nothing new"
    assert rounds(config) == {"round_0", "round_1", "round_2"}
    assert load_policy(Path(config.run) / "checkpoints" / "last").tasks == ["close the sliding door"]
    frames = [row["train/frames"] for row in read_metrics(Path(config.run))]
    demonstrated = Dataset(doors).num_frames
    assert frames == [demonstrated + 2 * 6, demonstrated + 4 * 6]


def test_it_goes_on_with_the_prior_data_of_the_clone(doors: Path, tmp_path: Path) -> None:
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "clone"
    collect_demonstrations(elsewhere, {"open_sliding": 0}, episodes=1, cameras=())
    train(TrainConfig(dataset=str(doors), prior=(str(elsewhere),), run=str(run), steps=10, threads=1, bc=CLONE))
    config = dataclasses.replace(from_start(run, tmp_path / "run"), min_new_successes=1, settings=SHORT)
    practise(Path(config.practice), doors, [True])
    policy = ContinualLearner(config).advance(RUNNING)
    assert policy is not None and policy.tasks == ["close the sliding door", "open the sliding door"]
    (row,) = read_metrics(Path(config.run))
    assert row["train/frames"] == Dataset(elsewhere).num_frames + Dataset(doors).num_frames + 6


def test_each_round_goes_on_from_what_the_clone_went_on_from(doors: Path, tmp_path: Path) -> None:
    elsewhere, pretrained, run = tmp_path / "elsewhere", tmp_path / "pretrained", tmp_path / "clone"
    collect_demonstrations(elsewhere, {"close_sliding": 9}, episodes=1, cameras=())
    still = dataclasses.replace(CLONE, learning_rate=1e-9)
    train(TrainConfig(prior=(str(elsewhere),), run=str(pretrained), steps=10, threads=1, bc=CLONE))
    train(TrainConfig(dataset=str(doors), start=str(pretrained), run=str(run), steps=10, threads=1, bc=still))
    config = dataclasses.replace(from_start(run, tmp_path / "run"), min_new_successes=1, settings=SHORT)
    practise(Path(config.practice), doors, [True])
    policy = ContinualLearner(config).advance(RUNNING)
    before = read_checkpoint(pretrained / "checkpoints" / "last").weights
    assert policy is not None and all(torch.allclose(policy.weights[key], before[key], atol=1e-6) for key in before)


def test_a_generalist_practises_what_was_demonstrated_here(doors: Path, tmp_path: Path) -> None:
    elsewhere, general, run = tmp_path / "elsewhere", tmp_path / "general", tmp_path / "clone"
    collect_demonstrations(elsewhere, {"open_sliding": 0}, episodes=1, cameras=())
    train(TrainConfig(prior=(str(elsewhere),), run=str(general), steps=5, threads=1, bc=CLONE))
    train(TrainConfig(dataset=str(doors), start=str(general), run=str(run), steps=5, threads=1, bc=CLONE))
    config = dataclasses.replace(from_start(run, tmp_path / "run"), min_new_successes=1, settings=SHORT)
    practise(Path(config.practice), doors, [True])
    policy = ContinualLearner(config).advance(RUNNING)
    assert policy is not None and policy.tasks == ["close the sliding door", "open the sliding door"]


def test_a_round_learns_from_failures_that_did_another_task(
    config: ContinualConfig, doors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Everything:
        def others(self, dataset: Dataset, episodes: list[int], inputs: list[str]) -> list[Demonstrations]:
            asked.append(episodes)
            return [Demonstrations.load(dataset, inputs, episodes=episodes)]

    monkeypatch.setattr(continual, "relabeller", lambda folder, questions: Everything() if folder == "reward" else None)
    monkeypatch.setattr(
        continual, "load_demonstrations", lambda *given, **more: Demonstrations.load(Dataset(doors), given[2])
    )
    practise(Path(config.practice), doors, [True, False, True])
    practise(Path(config.practice), doors, [False], discarded=True)
    ContinualLearner(dataclasses.replace(config, relabel="reward")).advance(RUNNING)
    (row,) = read_metrics(Path(config.run))
    assert asked == [[1]] and row["train/frames"] == Dataset(doors).num_frames + 3 * 6


def test_it_learns_what_was_carried_out_but_no_holds(config: ContinualConfig, doors: Path) -> None:
    practise(Path(config.practice), doors, [True, True], held=3)
    practised = PractisedSuccesses(Path(config.practice), ["observation.state"], ["close the sliding door"])
    assert practised.look()
    (data,) = practised.load()
    assert np.array_equal(data.actions, np.tile(Dataset(doors).column("action")[:6], (2, 1)))
    assert np.unique(data.ends).tolist() == [6, 12]


def test_an_episode_that_a_person_took_back_is_left_out(config: ContinualConfig, doors: Path) -> None:
    practise(Path(config.practice), doors, [True, True], discarded=True)
    assert ContinualLearner(config).advance(RUNNING) is None


def test_an_episode_of_another_task_is_left_out(config: ContinualConfig, doors: Path) -> None:
    practise(Path(config.practice), doors, [True])
    practised = PractisedSuccesses(Path(config.practice), ["observation.state"], ["make tea"])
    assert practised.look() and practised.chosen == []


def test_only_new_successes_are_read(config: ContinualConfig, doors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    practised = PractisedSuccesses(Path(config.practice), ["observation.state"], ["close the sliding door"])
    practise(practised.root, doors, [True, False])
    assert practised.look() and len(practised.load()[0]) == 6
    assert not practised.look()
    practise(practised.root, doors, [True])
    asked = []
    load = Demonstrations.load
    monkeypatch.setattr(Demonstrations, "load", lambda *a, **k: (asked.append(k["episodes"]), load(*a, **k))[1])
    assert practised.look() and len(practised.load()[0]) == 12
    assert asked == [[2]]


def test_an_episode_that_a_killed_recorder_left_half_listed_is_not_seen(config: ContinualConfig, doors: Path) -> None:
    """Its row is on the disk, but `meta/info.json` does not count it yet."""
    practise(Path(config.practice), doors, [True])
    info = Path(config.practice) / "meta" / "info.json"
    before = info.read_bytes()
    practise(Path(config.practice), doors, [True])
    info.write_bytes(before)
    practised = PractisedSuccesses(Path(config.practice), ["observation.state"], ["close the sliding door"])
    practised.look()
    assert practised.chosen == [0] and len(practised.load()[0]) == 6
    practise(Path(config.practice), doors, [False])  # the next writer finishes it
    assert practised.look() and practised.chosen == [0, 1]


def test_a_damaged_dataset_is_named(config: ContinualConfig) -> None:
    meta = Path(config.practice) / "meta"
    meta.mkdir(parents=True)
    (meta / "info.json").write_text("{")
    with pytest.raises(DatasetError, match=r"info\.json"):
        ContinualLearner(config).advance(RUNNING)


def test_another_learner_goes_on_with_the_next_round(config: ContinualConfig, doors: Path) -> None:
    practise(Path(config.practice), doors, [True, True])
    assert ContinualLearner(config).advance(RUNNING) is not None
    learner = ContinualLearner(config)
    assert learner.newest.facts["Round"] == 1 and learner.advance(RUNNING) is None
    practise(Path(config.practice), doors, [True, True])
    policy = learner.advance(RUNNING)
    assert policy is not None and policy.facts["Round"] == 2 and policy.facts["Successes"] == 4


RUN = """
import sys, threading
from pathlib import Path
from robot_learning.training.config import read_as
from robot_learning.training.continual import ContinualConfig, ContinualLearner
config = read_as(Path(sys.argv[1]), lambda data: ContinualConfig)
ContinualLearner(config).run(threading.Event(), lambda policy: print(policy.facts["Round"], flush=True))
"""


def test_a_killed_learner_leaves_whole_rounds_and_is_gone_on_with(config: ContinualConfig, doors: Path) -> None:
    endless = dataclasses.replace(config, settings=SelfImitationConfig(gradient_steps=10**6, most_gradient_steps=10**6))
    ContinualLearner(endless)
    practise(Path(config.practice), doors, [True, True])
    child = subprocess.Popen([sys.executable, "-c", RUN, config.run], stdout=subprocess.PIPE)
    time.sleep(np.random.default_rng().uniform(0, 4))  # to die at any moment
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    learner = ContinualLearner(config)
    assert rounds(config) == {"round_0"}
    policy = learner.advance(RUNNING)
    assert policy is not None and policy.facts["Round"] == 1


def test_a_learner_killed_between_the_two_folders_of_a_round_does_not_repeat_it(
    config: ContinualConfig, doors: Path
) -> None:
    practise(Path(config.practice), doors, [True, True])
    ContinualLearner(config).advance(RUNNING)
    shutil.rmtree(Path(config.run) / "rounds" / "round_1")  # checkpoints/last is written before it
    learner = ContinualLearner(config)
    assert learner.newest.facts["Round"] == 1 and learner.advance(RUNNING) is None


def test_it_tells_how_far_it_is_and_stops_within_a_training(config: ContinualConfig, doors: Path) -> None:
    practise(Path(config.practice), doors, [True, True])
    stop, heard = threading.Event(), list[Progress]()

    def told(progress: Progress) -> None:
        heard.append(progress)
        if progress.step == 5:
            stop.set()

    ContinualLearner(config, told).run(stop, lambda policy: pytest.fail("a training that was stopped made a policy"))
    last = heard[-1]
    assert (last.phase, last.step, last.steps, last.successes, last.round) == ("training", 5, last.steps, 2, 0)
    assert last.steps >= 10 and last.seconds_left > 0 and np.isfinite(last.loss)
    assert rounds(config) == {"round_0"}


def test_another_run_in_the_folder_is_refused(
    config: ContinualConfig, clone: Path, doors: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="holds another run: bc"):
        ContinualLearner(dataclasses.replace(config, run=str(clone)))
    other = tmp_path / "other"
    train(TrainConfig(dataset=str(doors), run=str(other), steps=5, threads=1, bc=CLONE))
    ContinualLearner(config)
    with pytest.raises(RunError, match="choose another folder"):
        ContinualLearner(dataclasses.replace(config, start=str(other / "checkpoints" / "last")))


def test_a_checkpoint_alone_needs_demonstrations(clone: Path, doors: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(clone / "checkpoints" / "last", tmp_path / "models" / "policy")
    with pytest.raises(RunError, match="name them"):
        from_start(alone, tmp_path / "run")
    with pytest.raises(RunError, match=r"not at \['elsewhere'\]"):
        from_start(alone, tmp_path / "run", ("elsewhere",))
    assert from_start(alone, tmp_path / "run", (str(doors),)).bc == CLONE


def test_a_policy_at_the_root_of_the_disk_is_looked_for_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="/nowhere does not exist"):
        from_start(Path("/nowhere"), tmp_path / "run")


def test_demonstrations_without_a_task_of_the_policy_are_refused(config: ContinualConfig, tmp_path: Path) -> None:
    other = tmp_path / "open"
    collect_demonstrations(other, {"open_sliding": 0}, episodes=1, cameras=())
    with pytest.raises(DemonstrationError, match="close the sliding door"):
        ContinualLearner(dataclasses.replace(config, dataset=(str(other),))).advance(RUNNING)


def test_a_round_looks_only_at_pictures_that_are_new(tmp_path: Path) -> None:
    seen, start = tmp_path / "seen", tmp_path / "start"
    collect_demonstrations(seen, {"close_sliding": 0}, episodes=1, cameras=("front",), image_size=32)
    frozen = dataclasses.replace(CLONE, inputs="images", encoder="frozen", views=1)
    train(TrainConfig(dataset=str(seen), run=str(start), steps=2, threads=1, bc=frozen))
    config = dataclasses.replace(from_start(start, tmp_path / "run"), min_new_successes=2)
    heard: list[Progress] = []
    learner, totals = ContinualLearner(config, heard.append), []
    for _ in range(2):
        practise(Path(config.practice), seen, [True, True])
        assert learner.advance(RUNNING) is not None
        totals.append({progress.steps for progress in heard if progress.phase == "look at pictures"})
        heard.clear()
    assert totals == [{Dataset(seen).num_frames + 12}, {12}]


def test_with_many_episodes_the_clone_trains_an_encoder_of_its_own(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    collect_demonstrations(seen, {"close_sliding": 0}, episodes=2, cameras=("front",), image_size=32)
    bc = dataclasses.replace(CLONE, inputs="images", encoder="frozen", views=1)
    inputs = bc.input_keys(["observation.images.front"])
    data = Demonstrations.load(Dataset(seen), inputs)
    made = {}
    for wanted in (2, 3):
        settings = SelfImitationConfig(own_encoder_from=wanted, own_encoder_steps=7)
        made[wanted] = CloneRounds(tmp_path / "run", bc, settings, 0, len(data)).learner(0, data, unheard)
    assert [made[wanted].network.spec.encoder for wanted in (2, 3)] == ["trained", "frozen"]
    assert made[2].steps == 7
