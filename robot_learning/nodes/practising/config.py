"""Parameters of the node `practice`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robot_learning.contract import Contract
from robot_learning.nodes.base import NodeConfig
from robot_learning.nodes.parameters import ParameterError


@dataclass(frozen=True)
class Config(NodeConfig):
    """Parameters of the practice node."""

    run: str = ""
    """Folder of the run; practice.jsonl in it is the diary, which is gone on with. Must be given."""
    tasks: tuple[str, ...] = ("open_drawer", "close_drawer")
    """The cycle: a task and the one that undoes it, or more; instructions, or names of the playroom's tasks."""
    questions: tuple[str, ...] = ()
    """Questions of your own instructions, each "instruction = question", as the reward node has them."""
    steps: int = 30_000
    """Control ticks to practise for, over all starts of the node."""
    episode_ticks: int = 100
    """Control ticks after which an attempt has failed."""
    linger: int = 5
    """Control ticks that an episode goes on after success: a clone of one that ends at the threshold stops just before it."""
    confirm: bool = True
    """A success that is gone before the episode ends is none, as the next task is to undo it; false: the first sight counts."""
    look: bool = True
    """After an episode the arm goes home, and what is seen from there decides, or a person's word; false: the last verdict."""
    checkpoint: str = ""
    """What acts first; it knows where its demonstrations began."""
    home: tuple[float, ...] = ()
    """Where the tool goes between episodes, in base [m]; empty: to where demonstrations of `checkpoint` began, one at a time."""
    spread: tuple[float, ...] = ()
    """Half ranges about it of where episodes begin [m]; empty: 0.1, 0.2, 0.06, or 0.03, 0.03, 0.02 about a demonstration's."""
    retries: int = 2
    """Failures in a row at one task after which the next has its turn."""
    stir_after: int = 4
    """Failures in a row after which the arm moves about at random near the objects."""
    ask_after: int = 12
    """Failures in a row, or in a row at one task, after which a person is asked to put the scene in order; 0: never."""
    recover: tuple[str, ...] = ()
    """Tasks that make those of the cycle possible again (open a drawer pushed shut), each tried once after stirring."""
    help_service: str = ""
    """std_srvs/Trigger service that puts the scene in order (sim_robot/reset); empty: a person does, and then calls ~/helped."""
    policy: str = "policy"
    """Name of the policy's node."""
    recorder: str = "recorder"
    """Name of the recorder's node; empty: nothing is recorded."""
    learner: str = "learner"
    """Name of the learner's node; nobody waits for it, it is only said when it falls silent; empty: there is none."""
    reward: str = "reward"
    """Name of the reward node; empty: somebody else publishes success."""
    success_topic: str = "success"
    """Where somebody says whether the task is done, at each control tick."""
    truth_topic: str = ""
    """Simulation: where it says so itself, for the diary only."""
    seed: int = 0
    """Seed of the homes and of stirring."""
    patience: float = 30.0
    """Longest wait for a service or the robot before it is said what is missing [s, wall]; practice then waits on."""
    exit_when_done: bool = True
    """End the process after the last tick; false: stay, and do nothing more."""

    def check(self, contract: Contract) -> None:
        """Raises `ParameterError` where practice could not work with these on the robot of `contract`."""
        if not self.run:
            raise ParameterError("practice: the parameter run is empty; give it the folder of the run")
        if (
            len(self.home) not in (0, 3)
            or len(self.spread) not in (0, 3)
            or min(self.steps, self.episode_ticks, self.retries, self.stir_after) < 1
        ):
            found = f"{list(self.home)}, {list(self.spread)}, {self.steps}, {self.episode_ticks}, {self.retries}"
            raise ParameterError(
                "practice: home and spread take three numbers or none, and steps, episode_ticks, retries and stir_after are at "
                f"least 1; found {found} and {self.stir_after}"
            )
        if min(self.linger, self.ask_after, self.seed) < 0 or not self.patience > 0.0:
            raise ParameterError(
                "practice: linger, ask_after and seed are not negative and patience is more than 0, found "
                f"{self.linger}, {self.ask_after}, {self.seed} and {self.patience}"
            )
        if not all(0.0 <= value < np.inf for value in self.spread):
            raise ParameterError(
                f"practice: spread: expected three lengths [m], none negative, found {list(self.spread)}"
            )
        self._check_home(contract)

    def _check_home(self, contract: Contract) -> None:
        """The gate lets no tool out of the workspace, so it would never get there."""
        lower, upper = contract.workspace.lower, contract.workspace.upper
        if not all(low <= value <= high for low, value, high in zip(lower, self.home, upper, strict=False)):
            box = ", ".join(f"{low:g} to {high:g}" for low, high in zip(lower, upper, strict=True))
            raise ParameterError(
                f"practice: home: expected a point in the workspace of the contract {contract.name!r}, x, y, z in ({box}) m, "
                f"found {list(self.home)}"
            )

    def require_questions(self, tasks: Sequence[str], known: Mapping[str, str]) -> None:
        """Raises `ParameterError` where it could not tell which of the `tasks` a verdict of the reward node is about."""
        lacking = [task for task in tasks if task not in known]
        if self.reward and lacking and len(tasks) > 1:
            raise ParameterError(
                f"practice: no question is known for {lacking}, so nothing tells which task a verdict is about; add "
                f"'{lacking[0]} = ...?' to the parameter questions, of the reward node too"
            )
