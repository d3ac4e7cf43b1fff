"""The model card of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robot_learning.policies.checkpoint import Checkpoint


def render(checkpoint: Checkpoint) -> str:
    """The model card (README.md): what the policy is, what it was trained on and how well it did, for people."""
    contract, tasks = checkpoint.contract, checkpoint.tasks
    streams = "\n".join(f"- `{key}` {s.dtype} {s.shape}" for key, s in contract.observation.items())
    actions = ", ".join(
        f"{n} ({k:g} {u})"
        for n, k, u in zip(*(getattr(contract.action, f) for f in ("names", "scale", "units")), strict=True)
    )
    rows = "\n".join(
        f"| {name} | {value} |" for name, value in {**checkpoint.facts, "robot_learning": checkpoint.version}.items()
    )
    known = "\n".join(f"- {task}" for task in tasks)
    measured = (
        "\n".join(f"- {line}" for line in checkpoint.success)
        or "Not evaluated yet: `robot-learning evaluate <this folder>`."
    )
    return f"""# A policy for {len(tasks)} task{"s" if len(tasks) > 1 else ""}

| | |
|---|---|
{rows}

## Tasks
{known}

## Success
{measured}

## Robot
Contract `{contract.name}` ({contract.hash()}) at {contract.rate:g} Hz. It reads

{streams}

and writes `action`, each element in [-1, 1]; what 1 means in one tick: {actions}.

## Use
```python
from robot_learning.policies import load_policy

policy = load_policy("<this folder>", contract=robot_contract)  # refuses another robot
policy.reset()
action = policy.predict(observation, task={tasks[0]!r})
```
It knows only the tasks above, objects like those in its data, and stops nothing by itself: keep the safety gate on.
"""
