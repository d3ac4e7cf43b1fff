"""The parameters of the reward node."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robot_learning.nodes.base import NodeConfig
from robot_learning.nodes.parameters import ParameterError


@dataclass(frozen=True)
class Config(NodeConfig):
    """Parameters of the reward node."""

    model: str = ""
    """Folder of the reward model; read when the node is configured."""
    question: str = ""
    """Question to ask until the topic `task` brings an instruction that has its own; empty: wait for that. May be changed."""
    questions: tuple[str, ...] = ()
    """Questions of your own instructions, each "instruction = question"; those of the playroom's tasks are known."""
    follow_task: bool = True
    """Ask the question of each instruction on `task`; false: keep to `question`."""
    consecutive: int = 2
    """The task is done when so many frames in a row say yes."""
    lower_threshold: float = 0.0
    """It is done no longer when P(yes) falls below this; 0: half of the model's threshold, from which on the answer is yes."""
    max_age: float = 0.0
    """There is no verdict on a picture that is older than this when it is judged [s]; 0: as the contract says."""
    rate: float = 0.0
    """Verdicts a second at most [Hz]; 0: the contract's rate."""
    uncertain_folder: str = ""
    """Folder to keep the pictures in that the model was least sure of (robot-learning reward label --uncertain); empty: none."""
    uncertain_limit: int = 200
    """Of those, at most so many wait for an answer; surer ones are let go."""
    uncertain_per_episode: int = 4
    """Of those, at most so many are of one episode."""
    threads: int = 1
    """Threads of a forward pass."""

    def check(self) -> None:
        """Whether the node can work with these values (`ParameterError`)."""
        if not self.model:
            raise ParameterError("reward: the parameter model is empty; give it the folder of a reward model")
        if min(self.consecutive, self.threads, self.uncertain_limit, self.uncertain_per_episode) < 1:
            raise ParameterError(
                "reward: consecutive, threads, uncertain_limit and uncertain_per_episode must be at least 1, found "
                f"{self.consecutive}, {self.threads}, {self.uncertain_limit} and {self.uncertain_per_episode}"
            )
        # written so that NaN, with which every comparison is false, is refused too
        if not (0 <= self.rate < math.inf and 0 <= self.max_age < math.inf and 0 <= self.lower_threshold < 1):
            raise ParameterError(
                "reward: rate and max_age must be numbers and not negative, and lower_threshold be from 0 to 1, found "
                f"{self.rate}, {self.max_age} and {self.lower_threshold}"
            )
