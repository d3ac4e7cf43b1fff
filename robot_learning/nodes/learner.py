"""learner: trains on what the recorder writes while the robot practises, and sends each new policy to the policy node.

It runs on the machine that has the dataset; the policy may be on another. Neither waits for the other: a policy that comes later,
or comes back, finds the newest weights on the topic, and a learner that was killed goes on with the next round.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import traceback
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from std_msgs.msg import UInt8MultiArray

from robot_learning.contract import ENVIRONMENT_STATE
from robot_learning.data.files import WriterLock, writing
from robot_learning.envs.observation import environment_state_stream
from robot_learning.errors import UserError
from robot_learning.nodes.base import ERROR, OK, NodeConfig, RobotNode, latched
from robot_learning.nodes.parameters import ParameterError
from robot_learning.nodes.running import run
from robot_learning.policies import Checkpoint
from robot_learning.policies.parcel import pack
from robot_learning.training.continual import (
    TRAINING,
    WAITING,
    ContinualConfig,
    ContinualLearner,
    Progress,
    from_start,
)

RETRY = 10.0  # after what went wrong [s, wall]
HEALTH_PERIOD = 0.5  # [s, wall]
PATIENCE = 20.0  # longest wait for the thread to end; what holds it is reading pictures from the disk [s, wall]


@dataclass(frozen=True)
class Config(NodeConfig):
    """Parameters of the learner."""

    run: str = ""
    """Folder of the run: its policies; gone on with when it is there. Must be given."""
    start: str = ""
    """What acts first: a run of `robot-learning train bc`, or a checkpoint of a clone. Must be given."""
    dataset: tuple[str, ...] = ()
    """Folders of demonstrations; empty: those that the run `start` was trained on."""
    play: tuple[str, ...] = ()
    """Folders of play, whose successes are learned from like demonstrations; empty: those of the run `start`."""
    prior: tuple[str, ...] = ()
    """Folders of prior data from elsewhere, part of each batch; empty: those of the run `start`."""
    practice: str = ""
    """Folder of the dataset that the recorder writes; empty: `practice` in the folder of the run."""
    min_new_successes: int = 5
    """So many new successes before the next training."""
    gradient_steps: int = 0
    """Gradient steps of a training on the demonstrations alone, more with practice; 0: 3000, from pictures those of `start`."""
    most_gradient_steps: int = 0
    """No training is longer; 0: twice `gradient_steps`."""
    policy: str = "policy"
    """Name of the policy's node, which hears new weights on <policy>/weights."""
    threads: int = 1
    """Threads of the training."""
    nice: int = 10
    """Niceness of the training, 0 to 19: the higher, the more it leaves to the control loop on the same cores."""


