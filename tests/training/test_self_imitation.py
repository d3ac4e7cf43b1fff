"""Practice by self-imitation: what it leaves, that it goes on exactly, and that a kill loses the episode in progress only."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.self_imitation import SelfImitationConfig
from robot_learning.commands.main import main
from robot_learning.data import Dataset
from robot_learning.data.metadata import Metadata
from robot_learning.policies import load_policy, read_checkpoint, save_checkpoint
from robot_learning.training import self_imitation
from robot_learning.training.clone_rounds import CloneRounds
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.config import TrainConfig
from robot_learning.training.metrics import read_metrics
from robot_learning.training.offline import train
from robot_learning.training.practice_env import Autonomy
from robot_learning.training.practice_schedule import ScheduleConfig
from robot_learning.training.reset_free import ResetFree
from robot_learning.training.run_state import RunError
from robot_learning.training.self_imitation import practise
from robot_learning.training.self_imitation_run import SelfImitationRun, from_clone, read_run
from tests.data.kills import Killed

CLONE = BehaviourCloningConfig(inputs="state", hidden=(32,), batch_size=16)
PRACTICE = SelfImitationConfig(round_steps=200, gradient_steps=30, most_gradient_steps=60)


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "doors"
    collect_demonstrations(root, {"close_sliding": 0}, episodes=3, cameras=())
    return root


@pytest.fixture
def config(doors: Path, tmp_path: Path) -> SelfImitationRun:
    return SelfImitationRun(
        run=str(tmp_path / "run"), dataset=(str(doors),), tasks=("close_sliding",), online_steps=400,
        evaluate_processes=0, evaluate_episodes=1, settings=PRACTICE, bc=CLONE,
    )  # fmt: skip


def weights(run: str) -> dict[str, torch.Tensor]:
    return load_file(Path(run) / "checkpoints" / "last" / "weights.safetensors")


def same(one: SelfImitationRun, other: SelfImitationRun) -> bool:
    """Equal last policies, and equal practice up to the last action."""
    first, second = weights(one.run), weights(other.run)
    practised = [Dataset(Path(config.run) / "practice").column("action") for config in (one, other)]
    return all(torch.equal(first[key], second[key]) for key in first) and np.array_equal(*practised)


def test_rounds_practice_and_policies_are_kept(config: SelfImitationRun) -> None:
    result = practise(dataclasses.replace(config, evaluate_every=2))
    run, practised = Path(config.run), Dataset(Path(config.run) / "practice")
    assert result.finished and result.online_steps == practised.num_frames >= 400
    assert {path.name for path in (run / "rounds").iterdir()} == {"round_0", "round_1", "round_2"}
    assert load_policy(run / "checkpoints" / "best").tasks == ["close the sliding door"]
    assert read_checkpoint(run / "checkpoints" / "last").facts["Round"] == 2
    assert set(practised.episode_tasks) == {"close the sliding door"}
    assert any("success/close_sliding" in row for row in read_metrics(run))


def test_what_the_policy_was_never_shown_is_told_of_once(
    config: SelfImitationRun, capfd: pytest.CaptureFixture[str]
) -> None:
    stopped = dataclasses.replace(config, online_steps=200)
    practise(stopped)
    first = Path(config.run) / "rounds" / "round_0"
    told = capfd.readouterr().err
    policy = read_checkpoint(first)
    low, high = policy.config["familiar"]["observation.state"]
    low[0], high[0] = 8.0, 9.0  # where the first joint never is
    save_checkpoint(first, policy)
    again = dataclasses.replace(stopped, run=f"{config.run}_again", start=str(first))
    practise(again)
    told_now = capfd.readouterr().err
    assert [text.count("shoulder_pan_joint.pos is") for text in (told, told_now)] == [0, 1]


def test_a_round_learns_from_what_succeeded(config: SelfImitationRun) -> None:
    practise(config)
    frames = [row["train/frames"] for row in read_metrics(Path(config.run)) if "train/frames" in row]
    practised, demonstrated = Dataset(Path(config.run) / "practice"), Dataset(config.dataset[0]).num_frames
    gained = sum(int(b - a) for (a, b), s in zip(practised.episode_ranges, practised.episode_success, strict=True) if s)
    assert frames[0] == demonstrated and frames[-1] == demonstrated + gained


@pytest.mark.parametrize("moment", ["training", "practice"])
def test_an_interrupted_run_goes_on_to_the_very_same(
    config: SelfImitationRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    straight = dataclasses.replace(config, run=str(tmp_path / "straight"))
    practise(straight)
    name = {"training": "_data", "practice": "_episode"}[moment]
    real, calls = getattr(self_imitation._Loop, name), []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(self_imitation._Loop, name, interrupted)
        assert not practise(config).finished
    assert practise(config, resume=True).finished
    assert same(config, straight)


def test_ctrl_c_while_pictures_are_looked_at_stops_there_and_goes_on(
    config: SelfImitationRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, config = [], dataclasses.replace(config, online_steps=30)

    def looks(self, number, data, told):
        os.kill(os.getpid(), signal.SIGINT)
        for done in range(1, 101):
            looked.append(done)
            told("look at pictures", "pictures", done, 100)
        raise AssertionError("all pictures were looked at")

    with monkeypatch.context() as patch:
        patch.setattr(CloneRounds, "learner", looks)
        result = practise(config)
    assert (result.finished, result.online_steps, looked) == (False, 0, [1])
    assert practise(config, resume=True).finished


RUN = """
import sys
from pathlib import Path
from robot_learning.training.self_imitation import practise
from robot_learning.training.self_imitation_run import read_run
practise(read_run(Path(sys.argv[1])), resume=True)
"""


def test_a_killed_run_goes_on_to_the_very_same(config: SelfImitationRun, tmp_path: Path) -> None:
    straight, run = dataclasses.replace(config, run=str(tmp_path / "straight")), Path(config.run)
    practise(straight)
    run.mkdir()
    self_imitation.save_plain(run, config)
    for moment in ("practice/data/*/*.parquet", "rounds/round_1"):  # in the first round, as the second begins
        child = subprocess.Popen([sys.executable, "-c", RUN, config.run], stderr=subprocess.DEVNULL)
        started = time.monotonic()
        while not any(run.glob(moment)):
            assert child.poll() is None and time.monotonic() - started < 120
            time.sleep(0.002)
        child.kill()
        assert child.wait() == -signal.SIGKILL
    assert practise(config, resume=True).finished
    assert same(config, straight)


@pytest.mark.parametrize("written", [0, 2])
def test_a_run_that_died_inside_a_commit_goes_on_to_the_very_same(
    config: SelfImitationRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    straight = dataclasses.replace(config, run=str(tmp_path / "straight"))
    practise(straight)
    real, calls = Metadata.save_info, []

    def dies(self: Metadata, tasks: int) -> None:
        calls.append(tasks)
        if len(calls) > written:
            raise Killed
        real(self, tasks)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Metadata, "save_info", dies)
        practise(config)
    assert practise(config, resume=True).finished
    assert same(config, straight)
    for told in (Dataset(Path(each.run) / "practice") for each in (config, straight)):
        assert [told.episode_info(e)["episode"] for e in range(told.num_episodes)] == list(range(told.num_episodes))


def test_practice_that_nobody_resets_goes_on_to_the_very_same(
    config: SelfImitationRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = tmp_path / "both"
    collect_demonstrations(both, {"close_sliding": 0, "open_sliding": 3}, episodes=3, cameras=())
    config = dataclasses.replace(
        config, dataset=(str(both),), tasks=("close_sliding", "open_sliding"),
        autonomy=Autonomy(reset_free=True, episode_steps=30, schedule=ScheduleConfig(stir_after=2, ask_after=5)),
    )  # fmt: skip
    straight = dataclasses.replace(config, run=str(tmp_path / "straight"))
    practise(straight)
    real, calls = self_imitation._Loop._episode, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(self_imitation._Loop, "_episode", interrupted)
        assert not practise(config).finished
    assert practise(config, resume=True).finished
    assert same(config, straight)
    practised = Dataset(Path(config.run) / "practice")
    told = [practised.episode_info(episode) for episode in range(practised.num_episodes)]
    assert {"home", "stir"} <= {info["before"] for info in told}
    assert [info["task"].replace("_", " the ") + " door" for info in told] == practised.episode_tasks


def test_practice_that_nobody_resets_begins_where_demonstrations_did(config: SelfImitationRun, tmp_path: Path) -> None:
    both = tmp_path / "both"
    collect_demonstrations(both, {"close_sliding": 0, "open_sliding": 3}, episodes=2, cameras=())
    config = dataclasses.replace(
        config, dataset=(str(both),), tasks=("close_sliding", "open_sliding"), online_steps=100,
        autonomy=Autonomy(reset_free=True, episode_steps=10),
    )  # fmt: skip
    practise(config)
    shown, began = (_beginnings(Dataset(folder)) for folder in (both, Path(config.run) / "practice"))
    distance = np.abs(began[1:, None] - shown[None]).max(axis=2).min(axis=1)  # the first begins with a full reset
    assert (
        len(distance) > 5 and distance.max() < 0.06
    )  # 3 cm at random, 1 cm from which on it is there, and what it coasts


def _beginnings(dataset: Dataset) -> np.ndarray:
    """Where the tool is in the first frame of each episode, `(N, 3)` [m]."""
    names = dataset.features["observation.state"].names
    columns = [list(names).index(f"tcp.{axis}") for axis in "xyz"]
    return dataset.column("observation.state")[np.asarray(dataset.episode_ranges)[:, 0]][:, columns]


@pytest.mark.parametrize("look", [True, False])
def test_what_is_seen_from_home_has_the_last_word(
    config: SelfImitationRun, monkeypatch: pytest.MonkeyPatch, look: bool
) -> None:
    monkeypatch.setattr(ResetFree, "look", lambda _: (True, True))  # ten ticks are too few to get anything done
    autonomy = Autonomy(reset_free=True, episode_steps=10, look=look)
    practise(dataclasses.replace(config, online_steps=30, autonomy=autonomy))
    assert set(Dataset(Path(config.run) / "practice").episode_success.tolist()) == {look}


def test_a_clone_is_practised_with_by_finetune(doors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, practised = tmp_path / "clone", tmp_path / "clone_practised"
    flags = ["--dataset", str(doors), "--run", str(run), "--inputs", "state", "--steps", "20", "--threads", "1"]
    assert main(["train", "bc", *flags]) == 0
    assert main(["finetune", str(run / "checkpoints" / "last"), "--steps", "60"]) == 0
    first = load_file(practised / "rounds" / "round_0" / "weights.safetensors")
    assert all(torch.equal(first[key], value) for key, value in weights(str(run)).items())
    assert read_run(practised).tasks == ("close_sliding",)
    assert main(["finetune", str(run), "--resume", "--steps", "90", "--furniture", "4"]) == 0
    told = capsys.readouterr().err
    assert "given steps 90, the run goes on with its own 60" in told
    assert "given furniture 4, the run goes on with its own none" in told


@pytest.mark.parametrize("flag", ["--updates-per-step", "--keep-every"])
def test_what_is_not_for_clones_is_refused(tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("algorithm: bc\n")
    assert main(["finetune", str(tmp_path), "--run", str(tmp_path / "new"), flag, "2"]) == 2
    assert f"{flag} is of reinforcement learning, but {tmp_path} is a clone" in capsys.readouterr().err


def test_a_clone_with_prior_data_practises_its_own_tasks(doors: Path, tmp_path: Path) -> None:
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "clone"
    collect_demonstrations(elsewhere, {"open_sliding": 0}, episodes=1, cameras=())
    flags = ["--dataset", str(doors), "--prior", str(elsewhere), "--run", str(run), "--inputs", "state"]
    assert main(["train", "bc", *flags, "--steps", "20", "--threads", "1"]) == 0
    begun = from_clone(run, str(tmp_path / "practised"), 60)
    assert (begun.tasks, begun.prior) == (("close_sliding",), (str(elsewhere),))
    practise(dataclasses.replace(begun, settings=PRACTICE))
    both = ["close the sliding door", "open the sliding door"]
    assert load_policy(tmp_path / "practised" / "rounds" / "round_1").tasks == both


def test_practice_goes_on_from_what_the_clone_went_on_from(doors: Path, tmp_path: Path) -> None:
    pretrained, run = tmp_path / "pretrained", tmp_path / "clone"
    common = ["--inputs", "state", "--steps", "5", "--threads", "1"]
    assert main(["train", "bc", "--prior", str(doors), "--run", str(pretrained), *common]) == 0
    assert main(["train", "bc", "--dataset", str(doors), "--start", str(pretrained), "--run", str(run), *common]) == 0
    begun = from_clone(run, str(tmp_path / "practised"), 60)
    still = dataclasses.replace(begun, settings=PRACTICE, bc=dataclasses.replace(begun.bc, learning_rate=1e-9))
    practise(still)
    before, after = weights(str(pretrained)), load_file(tmp_path / "practised/rounds/round_1/weights.safetensors")
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_a_clone_of_prior_data_alone_has_nothing_to_practise(doors: Path, tmp_path: Path) -> None:
    train(TrainConfig(prior=(str(doors),), run=str(tmp_path / "general"), steps=2, threads=1, bc=CLONE))
    with pytest.raises(RunError, match="clone demonstrations of them first"):
        from_clone(tmp_path / "general", str(tmp_path / "practised"), 60)


def test_a_second_run_in_the_same_folder_is_refused(config: SelfImitationRun) -> None:
    Path(config.run).mkdir()
    self_imitation.save_plain(Path(config.run), config)
    with pytest.raises(RunError, match="already holds a run"):
        practise(config)


def test_without_demonstrations_it_says_what_to_do(config: SelfImitationRun) -> None:
    with pytest.raises(RunError, match="--dataset"):
        practise(dataclasses.replace(config, dataset=()))
