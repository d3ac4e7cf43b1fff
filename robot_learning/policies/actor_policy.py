"""ActorPolicy: the deployed form of a reinforcement learner's actor; one action per control tick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_learning.contract import Contract
from robot_learning.networks.actors import ACTORS, SquashedGaussianActor
from robot_learning.networks.observation_encoder import EncoderSpec, ObservationEncoder
from robot_learning.policies.checkpoint import Checkpoint, register_policy
from robot_learning.policies.policy import check_observation, task_index

KIND = "actor"


class ActorPolicy:
    """Acts with an encoder and an actor, by its mode or by sampling.

    The mode may stand still where samples would go on, so the checkpoint says which of the two acts.

    Args:
        contract: only the streams the encoder reads. sample: draw actions, from a generator that `reset` seeds anew.
    """

    def __init__(
        self,
        encoder: ObservationEncoder,
        actor: SquashedGaussianActor,
        contract: Contract,
        tasks: list[str],
        sample: bool = False,
    ) -> None:
        self.encoder, self.actor, self.contract, self.tasks = encoder.eval(), actor.eval(), contract, list(tasks)
        self.sample = sample
        self._generator = torch.Generator()
        self.reset()

    def reset(self) -> None:
        """Begin an episode: the same observations lead to the same actions again."""
        self._generator.manual_seed(0)

    @torch.inference_mode()
    def predict(self, observation: Mapping[str, np.ndarray], task: str) -> np.ndarray:
        """The action `(A,)` for this tick; see `Policy.predict`."""
        check_observation(observation, self.contract)
        index = task_index(task, self.tasks)
        spec = self.encoder.spec
        parts = {key: _row(observation[key]) for key in (*spec.vectors, *spec.images)}
        told = torch.eye(spec.tasks)[index][None] if spec.tasks else None
        features = self.encoder(parts, told)
        action = self.actor.sample(features, generator=self._generator)[0] if self.sample else self.actor.mode(features)
        result: np.ndarray = action[0].numpy()
        return result


def _row(value: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(value)[None].copy())


def actor_checkpoint(
    encoder: ObservationEncoder,
    actor: SquashedGaussianActor,
    contract: Contract,
    tasks: list[str],
    *,
    sample: bool,
    training: Mapping[str, Any],
    facts: Mapping[str, Any],
    success: list[str],
) -> Checkpoint:
    """The checkpoint of an actor; `contract` may have more streams than the encoder reads."""
    shape = {
        "features": actor.features,
        "actions": actor.actions,
        "hidden": list(actor.hidden),
        "log_std_range": list(actor.log_std_range),
        "layer_norm": actor.layer_norm,
        "distribution": actor.distribution,
    }
    spec = encoder.spec
    weights = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    weights |= {f"actor.{k}": v for k, v in actor.state_dict().items()}
    return Checkpoint(
        policy=KIND,
        tasks=tasks,
        config={"network": {"encoder": spec.to_dict(), "actor": shape}, "sample": sample, **training},
        contract=contract.select([*spec.vectors, *spec.images]),
        statistics={},
        weights={k: v.detach().clone() for k, v in weights.items()},
        facts=dict(facts),
        success=success,
    )


@register_policy(KIND)
def _build(checkpoint: Checkpoint) -> ActorPolicy:
    network = checkpoint.config["network"]
    shape: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in network["actor"].items()}
    encoder = ObservationEncoder(EncoderSpec.from_dict(network["encoder"]))
    actor = ACTORS[shape.pop("distribution", "squashed")](**shape)
    for prefix, module in (("encoder.", encoder), ("actor.", actor)):
        named = {k.removeprefix(prefix): v for k, v in checkpoint.weights.items() if k.startswith(prefix)}
        module.load_state_dict(named)
    return ActorPolicy(encoder, actor, checkpoint.contract, checkpoint.tasks, checkpoint.config["sample"])
