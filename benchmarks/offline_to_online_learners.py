"""What offline_to_online.py compares: one entry in `ALGORITHMS` each.

A learner learns from data (`offline`), goes on in the environment (`online`), acts, and saves its whole state between the two.
To add an algorithm: for one of the package, `_package(name, ...)`; else a subclass of `Learner`
and its entry.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from offline_to_online_learner import Learner
from offline_to_online_problems import PlayroomProblem
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger

from robot_learning.algorithms.behaviour_cloning import BehaviourCloning
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.self_imitation import SelfImitationConfig
from robot_learning.envs.tasks import TASKS
from robot_learning.policies import load_policy, save_checkpoint
from robot_learning.training.config import TrainConfig
from robot_learning.training.offline import train
from robot_learning.training.practice_data import make_algorithm
from robot_learning.training.rl_config import RUNS
from robot_learning.training.run_state import load_state, save_state
from robot_learning.training.self_imitation import practise
from robot_learning.training.self_imitation_run import SelfImitationRun

BC_STEPS = 2000
LIGHT: dict[str, Any] = {"hidden": (128, 128)}
"""Of the reinforcement learners, so that a run costs some 400 CPU seconds, as one of self-imitation does."""
LIGHT_BATCH = 128
PICTURES: dict[str, Any] = {
    "settings": SelfImitationConfig(round_steps=4000, gradient_steps=1000, most_gradient_steps=1000),
    "bc": BehaviourCloningConfig(inputs="images", dropout=0.1, learning_rate=3e-4),
}
"""Of self-imitation from pictures, where each training goes on from a clone of all that succeeded amid play."""
GENERAL, GENERAL_STEPS = "general", 5000  # that clone's folder, and its length


class Package(Learner):
    """One of the package's offline-to-online algorithms with the defaults of `robot-learning train`, but lighter."""

    def __init__(self, name: str, changes: Mapping[str, Any], *job: Any) -> None:
        super().__init__(*job)
        kind = RUNS[name][0]
        self.config = self.problem.config(self.seed, kind, offline_steps=self.budget.offline_steps)
        self.config = replace(self.config, settings=_settings(self.config.settings, changes), batch_size=LIGHT_BATCH)
        self.env = self.practice_env()
        self.algorithm = make_algorithm(self.config, self.env)
        self.algorithm.set_logger(Logger(None, []))
        self.algorithm.diverged_folder = self.folder
        plain_update = self.algorithm._update

        def timed_update(mixture: Mapping[str, float]) -> dict[str, float]:
            self.clock.steps["updates"] += 1
            with self.clock("updates"):
                return plain_update(mixture)

        self.algorithm._update = timed_update  # type: ignore[method-assign]

    def offline(self) -> None:
        """`pretrain`."""
        self.problem.fill(self.config, self.algorithm, self.env, self.seed)
        self.algorithm.pretrain(steps=self.budget.offline_steps)

    def online(self, until: int) -> None:
        """`learn`."""
        left = until - self.algorithm.num_timesteps
        if left > 0:
            self.algorithm.learn(left, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]

    def act(self, observation: Any, sample: bool) -> np.ndarray:
        """`predict`."""
        action: np.ndarray = self.algorithm.predict(observation, deterministic=not sample)[0]
        return action

    def save(self, folder: Path) -> None:
        """State and replay buffer."""
        assert self.algorithm.replay is not None
        self.algorithm.replay.save(folder / "replay")
        save_state(folder, self.algorithm.state(), {"episode": self.env.episode})

    def load(self, folder: Path) -> None:
        """The episode that was under way ends where it was saved."""
        saved = load_state(folder)
        assert saved is not None
        self.algorithm.load_state(saved[0])
        self.algorithm.load_replay_buffer(folder / "replay")
        self.env.episode = saved[1]["episode"]


