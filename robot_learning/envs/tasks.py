"""The 18 tasks of Learning Latent Plans from Play (Lynch et al., CoRL 2019, arXiv 1903.01973), on this playroom.

Success depends on the state of the objects only, so a picture can show it and a reverse task can undo it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_learning.envs import furnishing as start
from robot_learning.envs.furnishing import DOOR_CLOSED, DOOR_OPEN, DRAWER_CLOSED, DRAWER_OPEN
from robot_learning.envs.playroom import Playroom
from robot_learning.errors import UserError

FURNITURE_TASKS = (
    1.5  # with the others' variation, clones of 10 demonstrations of drawer and door leave nothing to learn
)
LIFTED = 0.068  # height of the block's centre that counts as lifted off the desk [m]
TURNED = np.deg2rad(40)  # the head points at least this far left or right of straight ahead
SIDE = 0.06  # the block's centre is at least this far left or right of the desk's middle [m]


class UnknownTaskError(UserError, KeyError):
    """No such task; the message lists the valid names."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Task:
    """A task of the playroom.

    Attributes:
        name: identifier; instruction: what a person would say; question: what a reward model is asked.
        success: whether it is done, from object state; begin: puts the objects where there is something to do.
        reverse: the task that undoes it, where one exists.
        variation: scales how far the furniture moves between its episodes.
    """

    name: str
    instruction: str
    question: str
    success: Callable[[Playroom], bool]
    begin: Callable[[Playroom, np.random.Generator], None]
    reverse: str | None = None
    variation: float = 1.0


# --- what is true of the block ---------------------------------------------------------------------------------------


def on_desk(room: Playroom) -> bool:
    """The block lies on the desk top: flat, at rest height, not in drawer or shelf."""
    x, y, z = room.to_frame("desk", room.block)
    return 0.0 < x < 0.40 and abs(y) < 0.46 and 0.0 < z < 0.030 and is_flat(room) and not in_shelf(room)


def is_flat(room: Playroom) -> bool:
    """The block's long axis is within 30 degrees of horizontal."""
    return abs(float(room.block_axis[2])) < 0.5


def is_upright(room: Playroom) -> bool:
    """The block's long axis is within 30 degrees of vertical."""
    return abs(float(room.block_axis[2])) > 0.866


def in_drawer(room: Playroom) -> bool:
    """The block's centre is inside the drawer, below its rim."""
    return room.inside("drawer_inside", room.block)


def in_shelf(room: Playroom) -> bool:
    """The block rests inside the shelf's compartment."""
    return room.inside("shelf_inside", room.block) and float(room.block[2]) < 0.060


def heading(room: Playroom) -> float:
    """Direction of the block's head on the desk: 0 straight ahead (away from the robot), positive to the left [rad]."""
    axis = room.block_axis
    angle = np.arctan2(axis[1], axis[0]) - room.pose("desk")[1]
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def side(room: Playroom) -> float:
    """How far left of the desk's middle the block is [m]."""
    return float(room.to_frame("desk", room.block)[1])


# --- starts ----------------------------------------------------------------------------------------------------------


def _block_anywhere(room: Playroom, rng: np.random.Generator) -> None:
    start.block_on_desk(room, rng)


def _drawer(low: float, high: float) -> Callable[[Playroom, np.random.Generator], None]:
    def begin(room: Playroom, rng: np.random.Generator) -> None:
        _block_anywhere(room, rng)
        room.set_joint("drawer", rng.uniform(low, high))

    return begin


def _door(low: float, high: float) -> Callable[[Playroom, np.random.Generator], None]:
    def begin(room: Playroom, rng: np.random.Generator) -> None:
        _block_anywhere(room, rng)
        room.set_joint("door", rng.uniform(low, high))

    return begin


def _upright(room: Playroom, rng: np.random.Generator) -> None:
    start.block_on_desk(room, rng, upright=True)


def _turned(low: float, high: float) -> Callable[[Playroom, np.random.Generator], None]:
    def begin(room: Playroom, rng: np.random.Generator) -> None:
        start.block_on_desk(room, rng, yaw=(low, high), y=(-0.22, 0.22))

    return begin


def _beside(low: float, high: float) -> Callable[[Playroom, np.random.Generator], None]:
    def begin(room: Playroom, rng: np.random.Generator) -> None:
        start.block_on_desk(room, rng, y=(low, high))

    return begin


def _above_drawer(room: Playroom, rng: np.random.Generator) -> None:
    room.set_joint("drawer", rng.uniform(0.13, 0.15))
    start.block_on_desk(room, rng, y=(-0.20, -0.06))


def _lying_in_drawer(room: Playroom, rng: np.random.Generator) -> None:
    room.set_joint("drawer", rng.uniform(0.14, 0.15))
    start.block_in_drawer(room, rng)


def _before_shelf(room: Playroom, rng: np.random.Generator) -> None:
    room.set_joint("door", rng.uniform(0.15, 0.17))
    start.block_on_desk(room, rng)


def _lying_in_shelf(room: Playroom, rng: np.random.Generator) -> None:
    room.set_joint("door", rng.uniform(0.15, 0.17))
    start.block_in_shelf(room, rng)


# --- the list --------------------------------------------------------------------------------------------------------


