"""Practice by self-imitation: rounds of acting with noise and of cloning demonstrations and successes anew.

config.yaml        everything that fixes the result
practice/          every episode of practice, failures too: a LeRobot dataset like any other
rounds/round_K     the policy that K rounds of practice have made; round_0 knows the demonstrations alone
checkpoints/last   the newest of them, best: the one that did best in the evaluations
metrics.jsonl      success of practice and of evaluations

The episodes on the disk and the policies of the rounds are the whole state: each round's data, weights and noise follow from them
and from the seed. So a run that was interrupted, or killed, ends as it would have, and a kill loses the episode in progress.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.algorithms.self_imitation import Exploration, Lingering
from robot_learning.contract import IMAGE_PREFIX
from robot_learning.data import Dataset, DatasetWriter
from robot_learning.policies import Checkpoint, ChunkPolicy, load_policy, read_checkpoint, save_checkpoint
from robot_learning.policies.familiar import StrangerWatch
from robot_learning.training.clone_rounds import CloneRounds, load_demonstrations
from robot_learning.training.config import begin_or_resume, save_plain
from robot_learning.training.interrupt import Stopped, StopRequest
from robot_learning.training.metrics import MetricsLog
from robot_learning.training.offline import start_of
from robot_learning.training.pausing import tell
from robot_learning.training.practice_env import (
    contract_of,
    evaluate_between,
    find_wrapper,
    in_turn,
    make_practice_env,
    on_robot,
    require_ready,
    require_real,
    require_serves,
    stop_waiting_when,
    tasks_of,
    without_simulator,
)
from robot_learning.training.practice_schedule import Attempt
from robot_learning.training.progress import Preparation, ProgressBar
from robot_learning.training.relabelling import relabeller
from robot_learning.training.reset_free import ResetFree
from robot_learning.training.run_state import RunError
from robot_learning.training.self_imitation_run import SelfImitationRun, read_run

PRACTICE = "practice"
RECENT = 20  # episodes that the success shown in the progress bar is taken over


@dataclass(frozen=True)
class SelfImitationResult:
    """Where the run is, how many steps were practised, whether it is finished, and the last evaluation (None without)."""

    run: Path
    online_steps: int
    finished: bool
    success: float | None


def practise(config: SelfImitationRun, resume: bool = False) -> SelfImitationResult:
    """Clone the demonstrations and practise for `online_steps`, or until Ctrl-C.

    Args:
        resume: go on with the run in `config.run` where there is one; its own config.yaml then holds, not `config`.

    Raises:
        RunError: the run exists and `resume` is false, or the environment is none for this. DemonstrationError, ContractError,
            DatasetError: the data does not fit. GraphIncompleteError: a robot cannot be practised on.
    """
    config, started = begin_or_resume(config, resume, read_run)
    config, run = without_simulator(config), Path(config.run)
    if not config.dataset:
        raise RunError("no demonstrations to start from: name a dataset (--dataset)")
    require_real(config.env, config.bc.input_keys([]), f"a clone with inputs {config.bc.inputs!r}")
    torch.set_num_threads(config.threads)
    cameras = config.cameras if config.bc.inputs == "images" else ()
    env = make_practice_env(config.env, config.tasks, cameras, config.image_size, config.robot, config.autonomy)
    try:
        if config.start:
            require_serves(env, config.env, Path(config.start))
        loop = _Loop(config, run, env)
        if loop.steps < config.online_steps:
            require_ready(env, config.tasks)
        run.mkdir(parents=True, exist_ok=True)
        if not started:
            save_plain(run, config)
        return loop.go()
    finally:
        env.close()


class _Loop:
    """Practice, training of the clone, evaluation; everything that is written."""

    def __init__(self, config: SelfImitationRun, run: Path, env: gymnasium.Env[Any, Any]) -> None:
        self.config, self.run = config, run
        self.env = in_turn(env, config.env, tasks_of(config.tasks, config.autonomy), config.seed)
        self.contract = contract_of(env)
        self.instructions: list[str] = self.env.env.instructions  # type: ignore[attr-defined]
        self.inputs = config.bc.input_keys([IMAGE_PREFIX + camera for camera in config.cameras])
        self.relabeller = relabeller(config.relabel, config.relabel_questions)
        self.demonstrated = load_demonstrations(
            config.dataset, config.play, self.inputs, self.instructions, config.prior, self.relabeller
        )
        demonstrated = len(self.demonstrated) - self.demonstrated.prior
        pretrained = start_of(config.pretrained)
        self.rounds = CloneRounds(run, config.bc, config.settings, config.seed, demonstrated, pretrained)
        self.contract.require(self.demonstrated.contract, f"the data {', '.join(config.dataset)}")
        self.lengths: list[int] = []
        self.successes: list[bool] = []
        self.strange: set[str] = set()
        self.alone = find_wrapper(self.env, ResetFree)
        self.confirm = self.alone is not None and config.autonomy.confirm
        if self.alone is not None:
            self.alone.begin_as(self.demonstrated)
        if (run / PRACTICE).exists():
            # A kill inside a commit leaves an episode that only a writer's recovery finishes: first that, then count.
            DatasetWriter.open_or_create(run / PRACTICE, self.contract).close()
            practised = Dataset(run / PRACTICE)
            self.lengths = [int(b - a) for a, b in practised.episode_ranges]
            self.successes = practised.episode_success.tolist()
            self._recall(practised)
        self.rate: float | None = None

    def _recall(self, practised: Dataset) -> None:
        """Where practice without resets stood."""
        if self.alone is not None:
            told = [practised.episode_info(episode) for episode in range(practised.num_episodes)]
            past = [Attempt(i["task"], s, i["before"]) for i, s in zip(told, self.successes, strict=True)]
            if not self.alone.recall(self.run, past):
                tell("The scene was not kept, so practice begins with a full reset, counted as an intervention.")

    @property
    def steps(self) -> int:
        """Practised so far."""
        return sum(self.lengths)

    def go(self) -> SelfImitationResult:
        """Run to the end or to Ctrl-C."""
        self._log = MetricsLog(self.run, self.steps)
        try:
            with StopRequest() as stop:
                stop_waiting_when(self.env, lambda: stop.requested)
                finished = self._rounds(stop)
        finally:
            self._log.close()
        return SelfImitationResult(self.run, self.steps, finished, self.rate)

    def _rounds(self, stop: StopRequest) -> bool:
        last = math.ceil(self.config.online_steps / self.config.settings.round_steps)
        for number in range(last + 1):
            if not self.rounds.folder(number).exists() and not self._train(number, stop):
                return False
            if number < last and not self._practise(number, stop):
                return False
        return True

    def _practised_until(self, number: int) -> int:
        """How many episodes precede the training of round `number`."""
        wanted = min(number * self.config.settings.round_steps, self.config.online_steps)
        ends = np.cumsum([0, *self.lengths])
        return int(np.searchsorted(ends, wanted))

    # --- practice -----------------------------------------------------------------------------------------------------------

    def _practise(self, number: int, stop: StopRequest) -> bool:
        """Practise with the policy of round `number` until the next is due; False when Ctrl-C came first."""
        until = min((number + 1) * self.config.settings.round_steps, self.config.online_steps)
        if self.steps >= until:
            return True
        policy = load_policy(self.rounds.folder(number), self.contract)
        assert isinstance(policy, ChunkPolicy)
        with (
            DatasetWriter.open_or_create(self.run / PRACTICE, self.contract) as writer,
            ProgressBar(f"practise, round {number}", self.config.online_steps, "steps", self.steps) as bar,
        ):
            while self.steps < until:
                if stop.requested or not self._episode(policy, writer, stop):
                    return False
                recent = self.successes[-RECENT:]
                bar.update(self.steps, f"success {sum(recent)}/{len(recent)}" if recent else "")
                if recent:
                    asked = {} if self.alone is None else {"practice/interventions": self.alone.interventions}
                    self._log.log(self.steps, {"practice/success": sum(recent) / len(recent), **asked})
        return True

    def _episode(self, policy: ChunkPolicy, writer: DatasetWriter, stop: StopRequest) -> bool:
        """One episode into `writer`; False when Ctrl-C came while a robot was waited for.

        An episode that was cut off because a robot held or could not be seen is no failure of the policy's: it is not kept.
        """
        number = len(self.lengths)
        self.env.episode = self.env.env.episodes = number  # type: ignore[attr-defined]
        observation, info = self.env.reset()
        if stop.requested and on_robot(self.config.env):
            return False
        policy.reset()
        watch = policy.watch()
        explore = Exploration(self.config.settings, len(self.contract.action.names), self.config.seed, number)
        success = Lingering(self.config.settings.linger, self.confirm)
        over, truly, length, taken = False, False, 0, 0
        while not over:
            watch.look(observation)
            self._tell_once(watch)
            wanted = explore(policy.predict(observation, info["instruction"]))
            following, reward, terminated, truncated, info = self.env.step(wanted)
            if info.get("lost"):
                break
            action = info.get("action_taken", wanted)
            taken += int("action_taken" in info)
            policy.carried_out(action)
            length, known = length + 1, bool(info.get("true_success"))
            truly = known if self.confirm else truly or known
            over = success.over(bool(info["is_success"])) or truncated or (terminated and not success.solved)
            outcome = {
                "next.reward": np.array([reward], np.float32),
                "next.done": np.array([over]),
                "next.success": np.array([info["is_success"]]),
            }
            seen = {key: observation[key] for key in self.contract.observation}
            writer.add_frame({**seen, "action": action, **outcome}, task=info["instruction"])
            observation = following
        solved = success.solved
        if info.get("held") and not solved:
            writer.discard_episode()
            return True
        if self.alone is not None and self.config.autonomy.look:
            solved, truly = self.alone.look()
        facts = {"episode": number, "source": "practice", "noisy": explore.noisy}
        facts |= {"not_its_own_actions": taken} if taken else {}
        facts |= {"true_success": truly} if "true_success" in info else {}
        if self.alone is not None:
            facts |= {"task": info["task"], "before": self.alone.ended(info["task"], solved)}
        writer.save_episode(success=solved, info=facts)
        self.lengths.append(length)
        self.successes.append(solved)
        if self.alone is not None:
            self.alone.save(self.run, len(self.lengths))
        return True

    def _tell_once(self, watch: StrangerWatch) -> None:
        """Of each element of the observation that is far from all the policy was shown, once."""
        for element in watch.found:
            if element not in self.strange:
                self.strange.add(element)
                tell(f"After {self.steps} steps of practice {watch.say(element)}")

    # --- training -----------------------------------------------------------------------------------------------------------

    def _train(self, number: int, stop: StopRequest) -> bool:
        """Clone demonstrations and the successes of all rounds before; False when Ctrl-C came first."""
        if number == 0 and self.config.start:
            self._keep(number, read_checkpoint(self.config.start))
            return True
        data, config = self._data(number), self.config
        try:
            learner = self.rounds.learner(number, data, Preparation(stop=lambda: stop.requested))
        except Stopped:
            return False
        with ProgressBar(f"clone, round {number}", learner.steps, "steps") as bar:

            def go_on(step: int, loss: float) -> bool:
                if step:
                    bar.update(step, f"loss {loss:.3f}")
                return not stop.requested

            metrics = self.rounds.train(learner, go_on)
        if metrics is None:
            return False
        facts = {
            "Algorithm": "self-imitation",
            "Data": ", ".join(Path(folder).name for folder in config.dataset),
            "Practice": f"{self.steps} steps, {sum(self.successes)} of {len(self.successes)} episodes succeeded",
            "Round": number,
            "Seed": config.seed,
        }
        self._keep(number, learner.checkpoint(facts, []))
        self._log.log(
            self.steps, {"train/loss": metrics["loss"], "train/steps": learner.steps, "train/frames": len(data)}
        )
        return True

    def _data(self, number: int) -> Demonstrations:
        """Demonstrations and successes up to the training of round `number`."""
        until = self._practised_until(number)
        if not until:
            return self.demonstrated
        parts, practised = [self.demonstrated], Dataset(self.run / PRACTICE)
        if chosen := [e for e in range(until) if self.successes[e]]:
            parts.append(Demonstrations.load(practised, self.inputs, episodes=chosen))
        if self.relabeller is not None:
            failed = [e for e in range(until) if not self.successes[e]]
            parts += self.relabeller.others(practised, failed, self.inputs)
        return Demonstrations.join(parts, practised=True)

    def _keep(self, number: int, checkpoint: Checkpoint) -> None:
        """Evaluate if it is time to; the round's folder comes last, as it says that the round is done."""
        config, last = self.config, self.run / "checkpoints" / "last"
        if config.evaluate_every and number % config.evaluate_every == 0:
            save_checkpoint(last, checkpoint)
            result = evaluate_between(last, config, config.autonomy.furniture)
            self._log.log(self.steps, {f"success/{name}": task.rate for name, task in result.tasks.items()})
            self.rate, best = result.rate, self.run / "checkpoints" / "best"
            checkpoint = dataclasses.replace(
                checkpoint, success=result.lines(), facts={**checkpoint.facts, "Evaluated": result.rate}
            )
            if not best.exists() or result.rate >= read_checkpoint(best).facts["Evaluated"]:
                save_checkpoint(best, checkpoint)
        self.rounds.keep(number, checkpoint)
