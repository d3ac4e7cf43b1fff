"""d3rlpy's CalQL on exported transitions, with its own settings but for the sizes.

    python offline_to_online_peer.py TRANSITIONS.npz ACTOR.npz (--steps N | --seconds CPU_SECONDS) --gamma G --batch B
        --hidden W W --seed S

Run by offline_to_online.py with an interpreter that has d3rlpy.

Every batch is drawn from the sources at the shares they have in our own batches. `ACTOR.npz` holds the actor's layers, the number
of steps and the CPU seconds of drawing batches and updating.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import d3rlpy
import numpy as np
import torch
from d3rlpy.torch_utility import TorchMiniBatch

torch.set_num_threads(1)


class Transitions:
    """All sources as tensors."""

    def __init__(self, path: str, gamma: float, seed: int) -> None:
        data = np.load(path)
        self.gamma, self.rng = gamma, np.random.default_rng(seed)
        names = sorted({key.split("/")[0] for key in data.files})
        self.shares = np.array([float(data[f"{name}/share"]) for name in names])
        keys = ("features", "next_features", "action", "reward", "discount", "mc_return")
        self.sources = [{key: torch.from_numpy(data[f"{name}/{key}"]) for key in keys} for name in names]

    def batch(self, size: int) -> TorchMiniBatch:
        counts = self.rng.multinomial(size, self.shares)
        drawn = [
            {key: value[rows] for key, value in source.items()}
            for source, count in zip(self.sources, counts, strict=True)
            for rows in [torch.from_numpy(self.rng.integers(len(source["reward"]), size=count))]
        ]
        b = {key: torch.cat([part[key] for part in drawn]) for key in drawn[0]}
        column = {key: b[key][:, None] for key in ("reward", "discount", "mc_return")}
        terminal = (column["discount"] == 0).float()
        steps = torch.where(terminal > 0, torch.ones_like(terminal), column["discount"].log() / np.log(self.gamma))
        return TorchMiniBatch(
            observations=b["features"],
            actions=b["action"],
            rewards=column["reward"],
            next_observations=b["next_features"],
            next_actions=b["action"],
            returns_to_go=column["mc_return"],
            terminals=terminal,
            intervals=steps,
            device="cpu:0",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transitions")
    parser.add_argument("actor")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--gamma", type=float, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--hidden", type=int, nargs="+", required=True)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    d3rlpy.logging.logger.set_log_context = lambda *a, **k: None
    data = Transitions(args.transitions, args.gamma, args.seed)
    encoder = d3rlpy.models.VectorEncoderFactory(hidden_units=args.hidden)
    config = d3rlpy.algos.CalQLConfig(
        gamma=args.gamma, batch_size=args.batch, actor_encoder_factory=encoder, critic_encoder_factory=encoder
    )
    algorithm = config.create(device="cpu:0")
    first = data.sources[0]
    algorithm.create_impl((first["features"].shape[1],), first["action"].shape[1])
    began, step = time.process_time(), 0
    while step < args.steps and time.process_time() - began < args.seconds:
        algorithm.impl.update(data.batch(args.batch), step)
        step += 1
    layers = {k: v.numpy() for k, v in algorithm.impl.modules.policy.state_dict().items()}
    np.savez(args.actor, **layers, steps=np.array(step), seconds=np.array(time.process_time() - began))


if __name__ == "__main__":
    main()
