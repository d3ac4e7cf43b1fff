"""The other side of rl_update.py: gradient steps of d3rlpy and Stable-Baselines3, timed on request.

Run by rl_update.py with the interpreter that has the peers installed. One JSON object a line: {"learner": "calql", "state": 17,
"action": 6, "steps": 20} in, {"seconds": CPU seconds a step} out; {"versions": true} asks for the versions.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from rl_update_data import BATCHES, arrays

torch.set_num_threads(1)


class D3RLPY:
    """The gradient step of one of d3rlpy's algorithms (`impl.update`, what `update` does once the batch is a tensor)."""

    def __init__(self, name: str, state: int, action: int) -> None:
        import d3rlpy
        from d3rlpy.torch_utility import TorchMiniBatch

        configs = {"calql": d3rlpy.algos.CalQLConfig, "cql": d3rlpy.algos.CQLConfig, "iql": d3rlpy.algos.IQLConfig}
        d3rlpy.logging.logger.set_log_context = lambda *a, **k: None  # type: ignore[attr-defined]
        torch.manual_seed(0)
        algorithm = configs[name]().create(device="cpu:0")
        algorithm.create_impl((state,), action)
        self.impl, self.count = algorithm.impl, 0
        self.batches = []
        for k in range(BATCHES):
            data = {key: torch.from_numpy(value) for key, value in arrays(state, action, k).items()}
            column = {key: value[:, None] for key, value in data.items() if value.dim() == 1}
            self.batches.append(
                TorchMiniBatch(
                    observations=data["observation"],
                    actions=data["action"],
                    rewards=column["reward"],
                    next_observations=data["next_observation"],
                    next_actions=data["action"],
                    returns_to_go=column["mc_return"],
                    terminals=column["terminated"],
                    intervals=torch.ones_like(column["reward"]),
                    device="cpu:0",
                )
            )

    def step(self) -> None:
        self.impl.update(self.batches[self.count % BATCHES], self.count)
        self.count += 1


class SB3:
    """One gradient step of Stable-Baselines3's SAC, with its replay buffer filled with the same data."""

    def __init__(self, state: int, action: int) -> None:
        import gymnasium
        from stable_baselines3 import SAC
        from stable_baselines3.common.logger import Logger

        class Spaces(gymnasium.Env):  # type: ignore[type-arg, misc]
            observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (state,), np.float32)
            action_space = gymnasium.spaces.Box(-1, 1, (action,), np.float32)

        self.sac: Any = SAC("MlpPolicy", Spaces(), buffer_size=BATCHES * 256, batch_size=256, device="cpu", seed=0)
        self.sac.set_logger(Logger(None, []))
        for k in range(BATCHES):
            data = arrays(state, action, k)
            for i in range(256):
                self.sac.replay_buffer.add(
                    data["observation"][i],
                    data["next_observation"][i],
                    data["action"][i],
                    data["reward"][i],
                    data["terminated"][i],
                    [{}],
                )

    def step(self) -> None:
        self.sac.train(gradient_steps=1, batch_size=256)


def main() -> None:
    learners: dict[tuple[str, int, int], Any] = {}
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print does not mix with the answers
    for line in sys.stdin:
        request = json.loads(line)
        if "versions" in request:
            import d3rlpy
            import stable_baselines3

            answer: dict[str, Any] = {
                "d3rlpy": d3rlpy.__version__,
                "stable_baselines3": stable_baselines3.__version__,
                "torch": torch.__version__,
            }
        else:
            key = (request["learner"], request["state"], request["action"])
            if key not in learners:
                learners[key] = SB3(*key[1:]) if key[0] == "sac" else D3RLPY(*key)
                learners[key].step()
            began = time.process_time()
            for _ in range(request["steps"]):
                learners[key].step()
            answer = {"seconds": (time.process_time() - began) / request["steps"]}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
