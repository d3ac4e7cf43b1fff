"""Which script does which task, and when there is something for it to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from robot_learning.envs import tasks
from robot_learning.envs.demonstrator import block, furniture
from robot_learning.envs.demonstrator.hand import Hand, Motion
from robot_learning.envs.playroom import COLOURS, Playroom

Script = Callable[[Hand], Motion]

SCRIPTS: dict[str, Script] = {
    "grasp_lift": block.grasp_lift,
    "grasp_upright": block.grasp_upright,
    "grasp_flat": block.grasp_flat,
    "open_sliding": furniture.open_sliding,
    "close_sliding": furniture.close_sliding,
    "open_drawer": furniture.open_drawer,
    "close_drawer": furniture.close_drawer,
    "sweep_object": block.sweep_object,
    "knock_object": block.knock_object,
    **{f"push_{colour}_button": partial(furniture.push_button, colour=colour) for colour in COLOURS},
    "rotate_left": block.rotate_left,
    "rotate_right": block.rotate_right,
    "sweep_left": block.sweep_left,
    "sweep_right": block.sweep_right,
    "put_into_shelf": block.put_into_shelf,
    "pull_out_of_shelf": block.pull_out_of_shelf,
}
WAYS = {"knock_object": 3}
"""How many ways a script has; two where not listed."""


def _upright_on_desk(room: Playroom) -> bool:
    x, y, z = room.to_frame("desk", room.block)
    return tasks.is_upright(room) and 0.0 < x < 0.2 and abs(y) < 0.35 and 0.03 < z < 0.07


def _within_reach(room: Playroom) -> bool:
    x, y, _ = room.to_frame("desk", room.block)
    return tasks.on_desk(room) and 0.02 < x < 0.13 and abs(y) < 0.32


def possible(room: Playroom, name: str) -> bool:
    """Whether the objects stand such that the task is not done and its script can do it."""
    if tasks.TASKS[name].success(room):
        return False
    needs = _NEEDS.get(name)
    return needs is None or needs(room)


_NEEDS: dict[str, Callable[[Playroom], bool]] = {
    "grasp_lift": lambda room: tasks.in_drawer(room) and room.joint("drawer") > 0.13,
    "grasp_upright": _upright_on_desk,
    "knock_object": _upright_on_desk,
    "grasp_flat": _within_reach,
    "sweep_object": lambda room: (
        _within_reach(room) and room.joint("drawer") > 0.12 and -0.22 < tasks.side(room) < -0.04
    ),
    "close_drawer": lambda room: room.joint("drawer") > 0.08,
    "rotate_left": lambda room: _within_reach(room) and tasks.heading(room) < 0.0,
    "rotate_right": lambda room: _within_reach(room) and tasks.heading(room) > 0.0,
    "sweep_left": lambda room: _within_reach(room) and tasks.side(room) < 0.0,
    "sweep_right": lambda room: _within_reach(room) and tasks.side(room) > 0.0,
    "put_into_shelf": lambda room: _within_reach(room) and room.joint("door") > 0.14,
    "pull_out_of_shelf": lambda room: tasks.in_shelf(room) and room.joint("door") > 0.14,
}
