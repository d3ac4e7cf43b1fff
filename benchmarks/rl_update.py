"""CPU time of one gradient step of our learners against d3rlpy and Stable-Baselines3, in turns in one run, one thread each.

    python benchmarks/rl_update.py [--json] [--save] [--peer-python PYTHON]

The peers may need versions of their own, so they run in a second process that is asked for a few steps at a time; PYTHON is an
interpreter that has them. To make one:

    python -m venv peers && peers/bin/pip install d3rlpy==2.8.1 stable-baselines3==2.9.2 "torch==2.13.0"

Both sides take the same random batches of 256 as tensors, ready made, so what is measured is the gradient step alone (d3rlpy's
`impl.update`; Stable-Baselines3's SAC draws its batch from its own buffer). Networks 2x256, ReLU, and d3rlpy's defaults on both
sides: Cal-QL and CQL with weight 5, Lagrange multiplier (threshold 10), 10 actions of each kind, importance sampling, two
critics, targets with the mode of the policy; IQL with expectile 0.7, temperature 3, 2x256 also for the state value. RLPD
has two critics without LayerNorm, which makes it SAC. Ratios are medians over the turns of the peer's time / ours. "Limit"
is the time the step's matrix products alone take at the rate this core reaches, in the same turns, on products of 992 or
1984 x 256 by 256 x 256, whichever is faster; "of limit" is that time / ours. With --json the last line is one JSON object.
The machine should be idle: a busy neighbour takes cache and memory bandwidth, from d3rlpy more than from us.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import torch
from rl_update_data import BATCH_SIZE, BATCHES, arrays

from robot_learning.algorithms.cal_ql_update import CalQLConfig, CalQLUpdate
from robot_learning.algorithms.iql import IQLConfig, IQLUpdate
from robot_learning.algorithms.rlpd import RLPDConfig, RLPDUpdate

RESULTS = Path(__file__).parent / "results"
SIZES = ((17, 6), (30, 7))
HIDDEN, N_ACTIONS, SAMPLED_ROWS = 256, 10, 4
DEFAULTS: dict[str, Any] = {
    "hidden": (HIDDEN, HIDDEN), "penalty_weight": 5.0, "lagrange_gap": 10.0, "n_actions": N_ACTIONS, "backup": "mode",
    "actor_learning_rate": 1e-4, "critic_learning_rate": 3e-4, "sampled_rows": SAMPLED_ROWS,
}  # fmt: skip
STEPS = {"calql": 4, "cql": 4, "iql": 30, "sac": 30}  # of a turn


class Ours:
    """One of our learners on the shared batches."""

    def __init__(self, learner: Any, state: int, action: int) -> None:
        self.learner, self.count, self.batches = learner, 0, []
        for k in range(BATCHES):
            data = {key: torch.from_numpy(value) for key, value in arrays(state, action, k).items()}
            self.batches.append(
                SimpleNamespace(
                    features=data["observation"],
                    next_features=data["next_observation"],
                    action=data["action"],
                    reward=data["reward"],
                    discount=0.99 * (1 - data["terminated"]),
                    mc_return=data["mc_return"],
                    imitate=None,
                )
            )

    def step(self) -> None:
        self.learner.step(self.batches[self.count % BATCHES])
        self.count += 1

    def seconds(self, steps: int) -> float:
        """CPU seconds of a step."""
        began = time.process_time()
        for _ in range(steps):
            self.step()
        return (time.process_time() - began) / steps


class Peer:
    """The second process."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).with_name("rl_update_peers.py")
        self.process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(
                "The peers do not run. Install them as `python benchmarks/rl_update.py --help` says, and give --peer-python."
            )
        return json.loads(answer)


class Products:
    """The rate at which this core multiplies matrices, at its best: large enough to be efficient, small enough for the cache."""

    def __init__(self) -> None:
        self.x, self.weight, self.out = torch.randn(1984, 256), torch.randn(256, 256), torch.empty(1984, 256)

    def flops_per_second(self) -> float:
        return max(self._rate(rows) for rows in (992, 1984))

    def _rate(self, rows: int) -> float:
        x, out = self.x[:rows], self.out[:rows]
        began = time.process_time()
        for _ in range(20):
            torch.mm(x, self.weight, out=out)
        return 20 * 2 * rows * 256 * 256 / (time.process_time() - began)