def _push_button(colour: str) -> Task:
    return Task(
        name=f"push_{colour}_button",
        instruction=f"push the {colour} button",
        question=f"is the {colour} lamp lit?",
        success=lambda room: room.pressed(colour),
        begin=_block_anywhere,
    )


_ALL = (
    Task(
        "grasp_lift",
        "lift the block out of the drawer",
        "is the block out of the drawer and over the desk?",
        lambda room: room.to_frame("desk", room.block)[0] > 0.02 and room.block[2] > 0.01 and not in_shelf(room),
        _lying_in_drawer,
        reverse="sweep_object",
    ),
    Task(
        "grasp_upright",
        "lift the standing block",
        "is the block held upright above the desk?",
        lambda room: room.block[2] > LIFTED + 0.032 and is_upright(room),
        _upright,
    ),
    Task(
        "grasp_flat",
        "lift the lying block",
        "is the block held flat above the desk?",
        lambda room: room.block[2] > LIFTED and is_flat(room),
        _block_anywhere,
    ),
    Task(
        "open_sliding",
        "open the sliding door",
        "is the sliding door open?",
        lambda room: room.joint("door") > DOOR_OPEN,
        _door(0.0, 0.02),
        reverse="close_sliding",
        variation=FURNITURE_TASKS,
    ),
    Task(
        "close_sliding",
        "close the sliding door",
        "is the sliding door closed?",
        lambda room: room.joint("door") < DOOR_CLOSED,
        _door(0.13, 0.17),
        reverse="open_sliding",
        variation=FURNITURE_TASKS,
    ),
    Task(
        "open_drawer",
        "open the drawer",
        "is the drawer open?",
        lambda room: room.joint("drawer") > DRAWER_OPEN,
        _drawer(0.0, 0.015),
        reverse="close_drawer",
        variation=FURNITURE_TASKS,
    ),
    Task(
        "close_drawer",
        "close the drawer",
        "is the drawer closed?",
        lambda room: room.joint("drawer") < DRAWER_CLOSED,
        _drawer(0.11, 0.15),
        reverse="open_drawer",
        variation=FURNITURE_TASKS,
    ),
    Task(
        "sweep_object",
        "sweep the block into the drawer",
        "is the block in the drawer?",
        in_drawer,
        _above_drawer,
        reverse="grasp_lift",
    ),
    Task(
        "knock_object",
        "knock the standing block over",
        "is the block lying on the desk?",
        on_desk,
        _upright,
    ),
    _push_button("red"),
    _push_button("green"),
    _push_button("blue"),
    Task(
        "rotate_left",
        "turn the block to the left",
        "does the white end of the block point left?",
        lambda room: on_desk(room) and TURNED < heading(room) < np.pi - TURNED,
        _turned(np.deg2rad(-80), np.deg2rad(-40)),
        reverse="rotate_right",
    ),
    Task(
        "rotate_right",
        "turn the block to the right",
        "does the white end of the block point right?",
        lambda room: on_desk(room) and -np.pi + TURNED < heading(room) < -TURNED,
        _turned(np.deg2rad(40), np.deg2rad(80)),
        reverse="rotate_left",
    ),
    Task(
        "sweep_left",
        "sweep the block to the left",
        "is the block on the left side of the desk?",
        lambda room: on_desk(room) and side(room) > SIDE,
        _beside(-0.24, -SIDE),
        reverse="sweep_right",
    ),
    Task(
        "sweep_right",
        "sweep the block to the right",
        "is the block on the right side of the desk?",
        lambda room: on_desk(room) and side(room) < -SIDE,
        _beside(SIDE, 0.24),
        reverse="sweep_left",
    ),
    Task(
        "put_into_shelf",
        "put the block into the shelf",
        "is the block in the shelf?",
        in_shelf,
        _before_shelf,
        reverse="pull_out_of_shelf",
    ),
    Task(
        "pull_out_of_shelf",
        "take the block out of the shelf",
        "is the block out of the shelf and lying on the desk?",
        on_desk,
        _lying_in_shelf,
        reverse="put_into_shelf",
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def task(name: str) -> Task:
    """The task of this name.

    Raises:
        UnknownTaskError: lists the valid names.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTaskError(f"unknown task {name!r}; the playroom's tasks: {', '.join(TASKS)}") from None


def instruction_of(task: str) -> str:
    """What a person would say: the instruction of a playroom task given by name, else the words themselves."""
    return TASKS[task].instruction if task in TASKS else task


def begin(
    room: Playroom,
    task: Task,
    rng: np.random.Generator,
    variation: float = 1.0,
    furniture: int | None = None,
    tries: int = 20,
) -> None:
    """A full reset: furniture, joints, block and arm anew, such that the task is not done yet.

    `variation` scales how far the furniture moves between episodes (0: not at all); with `furniture` it stands where this seed
    puts it, in every episode of tasks with the same variation.
    """
    for _ in range(tries):
        room.restart()
        start.furnish(room, rng if furniture is None else np.random.default_rng(furniture), variation * task.variation)
        start.random_joints(room, rng)
        task.begin(room, rng)
        room.forward()
        start.random_arm(room, rng)
        room.settle(0.2)
        if not task.success(room) and float(room.block[2]) > -0.15:
            return
    where = "" if furniture is None else f" with furniture {furniture}"
    raise RuntimeError(f"found no start for task {task.name!r}{where} in {tries} tries")
