"""Learning beside practice: clones of demonstrations and successes, one after the other, while somebody else practises.

config.yaml        everything that fixes what is learned, but for how fast practice grows
practice/          what the recorder writes meanwhile
rounds/round_K     the policy of K trainings; round_0 is the one that was started from
checkpoints/last   the newest of them
metrics.jsonl      size and loss of each training, by frames of practice

The policies on the disk say how many successes each has learned from. That is the whole state: a learner that was killed goes on
with the next round, and loses the training in progress.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.algorithms.self_imitation import SelfImitationConfig
from robot_learning.contract import IMAGE_PREFIX
from robot_learning.data import Dataset
from robot_learning.policies import Checkpoint, read_checkpoint
from robot_learning.policies.parcel import ROUND
from robot_learning.training.clone_rounds import LAST, CloneRounds, lengths, load_demonstrations
from robot_learning.training.config import FILE, from_plain, read_config, read_plain, save_plain
from robot_learning.training.metrics import MetricsLog
from robot_learning.training.offline import start_of
from robot_learning.training.practised import PractisedSuccesses
from robot_learning.training.relabelling import Relabeller, relabeller
from robot_learning.training.run_state import RunError

ALGORITHM = "continual"
SUCCESSES = "Successes"
"""The fact of a checkpoint that says how many successes of practice it has learned from."""
WAITING, TRAINING = "waiting for successes", "training"
POLL = 1.0  # how often it is looked whether practice has grown [s]


@dataclass(frozen=True)
class ContinualConfig:
    """Everything that fixes a run, but for what practice brings and when.

    Attributes:
        start: checkpoint of a clone that acts first; practice: the dataset that grows.
        dataset, play, prior: folders of what was demonstrated, and of prior data; learned from in every round.
        pretrained: run or checkpoint of a clone whose weights each training goes on from; empty: each begins anew.
        relabel: reward model that says what was done in play and prior data, and in failed practice besides its own task;
            relabel_questions: of tasks that are none of the playroom's (`goals_of`).
        min_new_successes: so many new successes before the next training.
    """

    run: str
    start: str
    practice: str
    dataset: tuple[str, ...]
    play: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()
    pretrained: str = ""
    relabel: str = ""
    relabel_questions: tuple[str, ...] = ()
    min_new_successes: int = 5
    seed: int = 0
    algorithm: str = ALGORITHM
    settings: SelfImitationConfig = field(default_factory=SelfImitationConfig)
    bc: BehaviourCloningConfig = field(default_factory=BehaviourCloningConfig)


@dataclass(frozen=True)
class Progress:
    """What the learner does: `phase`, with `step` of `steps` done (0 of 0 while it waits) and `seconds_left`.

    Attributes:
        round: of the newest policy. successes, fresh: of practice in all, and those no policy has learned from yet.
        episodes, frames: of practice. loss: the last one of the training in progress, or of the one before.
    """

    phase: str = "starting"
    step: int = 0
    steps: int = 0
    seconds_left: float = 0.0
    round: int = 0
    successes: int = 0
    fresh: int = 0
    episodes: int = 0
    frames: int = 0
    loss: float = float("nan")


class Stopped(Exception):
    """The learner was asked to stop."""


def from_start(
    start: Path,
    run: Path,
    dataset: tuple[str, ...] = (),
    play: tuple[str, ...] = (),
    prior: tuple[str, ...] = (),
) -> ContinualConfig:
    """The config to go on from a clone with: its own recipe and data, but for what is given.

    Args:
        start: a run of `robot-learning train bc`, or a checkpoint of a clone.

    Raises:
        RunError: there is no clone, or neither its run nor `dataset` names demonstrations that are there.
    """
    start = start.expanduser().absolute()
    is_run = (start / FILE).is_file()
    folder = start / "checkpoints" / "last" if is_run else start
    base = start if is_run else start.parent.parent
    checkpoint = read_checkpoint(folder)
    if checkpoint.config.get("algorithm") != "bc":
        raise RunError(f"{folder}: expected a clone (robot-learning train bc), found a policy of another kind")
    bc = from_plain(BehaviourCloningConfig, checkpoint.config["training"], str(folder / "config.json"))
    settings, kept = SelfImitationConfig(), dict[str, Any]()
    if (base / FILE).is_file() and read_plain(base).get("algorithm") == "bc":
        cloned = read_config(base)
        dataset, play, prior = (
            dataset or tuple(filter(None, [cloned.dataset])),
            play or cloned.play,
            prior or cloned.prior,
        )
        kept = {name: getattr(cloned, name) for name in ("seed", "relabel", "relabel_questions")}
        kept["pretrained"] = cloned.start
        if bc.inputs == "images":  # its trainings are long enough as they are, and take long
            settings = dataclasses.replace(settings, **lengths(cloned))
    if not dataset:
        raise RunError(f"{folder} is in no run of `train bc`, so its demonstrations are unknown: name them (dataset)")
    used = (*dataset, *play, *prior, *filter(None, [kept.get("pretrained"), kept.get("relabel")]))
    missing = [given for given in used if not Path(given).is_dir()]
    if missing:
        raise RunError(
            f"{folder}: what it learned from is not at {missing}, seen from {Path.cwd()}: name the data (dataset, play, prior), "
            "and put the models that it went on from, or relabelled with, where they were"
        )
    return ContinualConfig(
        run=str(run), start=str(folder), practice=str(run / "practice"), dataset=dataset, play=play, prior=prior,
        settings=settings, bc=bc, **kept,
    )  # fmt: skip


class ContinualLearner:
    """Goes on with the run in `config.run`, or begins it. `told` hears of all progress, in the thread that learns.

    Raises:
        RunError: the folder holds another run. CheckpointError: there is nothing to start from.
    """

    def __init__(self, config: ContinualConfig, told: Callable[[Progress], None] = lambda progress: None) -> None:
        self.config, self._told = config, told
        self.progress = Progress()
        self._data: Demonstrations | None = None
        self._relabeller: Relabeller | None = None
        self._log: MetricsLog | None = None
        self._begin()

    def _begin(self) -> None:
        """Round 0 is the policy that acts first; with it on the disk the run has begun."""
        config, run = self.config, Path(self.config.run)
        if (run / FILE).is_file():
            found = read_plain(run)
            if found.get("algorithm") != ALGORITHM or found.get("start") != config.start:
                raise RunError(
                    f"{run} holds another run: {found.get('algorithm')} that went on from {found.get('start') or 'nothing'}, "
                    f"not from {config.start}; choose another folder"
                )
        self.start = read_checkpoint(config.start)
        pretrained = start_of(config.pretrained)
        self.rounds = CloneRounds(run, config.bc, config.settings, config.seed, demonstrated=0, pretrained=pretrained)
        self._finish_round()
        if self.rounds.newest() is None:
            facts = {**self.start.facts, ROUND: 0, SUCCESSES: 0}
            run.mkdir(parents=True, exist_ok=True)
            self.rounds.keep(0, dataclasses.replace(self.start, facts=facts))
        save_plain(run, config)
        facts = self.newest.facts
        self.number, self.learned = int(facts[ROUND]), int(facts[SUCCESSES])
        cameras = [key for key in self.start.contract.observation if key.startswith(IMAGE_PREFIX)]
        self.inputs = config.bc.input_keys(cameras)
        self.practised = PractisedSuccesses(Path(config.practice), self.inputs, self.start.tasks)

    def _finish_round(self) -> None:
        """A learner killed while it kept a round may have left it as the newest policy only: it is not trained again."""
        before = self.rounds.newest()
        last = None if before is None else read_checkpoint(self.rounds.run / LAST)
        if last is not None and last.facts[ROUND] > before:
            self.rounds.keep(int(last.facts[ROUND]), last)

    @property
    def newest(self) -> Checkpoint:
        """The policy of the last round that is on the disk."""
        number = self.rounds.newest()
        assert number is not None  # `_begin` has kept one
        return read_checkpoint(self.rounds.folder(number))

    def run(self, stop: threading.Event, kept: Callable[[Checkpoint], None], poll: float = POLL) -> None:
        """Train whenever practice has brought enough, until `stop` is set; `kept` is called with the policy of each round.

        Raises:
            DatasetError, ContractError, DemonstrationError, RunError: the data does not fit. DivergedError. OSError: the disk.
            Calling it again goes on.
        """
        try:
            self._load(stop)
            while not stop.is_set():
                if (policy := self.advance(stop)) is not None:
                    kept(policy)
                else:
                    stop.wait(poll)
        except Stopped:
            return
        finally:
            if self._log is not None:
                self._log.close()
                self._log = None

    def advance(self, stop: threading.Event) -> Checkpoint | None:
        """One training, if practice has brought enough for it; the policy, which is on the disk (`run` for errors).

        Raises:
            Stopped: `stop` was set meanwhile.
        """
        data = self._load(stop)
        self.practised.look()
        successes = len(self.practised.chosen)
        fresh = successes - self.learned if successes >= self.learned else successes  # fewer: it is another dataset
        self._tell(
            phase=WAITING, step=0, steps=0, seconds_left=0.0, round=self.number, successes=successes, fresh=fresh,
            episodes=self.practised.episodes, frames=self.practised.frames,
        )  # fmt: skip
        if fresh < self.config.min_new_successes:
            return None
        parts = [data, *self.practised.load()]
        if self._relabeller is not None:
            parts += self._relabeller.others(Dataset(self.config.practice), self.practised.failed, self.inputs)
        return self._train(self.number + 1, Demonstrations.join(parts, practised=True), stop)

    def _train(self, number: int, data: Demonstrations, stop: threading.Event) -> Checkpoint | None:
        began = time.monotonic()

        def prepared(title: str, unit: str, done: int, total: int) -> None:
            self._step(stop, title, done, total, began)

        learner = self.rounds.learner(number, data, prepared)
        began = time.monotonic()

        def go_on(step: int, loss: float) -> bool:
            self._step(stop, TRAINING, step, learner.steps, began, loss=loss)
            return True

        metrics = self.rounds.train(learner, go_on)
        assert metrics is not None  # `go_on` stops by an exception
        practised = self.practised
        facts = {
            "Algorithm": "self-imitation beside practice",
            "Data": ", ".join(Path(folder).name for folder in self.config.dataset),
            "Practice": f"{practised.frames} frames, {len(practised.chosen)} of {practised.episodes} episodes succeeded",
            ROUND: number,
            SUCCESSES: len(practised.chosen),
            "Seed": self.config.seed,
        }
        checkpoint = learner.checkpoint(facts, [])
        self.rounds.keep(number, checkpoint)
        self.number, self.learned = number, len(practised.chosen)
        self._log = self._log or MetricsLog(self.rounds.run, practised.frames)
        values = {
            "train/loss": metrics["loss"],
            "train/steps": learner.steps,
            "train/frames": len(data),
            "train/round": number,
        }
        self._log.log(practised.frames, values)
        self._tell(phase=WAITING, step=0, steps=0, seconds_left=0.0, round=number, fresh=0)
        return checkpoint

    def _load(self, stop: threading.Event) -> Demonstrations:
        """The demonstrations, once."""
        if self._data is None:
            config = self.config
            self._tell(phase="reading the demonstrations")
            judge = self._relabeller = relabeller(config.relabel, config.relabel_questions)
            folders, known = (config.dataset, config.play, self.inputs), self.start.tasks
            data = load_demonstrations(*folders, known, config.prior, judge, is_generalist=bool(config.pretrained))
            data.contract.require(self.start.contract, f"checkpoint {config.start}")
            self._data, self.rounds.demonstrated = data, len(data) - data.prior
            if stop.is_set():
                raise Stopped
        return self._data

    def _step(
        self, stop: threading.Event, phase: str, step: int, steps: int, began: float, loss: float = float("nan")
    ) -> None:
        """Progress within a training. Raises `Stopped`."""
        if stop.is_set():
            raise Stopped
        left = (time.monotonic() - began) / step * (steps - step) if step else 0.0
        shown = loss if loss == loss else self.progress.loss
        self._tell(phase=phase, step=step, steps=steps, seconds_left=left, loss=shown)

    def _tell(self, **changes: object) -> None:
        self.progress = dataclasses.replace(self.progress, **changes)  # type: ignore[arg-type]
        self._told(self.progress)
