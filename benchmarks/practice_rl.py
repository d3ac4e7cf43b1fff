"""The same practice by reinforcement learning from pictures: what practice.py puts in the place of self-imitation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot_learning.training.online import learn
from robot_learning.training.practice_env import Autonomy
from robot_learning.training.practice_schedule import PERSON
from robot_learning.training.rl_config import RUNS
from robot_learning.training.run_state import load_state

OFFLINE_STEPS = 2000  # gradient steps on the data
BATCH = 64  # transitions; an encoder of pictures is most of the work


def practise_by_rl(
    algorithm: str,
    run: Path,
    tasks: Sequence[str],
    data: Path,
    beside: Sequence[Path],
    autonomy: Autonomy,
    steps: int,
    every: int,
    seed: int,
) -> dict[int, Path]:
    """Pretrain on all data, failures too, then practise with a gradient step each step; policies by steps of practice.

    Raises:
        KeyboardInterrupt: it was stopped; the same call goes on.
    """
    config = RUNS[algorithm][0](
        run=str(run),
        dataset=(str(data),),
        play=tuple(map(str, beside)),
        tasks=tuple(tasks),
        inputs="images",
        autonomy=autonomy,
        offline_steps=OFFLINE_STEPS,
        online_steps=steps,
        batch_size=BATCH,
        keep_every=every,
        seed=seed,
    )
    if not learn(config, resume=True).finished:
        raise KeyboardInterrupt
    kept = run / "checkpoints"
    return {
        0: kept / "offline",
        **{step: kept / f"step_{step}" for step in range(every, steps, every)},
        steps: kept / "last",
    }


def practised_by_rl(run: Path, steps: int) -> dict[str, Any]:
    """What the episodes of practice tell; the simulator's verdict on them is not kept."""
    saved = load_state(run)
    assert saved is not None
    past = saved[1]["past"]
    return {
        "steps": steps,
        "episodes": len(past),
        "interventions": sum(before == PERSON for _, _, before in past),
        "resets": 0,
        "said": sum(solved for _, solved, _ in past),
        "false_success": None,
        "missed_success": None,
    }
