"""The parameters of the policy node."""

from __future__ import annotations

from dataclasses import dataclass

from robot_learning.algorithms.self_imitation import Exploration, SelfImitationConfig
from robot_learning.nodes.base import NodeConfig
from robot_learning.nodes.parameters import ParameterError

TRIGGERS = ("timer", "frames")


@dataclass(frozen=True)
class Config(NodeConfig):
    """Parameters of the policy node."""

    checkpoint: str = ""
    """Folder of the trained policy; read when the node is configured."""
    task: str = ""
    """Instruction to follow until the topic `task` brings another; empty: the policy's only one, else wait for the topic. Can be
    changed while running."""
    act_at_once: bool = True
    """Act as soon as the node is active; false waits for the service ~/start."""
    trigger: str = "timer"
    """What starts a control tick: `timer`, the contract's rate; `frames`, a new message of every stream, at most at the
    contract's rate (for a simulation in lockstep)."""
    align: bool = True
    """Let the timer's phase drift so that ticks come just after the cameras' pictures."""
    frame_wait: float = 0.02
    """A tick waits at most this long for a picture that is due [s, wall]; 0: never."""
    threads: int = 1
    """Threads of a forward pass; more seldom pay for small networks, and take cores from the cameras."""
    retry: bool = False
    """Give up an attempt that takes longer than demonstrations did: open the gripper, rise, go back to where one began, and try
    again."""
    explore: float = 0.0
    """Share of the episodes with noise on the actions, as practice wants; see docs/self_imitation.md."""
    noise: float = 0.2
    """Standard deviation of that noise, where the largest action is 1."""
    seed: int = 0
    """Seed of that noise."""

    def exploration(self, actions: int, episode: int) -> Exploration:
        """The noise of an episode on so many actions."""
        settings = SelfImitationConfig(noise=self.noise, noisy_share=self.explore)
        return Exploration(settings, actions, self.seed, episode)

    def check(self) -> None:
        """Whether the node can work with these values (`ParameterError`)."""
        if not self.checkpoint:
            raise ParameterError("policy: the parameter checkpoint is empty; give it the folder of a trained policy")
        if self.trigger not in TRIGGERS:
            raise ParameterError(f"policy: trigger {self.trigger!r} is not one of {list(TRIGGERS)}")
        if not 0.0 <= self.explore <= 1.0 or self.noise < 0 or self.seed < 0:
            raise ParameterError(
                f"policy: explore is from 0 to 1, noise and seed not negative, found {self.explore}, {self.noise} and {self.seed}"
            )
        if self.threads < 1 or self.frame_wait < 0:
            raise ParameterError(
                f"policy: threads must be at least 1 and frame_wait not negative, found {self.threads} and {self.frame_wait}"
            )