class Scratch(Learner):
    """Stable-Baselines3's own SAC with its defaults, but for the sizes that all share; no data."""

    def __init__(self, *job: Any) -> None:
        super().__init__(*job)
        self.env = self.practice_env()
        self.flat = gymnasium.wrappers.FlattenObservation(self.env)
        gamma = self.problem.config(0, RUNS["rlpd"][0]).gamma
        self.model = SAC(
            "MlpPolicy",
            self.flat,
            gamma=gamma,
            batch_size=LIGHT_BATCH,
            policy_kwargs={"net_arch": list(LIGHT["hidden"])},
            buffer_size=self.budget.online_steps + 1,
            seed=self.seed,
            device="cpu",
        )
        self._prepare()

    def _prepare(self) -> None:
        self.model.set_logger(Logger(None, []))
        plain_train = self.model.train

        def timed_train(gradient_steps: int, batch_size: int = 64) -> None:
            self.clock.steps["updates"] += gradient_steps
            with self.clock("updates"):
                plain_train(gradient_steps, batch_size)

        self.model.train = timed_train  # type: ignore[method-assign]

    def online(self, until: int) -> None:
        """`learn`."""
        left = until - self.model.num_timesteps
        if left > 0:
            self.model.learn(left, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]

    def act(self, observation: Any, sample: bool) -> np.ndarray:
        """`predict`."""
        flat = self.flat.observation(observation)
        action: np.ndarray = self.model.predict(flat, deterministic=not sample)[0]
        return action

    def save(self, folder: Path) -> None:
        """Model and replay buffer."""
        del self.model.train  # the timer, which cannot be saved
        self.model.save(folder / "model.zip")
        self.model.save_replay_buffer(folder / "replay.pkl")
        (folder / "episode.json").write_text(json.dumps(self.env.episode))
        self._prepare()

    def load(self, folder: Path) -> None:
        """A new episode begins."""
        self.model = SAC.load(folder / "model.zip", env=self.flat, device="cpu")
        self.model.load_replay_buffer(folder / "replay.pkl")
        self.env.episode = json.loads((folder / "episode.json").read_text())
        self._prepare()


class Cloned(Learner):
    """Acts with a policy of the package's that was cloned; it has no sampled form."""

    policy: Any

    def begin(self, sample: bool) -> None:
        """Forget the plan."""
        self.policy.reset()

    def act(self, observation: Any, sample: bool) -> np.ndarray:
        """`predict` for the problem's task; what goes on from a generalist knows others, too."""
        known = TASKS.get(self.problem.name)
        action: np.ndarray = self.policy.predict(observation, known.instruction if known else self.policy.tasks[0])
        return action


class BC(Cloned):
    """Behaviour cloning of chunks on the demonstrations.

    Args:
        play: the task's successful attempts amid play are cloned as well; choose: the inputs are chosen first.
    """

    def __init__(self, play: bool, choose: bool, *job: Any) -> None:
        super().__init__(*job)
        self.play, self.choose = play, choose

    def offline(self) -> None:
        """A training of its own length, as that is part of its recipe."""
        data = self.problem.demonstrations(self.seed, self.play)
        steps = min(BC_STEPS, self.budget.offline_steps)
        config = BehaviourCloningConfig(inputs="state", choose_inputs=self.choose)
        with self.clock("updates"):
            learner = BehaviourCloning(config, data, np.arange(len(data)), steps, self.seed)
            for step in range(steps):
                learner.update(step, learner.batch(step))
        self.clock.steps["updates"] += steps
        save_checkpoint(self.folder / "policy", learner.checkpoint({}, []))
        self.load(self.folder)

    def load(self, folder: Path) -> None:
        """The policy is its whole state."""
        self.policy = load_policy(self.folder / "policy")