def gigaflops(kind: str, state: int, action: int) -> float:
    """Arithmetic of the matrix products of one step [1e9 operations], counting what the method needs and nothing twice.

    A forward pass of b rows through a layer is 2 b in out; a backward pass twice that, half of it for the weights. The features'
    part of the first layer counts once a state.
    """
    b, h = BATCH_SIZE, HIDDEN

    def net(rows: int, inputs: int, outputs: int) -> float:
        return 2.0 * rows * (inputs * h + h * h + h * outputs)

    actor, critic = net(b, state, 2 * action), net(b, state + action, 1)
    if kind == "iql":  # critics; targets; value of both states, backward of one; actor
        return (2 * 3 * critic + 2 * critic + (2 + 2) * net(b, state, 1) + 3 * actor) / 1e9
    if (
        kind == "sac"
    ):  # critics; targets; critics of new actions, back to the actions; actor at both states, backward at one
        return (2 * 3 * critic + 2 * critic + 2 * 2 * critic + (2 + 2) * actor) / 1e9
    terms = 3 * N_ACTIONS + 1
    forward = 2 * 2.0 * (b * state * h + b * terms * (action * h + h * h + h))
    backward = forward if kind == "exact" else forward * (SAMPLED_ROWS + 1) / terms
    common = 2 * critic + 2 * 2 * critic + 3 * actor + actor
    return (forward + 2 * backward + common) / 1e9


def learners(state: int, action: int) -> dict[str, tuple[str, str, Callable[[], Any]]]:
    """By name: the peer's name, the kind of `gigaflops`, and how to make ours."""

    def cal_ql(**options: Any) -> Callable[[], Any]:
        return lambda: CalQLUpdate(state, action, CalQLConfig(**{**DEFAULTS, **options}))

    sac = RLPDConfig(
        hidden=(HIDDEN, HIDDEN), critics=2, subset=2, layer_norm=False, actor_value="min", backup_entropy=True,
        initial_entropy_weight=1.0, target_entropy=-float(action),
    )  # fmt: skip
    return {
        "calql_literal": ("calql", "exact", cal_ql(mode="literal")),
        "calql_exact": ("calql", "exact", cal_ql(mode="exact")),
        "calql_sampled": ("calql", "sampled", cal_ql(mode="sampled")),
        "calql_exact_layer_norm": ("calql", "exact", cal_ql(mode="exact", layer_norm=True)),
        "calql_sampled_layer_norm": ("calql", "sampled", cal_ql(mode="sampled", layer_norm=True)),
        "cql_exact": ("cql", "exact", cal_ql(mode="exact", calibrate=False)),
        "cql_sampled": ("cql", "sampled", cal_ql(mode="sampled", calibrate=False)),
        "iql": ("iql", "iql", lambda: IQLUpdate(state, action, IQLConfig(hidden=(HIDDEN, HIDDEN)))),
        "rlpd": ("sac", "sac", lambda: RLPDUpdate(state, action, sac)),
    }


def compare(peer: Peer, state: int, action: int, turns: int) -> list[dict[str, Any]]:
    """One row a learner: medians over the turns."""
    table = learners(state, action)
    torch.manual_seed(0)
    ours = {name: Ours(make(), state, action) for name, (_, _, make) in table.items()}
    products, rates = Products(), []
    mine: dict[str, list[float]] = {name: [] for name in table}
    theirs: dict[str, list[float]] = {name: [] for name, _, _ in table.values()}
    for turn in range(turns + 1):
        rate = products.flops_per_second()
        peers = {n: peer.ask(learner=n, state=state, action=action, steps=STEPS[n])["seconds"] for n in theirs}
        own = {name: ours[name].seconds(STEPS[entry[0]]) for name, entry in table.items()}
        if turn > 0:  # the first warms up
            rates.append(rate)
            for name, seconds in peers.items():
                theirs[name].append(seconds)
            for name, seconds in own.items():
                mine[name].append(seconds)
    rows = []
    for name, (peer_name, kind, _) in table.items():
        ratios = [a / b for a, b in zip(theirs[peer_name], mine[name], strict=True)]
        work = gigaflops(kind, state, action)
        limits = [work * 1e9 / rate / seconds for rate, seconds in zip(rates, mine[name], strict=True)]
        rows.append(
            {
                "learner": name,
                "state": state,
                "action": action,
                "peer": peer_name,
                "ms": 1e3 * statistics.median(mine[name]),
                "peer_ms": 1e3 * statistics.median(theirs[peer_name]),
                "ratio": statistics.median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "gflop": work,
                "gflop_per_s": statistics.median(rates) / 1e9,
                "limit_fraction": statistics.median(limits),
            }
        )
    return rows


