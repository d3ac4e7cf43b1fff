"""Everything that an algorithm's next step depends on, besides its replay buffer, as named tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

COUNTERS = ("num_timesteps", "_episode_num", "_n_updates", "offline_updates")


def whole_state(model: Any) -> dict[str, Tensor]:
    """Networks, optimisers, counters and random generators of an `OfflineToOnline`."""
    tensors = {f"policy/{k}": v for k, v in model.policy.state_dict().items()}
    for name, optimizer in model.policy.optimizers().items():
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{name}/{index}/{k}": torch.as_tensor(v) for k, v in slots.items()}
    counters = {name: getattr(model, name) for name in COUNTERS}
    generators = {"rng": model.rng.bit_generator.state, "actions": model.action_space.np_random.bit_generator.state}
    tensors["torch_rng"] = torch.get_rng_state()
    tensors["counters"] = _packed({**counters, "normalised": model.normalised})
    tensors["generators"] = _packed(generators)
    return tensors


def load_whole_state(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Reverse of `whole_state`, for a model made with the same arguments."""
    prefix = "policy/"
    model.policy.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    for name, optimizer in model.policy.optimizers().items():
        state = optimizer.state_dict()
        prefix = f"optimizer/{name}/"
        for key in (key[len(prefix) :] for key in tensors if key.startswith(prefix)):
            index, slot = key.split("/")
            state["state"].setdefault(int(index), {})[slot] = tensors[prefix + key].clone()
        optimizer.load_state_dict(state)
    for name, value in _unpacked(tensors["counters"]).items():
        setattr(model, name, value)
    generators = _unpacked(tensors["generators"])
    model.rng.bit_generator.state = generators["rng"]
    model.action_space.np_random.bit_generator.state = generators["actions"]
    torch.set_rng_state(tensors["torch_rng"])


def _packed(data: Any) -> Tensor:
    return torch.from_numpy(np.frombuffer(json.dumps(data).encode(), np.uint8).copy())


def _unpacked(tensor: Tensor) -> Any:
    return json.loads(tensor.numpy().tobytes())