class Learner(RobotNode[Config]):
    """See the module's docstring. Trains in a thread of low priority, which no control loop is in the process of."""

    def __init__(self, **options: Any) -> None:
        super().__init__("learner", Config, **options)
        self._learner: ContinualLearner | None = None
        self._lock: WriterLock | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._progress, self._trouble = Progress(), ""

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Find where the run stands, and send its newest policy."""
        names = [field.name for field in dataclasses.fields(Config) if field.name not in ("contract", "autostart")]
        self.config = dataclasses.replace(self.config, **{name: _read(self, name) for name in names})
        _check(self.config)
        try:
            learner = self._begin()
        except BaseException:
            self._leave()
            raise
        self._weights = self.create_publisher_plain(UInt8MultiArray, f"{self.config.policy}/weights", latched())
        self._health = self.wall_timer(HEALTH_PERIOD, self._show)
        self._progress, self._trouble = Progress(round=learner.number), ""
        self._send(learner.newest)

    def _begin(self) -> ContinualLearner:
        config = _resolved(self.config)
        folder = Path(config.run)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        # two would mix their rounds; the folder's other lock is that of practice
        self._lock = WriterLock(folder, ".learner.lock")
        self._lock.acquire()
        self._learner = ContinualLearner(config, self._hear)
        self._require_contract(self._learner.start)
        return self._learner

    def _leave(self) -> None:
        self._learner = None
        if self._lock is not None:
            self._lock.release()

    def do_activate(self) -> None:
        """Train from now on."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._learn, name="learner", args=(self._stop,), daemon=True)
        self._thread.start()

    def do_deactivate(self) -> None:
        """Give up the training in progress; what was learned before is on the disk."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)
            self._thread = None

    def do_cleanup(self) -> None:
        """Leave the graph."""
        if self._learner is not None:
            self.destroy_timer(self._health)
            self.destroy_publisher(self._weights)
            self._leave()

    def _require_contract(self, start: Checkpoint) -> None:
        here = self.contract
        if ENVIRONMENT_STATE in start.contract.observation:  # as the recorder adds it, in simulation
            here = here.with_stream(ENVIRONMENT_STATE, environment_state_stream(here.rate))
        here.require(start.contract, f"checkpoint {self.config.start}")

    # --- in the thread that trains -----------------------------------------------------------------------------------

    def _learn(self, stop: threading.Event) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self.config.nice)
        torch.set_num_threads(self.config.threads)
        learner = self._learner
        assert learner is not None
        while not stop.is_set():
            try:
                learner.run(stop, self._kept)
            except (UserError, OSError) as error:
                self._trouble = f"{error}; it is tried again every {RETRY:g} s"
            except Exception as error:
                self.get_logger().error(traceback.format_exc())
                self._trouble = f"an unexpected error, see the log: {error}; it is tried again every {RETRY:g} s"
            stop.wait(RETRY)

    def _hear(self, progress: Progress) -> None:
        self._progress = progress
        enough = progress.fresh >= self.config.min_new_successes
        if progress.phase == TRAINING or (progress.phase == WAITING and not enough):
            self._trouble = ""

    def _kept(self, policy: Checkpoint) -> None:
        if self.executor is not None:
            self.executor.create_task(self._send, policy)

    # --- in the executor's -------------------------------------------------------------------------------------------

    def _send(self, policy: Checkpoint) -> None:
        """Publish a policy; who comes later gets it too."""
        if self._learner is None:
            return
        parcel = pack(policy)
        self._weights.publish(UInt8MultiArray(data=array("B", parcel)))
        self._values["parcel [kB]"] = len(parcel) / 1e3

    def _show(self) -> None:
        if not self.is_active:
            return
        now, wanted = self._progress, self.config.min_new_successes
        level, text = OK, f"round {now.round + 1}: {now.phase}"
        if now.phase == WAITING:
            text = f"round {now.round + 1}: {now.fresh} of {wanted} new successes"
        if self._trouble:
            level, text = ERROR, self._trouble
        values = {name: value for name, value in dataclasses.asdict(now).items() if name != "fresh"}
        listeners = self._weights.get_subscription_count()
        self.report(level, text, **values, new_successes=now.fresh, listeners=listeners)


def _read(node: Learner, name: str) -> Any:
    """A parameter as it is now; those that are empty lists come as None or bytes."""
    value = node.get_parameter(name).value
    if isinstance(getattr(node.config, name), tuple):
        return tuple(value) if isinstance(value, (list, tuple)) else ()
    return value


def _check(config: Config) -> None:
    empty = [name for name in ("run", "start") if not getattr(config, name)]
    if empty:
        raise ParameterError(
            f"learner: the parameters {empty} are empty; give the run's folder and a clone to start from"
        )
    numbers = (config.min_new_successes, config.threads, 1 + config.gradient_steps, 1 + config.most_gradient_steps)
    if min(numbers) < 1 or not 0 <= config.nice <= 19:
        raise ParameterError(
            "learner: min_new_successes and threads are at least 1, gradient_steps and most_gradient_steps not negative, and "
            f"nice is 0 to 19; found {config.min_new_successes}, {config.threads}, {config.gradient_steps}, "
            f"{config.most_gradient_steps} and {config.nice}"
        )


def _resolved(config: Config) -> ContinualConfig:
    """The config of the training for these parameters."""
    folder = Path(config.run).expanduser().absolute()
    dataset, play, prior = (
        tuple(str(Path(f).expanduser().absolute()) for f in given)
        for given in (config.dataset, config.play, config.prior)
    )
    made = from_start(Path(config.start), folder, dataset, play, prior)
    settings = made.settings
    if config.gradient_steps:
        steps = config.gradient_steps
        settings = dataclasses.replace(settings, gradient_steps=steps, most_gradient_steps=2 * steps)
    if config.most_gradient_steps:
        settings = dataclasses.replace(settings, most_gradient_steps=config.most_gradient_steps)
    practice = str(Path(config.practice).expanduser().absolute()) if config.practice else made.practice
    return dataclasses.replace(made, practice=practice, min_new_successes=config.min_new_successes, settings=settings)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(Learner, args)


if __name__ == "__main__":
    sys.exit(main())