class SelfImitation(Cloned):
    """The package's practice by self-imitation; it runs to the end at once, and each mark is judged by the round it had then."""

    def __init__(self, changes: Mapping[str, Any], *job: Any) -> None:
        super().__init__(*job)
        assert isinstance(self.problem, PlayroomProblem)
        self.config = SelfImitationRun(
            run=str(self.folder / "run"),
            dataset=(str(self.problem.folder(self.seed)),),
            play=(str(self.problem.play(self.seed)),),
            pretrained=str(self.folder / GENERAL) if self.problem.pictures else "",
            tasks=(self.problem.name,),
            cameras=self.problem.cameras,
            online_steps=self.budget.online_steps,
            seed=self.seed,
            **changes,
        )

    def offline(self) -> None:
        """Round 0; practice belongs to no phase of the clock but "all"."""
        if self.problem.pictures:
            config = TrainConfig(prior=self.config.play, run=str(self.folder / GENERAL), steps=GENERAL_STEPS, threads=1)
            train(replace(config, seed=self.seed, bc=BehaviourCloningConfig(dropout=0.1)), resume=True)
        practise(self.config, resume=True)
        self._take(0)

    def online(self, until: int) -> None:
        """The round that acted at that step."""
        self._take(until)

    def load(self, folder: Path) -> None:
        """Everything is in the run's own folder."""
        self._take(0)

    def version(self) -> int:
        """The round."""
        return self.round

    def _take(self, step: int) -> None:
        rounds = sorted(int(path.name.split("_")[1]) for path in (self.folder / "run" / "rounds").glob("round_*"))
        number = step // self.config.settings.round_steps if step < self.budget.online_steps else rounds[-1]
        self.round = min(number, rounds[-1])
        self.policy = load_policy(self.folder / "run" / "rounds" / f"round_{self.round}")


class Peer(Package):
    """d3rlpy's CalQL in a process of its own, on the transitions, normalisation and mixture of our Cal-QL; offline only.

    Args:
        equal: "steps", or "seconds": the CPU time our Cal-QL had for its updates offline, whose job must be finished.
    """

    def __init__(self, equal: str, *job: Any) -> None:
        super().__init__("cal_ql", {"mode": "sampled"}, *job)
        self.equal = equal
        self.layers: dict[str, torch.Tensor] = {}

    def offline(self) -> None:
        """Export, train, read the actor back."""
        self.problem.fill(self.config, self.algorithm, self.env, self.seed)
        self.algorithm.fit_normalisation()
        self._export()
        limit = ["--steps", str(self.budget.offline_steps)]
        if self.equal == "seconds":
            limit = ["--seconds", str(self._seconds())]
        script = Path(__file__).with_name("offline_to_online_peer.py")
        files = [str(self.folder / "transitions.npz"), str(self.folder / "actor.npz")]
        settings = ["--gamma", str(self.config.gamma), "--batch", str(self.config.batch_size), "--seed", str(self.seed)]
        settings += ["--hidden", *map(str, self.config.settings.hidden)]
        if not self.budget.peer_python:
            raise RuntimeError("d3rlpy is compared in an interpreter of its own: give --peer-python")
        subprocess.run([self.budget.peer_python, str(script), *files, *limit, *settings], check=True)
        (self.folder / "transitions.npz").unlink()
        self.load(self.folder)
        self.clock.seconds["updates"] = float(self.layers["seconds"])
        self.clock.seconds["all"] += float(self.layers["seconds"])
        self.clock.steps["updates"] = int(self.layers["steps"])

    def _seconds(self) -> float:
        """CPU seconds of our updates offline."""
        ours = self.folder.parent / self.folder.name.replace("d3rlpy_seconds", "cal_ql") / "result.json"
        seconds: float = json.loads(ours.read_text())["offline_seconds"]
        return seconds

    def _export(self) -> None:
        """A sample of each source as large as makes a transition that is missing a rarity, features as the networks see them."""
        replay = self.algorithm.replay
        assert replay is not None
        arrays: dict[str, np.ndarray] = {}
        for source, share in self.algorithm._prior_mixture().items():
            count = min(8 * replay.size(source), 200_000)
            batch = self.algorithm.batch(replay.sample(count, {source: 1.0}, np.random.default_rng(self.seed)))
            names = ("features", "next_features", "action", "reward", "discount", "mc_return")
            arrays |= {f"{source}/{name}": getattr(batch, name).detach().numpy() for name in names}
            arrays[f"{source}/share"] = np.array(share)
        np.savez(self.folder / "transitions.npz", **arrays)

    def load(self, folder: Path) -> None:
        """The actor that was trained."""
        if not self.algorithm.normalised:
            self.problem.fill(self.config, self.algorithm, self.env, self.seed)
            self.algorithm.fit_normalisation()
        self.layers = {k: torch.from_numpy(v) for k, v in np.load(self.folder / "actor.npz").items()}

    def save(self, folder: Path) -> None:
        """The actor is in the job's folder already."""

    @torch.inference_mode()
    def act(self, observation: Any, sample: bool) -> np.ndarray:
        """d3rlpy's squashed Gaussian."""
        tensors = {key: torch.from_numpy(value[None]) for key, value in observation.items()}
        x = self.algorithm.own_policy.encode(tensors)
        for layer in ("_encoder._layers.0", "_encoder._layers.2"):
            x = torch.nn.functional.linear(x, self.layers[f"{layer}.weight"], self.layers[f"{layer}.bias"]).relu()
        mean, log_std = (
            torch.nn.functional.linear(x, self.layers[f"{head}.weight"], self.layers[f"{head}.bias"])
            for head in ("_mu", "_logstd")
        )
        noise = log_std.clamp(-20.0, 2.0).exp() * torch.randn_like(mean) if sample else 0.0
        action: np.ndarray = (mean + noise).tanh()[0].numpy()
        return action


