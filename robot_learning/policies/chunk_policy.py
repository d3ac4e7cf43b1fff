"""ChunkPolicy: a visuomotor network that predicts chunks of actions, blended over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robot_learning.contract import Contract
from robot_learning.networks.augmentation import centre_crop, to_float
from robot_learning.networks.visuomotor import VisuomotorNetwork, VisuomotorSpec
from robot_learning.policies.checkpoint import Checkpoint, register_policy
from robot_learning.policies.chunks import ActionChunks
from robot_learning.policies.normalizer import Normalizer
from robot_learning.policies.policy import check_observation, task_index


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
    """

    def __init__(
        self,
        network: VisuomotorNetwork,
        normalizer: Normalizer,
        contract: Contract,
        tasks: list[str],
        selected: Mapping[str, list[int]],
        blending: Blending,
    ) -> None:
        self.network, self.normalizer, self.contract, self.tasks = network.eval(), normalizer, contract, list(tasks)
        self.selected, self.blending = dict(selected), blending
        self._chunks = ActionChunks(blending.decay, blending.limit)
        self._tick = 0

    def reset(self) -> None:
        """Forget the episode so far."""
        self._chunks.clear()
        self._tick = 0

    def predict(self, observation: Mapping[str, np.ndarray], task: str) -> np.ndarray:
        """The blended action `(A,)` for this tick; see `Policy.predict`."""
        check_observation(observation, self.contract)  # also on ticks that only follow an earlier chunk
        if self._tick % self.blending.every == 0 or self._chunks.action(self._tick) is None:
            self._chunks.add(self._tick, self.predict_chunk(observation, task))
        action = self._chunks.action(self._tick)
        assert action is not None  # a chunk that starts at this tick was just added if there was none
        self._tick += 1
        return action

    def predict_chunk(self, observation: Mapping[str, np.ndarray], task: str) -> np.ndarray:
        """The actions `(T, A)` from this tick on, in [-1, 1], without blending; raises as `Policy.predict` does."""
        check_observation(observation, self.contract)
        index = torch.tensor([task_index(task, self.tasks)])
        spec = self.network.spec
        with torch.inference_mode():
            images = {
                key: to_float(
                    centre_crop(torch.from_numpy(np.ascontiguousarray(observation[key]))[None], spec.image_size)
                )
                for key in spec.images
            }
            vectors = {key: self._vector(key, observation[key]) for key in spec.vectors}
            mode = self.network.mode(self.network(images, vectors, index))[0].numpy()
        chunk: np.ndarray = np.clip(self.normalizer.restore("action", mode), -1.0, 1.0)
        return chunk

    def _vector(self, key: str, value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.normalizer.normalize(key, value)[self.selected[key]])[None]


@register_policy("chunk")
def _build(checkpoint: Checkpoint) -> ChunkPolicy:
    config: dict[str, Any] = checkpoint.config
    network = VisuomotorNetwork(VisuomotorSpec.from_dict(config["network"]))
    network.load_state_dict(checkpoint.weights)
    normalizer = Normalizer.from_dict(checkpoint.statistics)
    return ChunkPolicy(
        network, normalizer, checkpoint.contract, checkpoint.tasks, config["selected"], Blending(**config["blending"])
    )
