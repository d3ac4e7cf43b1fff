"""What a reward model says was done in a recording."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import DemonstrationError, load_prior
from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetWriter
from robot_learning.data.recording import HELD
from robot_learning.data.schema import Feature
from robot_learning.envs.tasks import TASKS
from robot_learning.policies import read_checkpoint
from robot_learning.training import relabelling
from robot_learning.training.config import TrainConfig, write_config
from robot_learning.training.continual import from_start
from robot_learning.training.offline import train
from robot_learning.training.relabelling import CERTAIN, LONGEST, Goal, Relabeller, goals_of
from robot_learning.training.run_state import RunError
from robot_learning.training.self_imitation_run import from_clone

STATE, FRONT = "observation.state", "observation.images.front"
OPEN, CLOSE, IN = (TASKS[name] for name in ("open_drawer", "close_drawer", "sweep_object"))
SIDE = 16


class Scripted:
    """A reward model that gives, picture by picture, the answers it was told to, and again from the first one on."""

    cameras = ("front",)
    threshold = no_threshold = 0.5

    def __init__(self, questions: Sequence[str], answers: Sequence[Sequence[int]]) -> None:
        self.questions, self.answers, self.shown = tuple(questions), np.array(answers, np.float32), 0

    def probabilities(self, images: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = (self.shown + np.arange(len(images["front"]))) % len(self.answers)
        self.shown += len(rows)
        return self.answers[rows]


def pair(states: str) -> Scripted:
    """Of the drawer: o where it looks open, c closed, - neither, b both."""
    known = {"o": (1, 0), "c": (0, 1), "-": (0, 0), "b": (1, 1)}
    return Scripted([OPEN.question, CLOSE.question], [known[state] for state in states])


def recorded(root: Path, frames: int, task: str, held: int = 0) -> Dataset:
    """An episode that failed at its task, in whose first frames the robot held."""
    contract = Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(SIDE, SIDE)
    black, still, outcome = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros(5, np.float32), ("next.done", "next.success")
    with DatasetWriter.create(root, contract, extra={HELD: Feature("bool", (1,))}) as writer:
        for frame in range(frames):
            row = {STATE: np.full(18, frame, np.float32), FRONT: black, "action": still, HELD: np.bool_(frame < held)}
            writer.add_frame(
                {**row, "next.reward": np.float32(0), **dict.fromkeys(outcome, np.bool_(False))}, task=task
            )
        writer.save_episode(success=False)
    return Dataset(root)


def found(tmp_path: Path, reward: Scripted, linger: int = 2) -> list[tuple[int, int, str]]:
    dataset = recorded(tmp_path / "play", len(reward.answers), "do something")
    return [tuple(done) for done in Relabeller(reward, linger=linger)(dataset)]


def test_what_was_seen_undone_and_then_done_was_done(tmp_path: Path) -> None:
    assert found(tmp_path, pair("ccc---ooooo")) == [(0, 10, OPEN.instruction)]


def test_one_thing_begins_where_the_other_was_done(tmp_path: Path) -> None:
    opened, closed = found(tmp_path, pair("c" * 20 + "o" * 20 + "c" * 5))
    assert opened == (0, 24, OPEN.instruction) and closed == (22, 44, CLOSE.instruction)


def test_what_was_hidden_for_a_while_was_not_done_again(tmp_path: Path) -> None:
    assert found(tmp_path, pair("cc-oo" + 15 * "-" + "ooo")) == [(0, 7, OPEN.instruction)]


def test_what_looks_done_and_undone_is_not_done(tmp_path: Path) -> None:
    assert found(tmp_path, pair("ccc-bbbb")) == []


def test_one_frame_of_yes_is_not_enough(tmp_path: Path) -> None:
    assert found(tmp_path, pair("ccc-o-o-")) == []


@pytest.mark.parametrize(("undone", "done"), [(CERTAIN - 1, 0), (CERTAIN, 1)])
def test_without_its_reverse_a_longer_no_must_do(tmp_path: Path, undone: int, done: int) -> None:
    assert len(found(tmp_path, Scripted([IN.question], [[0]] * undone + [[1]] * 3))) == done


def test_an_attempt_is_not_longer_than_one(tmp_path: Path) -> None:
    ((start, end, _),) = found(tmp_path, pair("c" * 200 + "ooo"), linger=0)
    assert (start, end) == (201 - LONGEST, 202)


def test_play_without_labels_is_prior_data(tmp_path: Path) -> None:
    reward = pair("ccc---ooooo")
    recorded(tmp_path / "play", 11, "do something")
    prior = load_prior([str(tmp_path / "play")], [STATE], Relabeller(reward, linger=0))
    assert prior.tasks == [OPEN.instruction] and len(prior) == 8


def test_play_in_which_nothing_was_done_is_refused(tmp_path: Path) -> None:
    recorded(tmp_path / "play", 6, "do something")
    with pytest.raises(DemonstrationError, match="nothing that was tried"):
        load_prior([str(tmp_path / "play")], [STATE], Relabeller(pair("cccccc")))


def test_practice_that_did_another_task_is_learned_from_as_that(tmp_path: Path) -> None:
    dataset = recorded(tmp_path / "practice", 11, CLOSE.instruction, held=2)
    (part,) = Relabeller(pair("ccc---ooooo"), linger=0).others(dataset, [0], [STATE])
    assert part.tasks == [OPEN.instruction] and part.vectors[STATE][:, 0].tolist() == [
        2,
        3,
        4,
        5,
        6,
        7,
    ]  # without holds


def test_its_own_task_is_not_another(tmp_path: Path) -> None:
    dataset = recorded(tmp_path / "practice", 11, OPEN.instruction)
    assert Relabeller(pair("ccc---ooooo")).others(dataset, [0], [STATE]) == []


def test_an_episode_is_looked_at_once(tmp_path: Path) -> None:
    dataset, reward = recorded(tmp_path / "practice", 11, CLOSE.instruction), pair("ccc---ooooo")
    relabeller = Relabeller(reward)
    first, second = (relabeller.others(dataset, [0], [STATE]) for _ in range(2))
    assert len(first) == len(second) == 1 and reward.shown == 11


def test_a_camera_that_was_not_recorded_is_named(tmp_path: Path) -> None:
    reward = pair("c")
    reward.cameras = ("wrist",)
    with pytest.raises(RunError, match=r"looks through .*wrist.*recorded are .*front"):
        found(tmp_path, reward)


def test_a_model_that_knows_no_question_is_refused_and_both_sides_named() -> None:
    with pytest.raises(RunError, match=r"none of the questions .*drawer open.*known: \['is it tea time\?'\]"):
        Relabeller(Scripted(["is it tea time?"], [[1]]))


def test_tasks_of_ones_own_are_found_by_their_questions(tmp_path: Path) -> None:
    goals = goals_of(["make tea = is it tea time? | is it bedtime?"])
    assert goals == (Goal("make tea", "is it tea time?", "is it bedtime?"),)
    reward = Scripted(["is it bedtime?", "is it tea time?"], [(1, 0)] * 3 + [(0, 1)] * 3)
    dataset = recorded(tmp_path / "play", 6, "do something")
    assert [tuple(done) for done in Relabeller(reward, goals, linger=0)(dataset)] == [(0, 5, "make tea")]


@pytest.mark.parametrize("entry", ["make tea", "= is it tea time?", "make tea ="])
def test_an_entry_of_another_form_is_refused(entry: str) -> None:
    with pytest.raises(RunError, match="expected 'instruction = question"):
        goals_of([entry])


def test_training_learns_what_the_model_says_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path / "play", 11, "do something")
    monkeypatch.setattr(relabelling, "load_reward", lambda folder: {"reward": pair("ccc---ooooo")}[folder])
    small = BehaviourCloningConfig(
        inputs="images", channels=(4, 4), kernels=(3, 3), strides=(2, 1), hidden=(8,), batch_size=4
    )
    run = str(tmp_path / "run")
    train(TrainConfig(prior=(str(tmp_path / "play"),), relabel="reward", run=run, steps=1, threads=1, bc=small))
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last").tasks == [OPEN.instruction]


def test_practice_goes_on_relabelling_as_the_clone_did(tmp_path: Path) -> None:
    data, reward = recorded(tmp_path / "data", 6, OPEN.instruction).root, tmp_path / "reward"
    reward.mkdir()
    bc = BehaviourCloningConfig(
        inputs="images", channels=(4, 4), kernels=(3, 3), strides=(2, 1), hidden=(8,), batch_size=4
    )
    clone = TrainConfig(dataset=str(data), run=str(tmp_path / "clone"), only_success=False, steps=1, threads=1, bc=bc)
    train(clone)
    entries = ("make tea = is it tea time?",)
    write_config(tmp_path / "clone", dataclasses.replace(clone, relabel=str(reward), relabel_questions=entries))
    alone, beside = from_clone(tmp_path / "clone", "run", 10), from_start(tmp_path / "clone", tmp_path / "run")
    assert (
        (alone.relabel, alone.relabel_questions) == (beside.relabel, beside.relabel_questions) == (str(reward), entries)
    )