def report(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| learner | state/action | ms a step | peer | peer ms | ratio (min .. max) | GFLOP a step | of limit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['learner']} | {r['state']}/{r['action']} | {r['ms']:.1f} | {PEERS[r['peer']]} | {r['peer_ms']:.1f} | "
            f"{r['ratio']:.2f} ({r['ratio_min']:.2f} .. {r['ratio_max']:.2f}) | {r['gflop']:.2f} | {r['limit_fraction']:.0%} |"
        )
    return "\n".join(lines)


HEAD = """# CPU time of a gradient step

`python benchmarks/rl_update.py --json --save`: what is compared is in its docstring. d3rlpy {d3rlpy}, Stable-Baselines3
{stable_baselines3}, torch {torch} (peers) and {ours_torch} (ours); one thread, batch 256, 2x256 networks, turns interleaved.
"""
NOTES = """## What limits
Three equal products of 7936 x 256 by 256 x 256 per critic (values; gradient of the weights; gradient of the layer below)
are nine tenths of the exact step. "Of limit" says how much of the time they would need at the best rate of this core, so
exact Cal-QL cannot become faster than its ratio / "of limit" without computing less. Rows below their bound have no gradient
and are left out of the backward pass (a fifth of the rows on these batches); the limit counts them. The sampled mode needs
all values for its softmax, which is two thirds of its arithmetic.

A busy neighbour slows d3rlpy down more than the modes that stay in the cache, so its presence flatters the ratios; the row
"literal", whose code is d3rlpy's way of computing, tells: 0.73 to 0.81 on a quiet machine, more on a busy one.

## What was tried
| | |
|---|---|
| stacked critics through autograd (mode "literal") | slower than d3rlpy: activations of 8 MB a layer leave the cache |
| 64 states at a time (128 sampled), by hand | the bulk of the gain; 8, 16 or 32 states are no better |
| oneDNN's linear layer with bias and ReLU for addmm, ReLU | values 22.2 -> 20.2 ms, the layer below 21.6 -> 20.0 ms |
| the last layer's weight folded into the layer before | saves one pass over the activations |
| the actor's gradient out of the critics' pass | saves a forward pass of the critics |
| picking rows with gradient | pays below 92 % of the rows, above that the copies cost more |
| first layer as one product of features and actions | 2.3 ms instead of 1.5 ms |
| half precision (bfloat16) | not tried: it rounds by 0.4 %, and the softmax of large values moves by much more |
"""
PEERS = {"calql": "d3rlpy CalQL", "cql": "d3rlpy CQL", "iql": "d3rlpy IQL", "sac": "Stable-Baselines3 SAC"}


def summary(rows: list[dict[str, Any]], versions: dict[str, Any]) -> dict[str, Any]:
    """The lowest figure over the sizes for each key, and everything beside it."""

    def lowest(learner: str, key: str) -> float | None:
        return min((r[key] for r in rows if r["learner"] == learner), default=None)

    return {
        "calql_exact_ratio": lowest("calql_exact", "ratio"),
        "calql_sampled_ratio": lowest("calql_sampled", "ratio"),
        "iql_ratio": lowest("iql", "ratio"),
        "limit_fraction": lowest("calql_exact", "limit_fraction"),
        "versions": {**versions, "ours_torch": torch.__version__},
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/rl_update.*")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with d3rlpy and stable-baselines3")
    args = parser.parse_args()
    torch.set_num_threads(1)
    peer = Peer(args.peer_python)
    versions = peer.ask(versions=True)
    rows = [row for size in SIZES for row in compare(peer, *size, args.turns)]
    result = summary(rows, versions)
    text = report(rows)
    print(text)
    if args.save:
        (RESULTS / "rl_update.md").write_text(f"{HEAD.format(**result['versions'])}\n{text}\n\n{NOTES}")
        (RESULTS / "rl_update.json").write_text(json.dumps(result, indent=1) + "\n")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