@dataclass(frozen=True)
class Algorithm:
    """One entry.

    Attributes:
        offline, online: whether it learns in that phase; samples: whether its sampled policy differs from its mean.
        cost: CPU milliseconds of a gradient step or, online, of a step with all its updates; for the time left.
        maze: whether it can be run in the maze; pictures: whether it learns from cameras instead of the objects' state.
        after: an algorithm whose job of the same task and seed must be finished first.
        settings: of reinforcement learning; a job that was measured with others does not count.
    """

    title: str
    make: Callable[..., Learner]
    offline: bool = True
    online: bool = True
    samples: bool = True
    cost: tuple[float, float] = (10.0, 15.0)
    maze: bool = True
    pictures: bool = False
    after: str = ""
    settings: Mapping[str, Any] | None = None


def _package(title: str, name: str, cost: tuple[float, float], **changes: Any) -> Algorithm:
    settings = asdict(_settings(RUNS[name][0]().settings, changes))
    return Algorithm(title, lambda *job: Package(name, changes, *job), cost=cost, settings=settings)


def _settings(default: Any, changes: Mapping[str, Any]) -> Any:
    return replace(default, **{**LIGHT, **changes})


def _clone(title: str, maze: bool = False, play: bool = False, choose: bool = False) -> Algorithm:
    return Algorithm(
        title,
        lambda *job: BC(play, choose, *job),
        online=False,
        samples=False,
        cost=(4.0 + 3.0 * choose, 0.0),
        maze=maze,
    )


ALGORITHMS: dict[str, Algorithm] = {
    "bc": _clone("BC", maze=True),
    "bc_chosen": _clone("BC, chosen inputs", choose=True),
    "bc_play": _clone("BC, demonstrations and play", play=True),
    "sac": Algorithm("SAC from scratch", Scratch, offline=False, cost=(0.0, 12.0)),
    "iql": _package("IQL", "iql", (5.0, 9.0)),
    "cql": _package("CQL", "cal_ql", (10.0, 14.0), mode="sampled", calibrate=False),
    "cal_ql": _package("Cal-QL", "cal_ql", (10.0, 14.0), mode="sampled"),
    "rlpd": _package("RLPD", "rlpd", (10.0, 14.0)),
    "self_imitation": Algorithm(
        "self-imitation", lambda *job: SelfImitation({}, *job), samples=False, cost=(10.0, 15.0), maze=False
    ),
    "self_imitation_images": Algorithm(
        "self-imitation from pictures",
        lambda *job: SelfImitation(PICTURES, *job),
        samples=False,
        cost=(60.0, 40.0),
        maze=False,
        pictures=True,
    ),
    "d3rlpy_steps": Algorithm(
        "d3rlpy CalQL, equal steps", lambda *job: Peer("steps", *job), online=False, cost=(140.0, 0.0)
    ),
    "d3rlpy_seconds": Algorithm(
        "d3rlpy CalQL, equal CPU seconds",
        lambda *job: Peer("seconds", *job),
        online=False,
        cost=(55.0, 0.0),
        after="cal_ql",
    ),
}
"""What is compared, by its name on the command line, in the order of the tables."""
