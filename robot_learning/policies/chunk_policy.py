"""ChunkPolicy: a visuomotor network that predicts chunks of actions, blended over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robot_learning.contract import STATE, Contract
from robot_learning.control.retries import RetryPlan
from robot_learning.networks.augmentation import centre_crop, to_float
from robot_learning.networks.visuomotor import VisuomotorNetwork, VisuomotorSpec
from robot_learning.policies.checkpoint import Checkpoint, register_policy
from robot_learning.policies.familiar import Familiar, StrangerWatch
from robot_learning.policies.normalizer import Normalizer
from robot_learning.policies.player import ChunkPlayer
from robot_learning.policies.policy import check_observation, task_index
from robot_learning.policies.way import Way


@dataclass(frozen=True)
class Blending:
    """How chunks become actions: one is computed `every` so many ticks; `decay`, `limit`: see `ActionChunks`."""

    every: int = 1
    decay: float = 0.1
    limit: int | None = None


class ChunkPolicy:
    """Acts with a `VisuomotorNetwork`.

    Args:
        contract: only the streams the network reads.
        selected: for each vector input, the indices of its elements the network sees.
        displacements: the network predicts the sums of the actions from the first of the chunk on.
        retry_plan: how long its attempts may take; see control/retries.py. familiar: what it saw in training, if it knows.
    """

    def __init__(
        self,
        network: VisuomotorNetwork,
        normalizer: Normalizer,
        contract: Contract,
        tasks: list[str],
        selected: Mapping[str, list[int]],
        displacements: bool,
        blending: Blending,
        retry_plan: RetryPlan | None = None,
        familiar: Familiar | None = None,
    ) -> None:
        self.network, self.normalizer, self.contract, self.tasks = network.eval(), normalizer, contract, list(tasks)
        self.selected, self.displacements, self.blending = dict(selected), displacements, blending
        self.retry_plan, self.familiar = retry_plan, familiar
        if familiar is not None:
            familiar.require(normalizer)
        self._player = self.player()
        self._way = self._new_way()
        self._tick = 0

    def player(self) -> ChunkPlayer:
        """A player for this policy's plans, for a node that keeps its own ticks."""
        return ChunkPlayer(
            len(self.contract.action.names), self.displacements, self.blending.decay, self.blending.limit
        )

    def _new_way(self) -> Way:
        shape = (self.network.spec.horizon, len(self.contract.action.names))
        return Way(np.broadcast_to(self.normalizer.scale["action"], shape), self.displacements)

    def watch(self) -> StrangerWatch:
        """A watch over what it reads, and over the whole robot, for who tells of what it was never shown."""
        whole = {STATE: list(range(len(self.contract.observation[STATE].names)))} if STATE in self.selected else {}
        return StrangerWatch(self.familiar, self.contract, {**self.selected, **whole})

    def reset(self) -> None:
        """Forget the episode so far."""
        self._player.reset()
        self._way.reset()
        self._tick = 0

    def predict(self, observation: Mapping[str, np.ndarray], task: str) -> np.ndarray:
        """The blended action `(A,)` for this tick; see `Policy.predict`."""
        check_observation(observation, self.contract)  # also on ticks that only follow an earlier chunk
        action = None if self._tick % self.blending.every == 0 else self._player.action(self._tick)
        if action is None:
            self._player.add(self._tick, self._infer(observation, task, self._way, self._tick))
            action = self._player.action(self._tick)
        assert action is not None  # a plan that starts at this tick was just added if there was none
        self._tick += 1
        return action

    def carried_out(self, action: np.ndarray) -> None:
        """What was done in the place of the last predicted action `(A,)`, such as that with noise added."""
        self._player.carried_out(self._tick - 1, action)

    def plan(self, observation: Mapping[str, np.ndarray], task: str, tick: int | None = None) -> np.ndarray:
        """What the network predicts for the ticks from this one on, `(T, A)`, for `player()`.

        Args:
            tick: the control tick: where there are several ways, the plan goes on with that of a few ticks before, since `reset`.
                None: the most probable plan, and nothing changes in the policy.

        Raises as `Policy.predict` does.
        """
        check_observation(observation, self.contract)
        if tick is None:
            return self._infer(observation, task, self._new_way(), 0)
        return self._infer(observation, task, self._way, tick)

    def predict_chunk(self, observation: Mapping[str, np.ndarray], task: str) -> np.ndarray:
        """The actions `(T, A)` from this tick on, in [-1, 1], without blending; raises as `Policy.predict` does."""
        chunk = self.plan(observation, task)
        actions: np.ndarray = np.diff(chunk, axis=0, prepend=np.float32(0)) if self.displacements else chunk
        return np.clip(actions, -1.0, 1.0)

    def _infer(self, observation: Mapping[str, np.ndarray], task: str, way: Way, tick: int) -> np.ndarray:
        """What the network predicts and `way` follows, `(T, A)` in units of the action."""
        index = torch.tensor([task_index(task, self.tasks)])
        spec = self.network.spec
        with torch.inference_mode():
            images = {
                # torch takes no read-only arrays, such as those of messages, without a warning
                key: to_float(
                    centre_crop(torch.from_numpy(np.require(observation[key], None, ["C", "W"]))[None], spec.image_size)
                )
                for key in spec.images
            }
            vectors = {key: self._vector(key, observation[key]) for key in spec.vectors}
            log_probabilities, plans = self.network.candidates(self.network(images, vectors, index))
        restored = self.normalizer.restore("action", plans[0].numpy())
        return way.choose(log_probabilities[0].numpy(), restored, tick)

    def _vector(self, key: str, value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.normalizer.normalize(key, value)[self.selected[key]])[None]


@register_policy("chunk")
def _build(checkpoint: Checkpoint) -> ChunkPolicy:
    config: dict[str, Any] = checkpoint.config
    network = VisuomotorNetwork(VisuomotorSpec.from_dict(config["network"]))
    network.load_state_dict(checkpoint.weights)
    normalizer = Normalizer.from_dict(checkpoint.statistics)
    return ChunkPolicy(
        network=network,
        normalizer=normalizer,
        contract=checkpoint.contract,
        tasks=checkpoint.tasks,
        selected=config["selected"],
        displacements=config["displacements"],
        blending=Blending(**config["blending"]),
        retry_plan=RetryPlan.from_dict(config["retry"]) if config.get("retry") else None,
        familiar=Familiar.from_dict(config["familiar"]) if config.get("familiar") else None,
    )
