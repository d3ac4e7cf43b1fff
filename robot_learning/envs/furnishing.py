"""Where things stand when an episode begins: furniture pose, joint positions, block and arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_learning.envs.playroom import COLOURS, Playroom

BLOCK_HALF_WIDTH, BLOCK_HALF_LENGTH = 0.018, 0.050
DRAWER_FLOOR, SHELF_FLOOR = -0.078, 0.020  # heights of their upper surfaces [m]
DRAWER_OPEN, DRAWER_CLOSED = 0.12, 0.015  # thresholds of "open" and "closed" [m]
DOOR_OPEN, DOOR_CLOSED = 0.13, 0.02
IK_ROUNDS = 4  # the solver moves by small steps; home is up to half a metre away


@dataclass(frozen=True)
class Variation:
    """Half ranges of the furniture's pose at the start of an episode: `(x, y, yaw)` [m, m, rad].

    The shelf and the buttons move on the desk, in addition to the desk's own movement.
    """

    desk: tuple[float, float, float] = (0.030, 0.040, 0.14)
    shelf: tuple[float, float, float] = (0.010, 0.025, 0.06)
    buttons: tuple[float, float, float] = (0.015, 0.020, 0.20)


def furnish(room: Playroom, rng: np.random.Generator, scale: float = 1.0, variation: Variation | None = None) -> None:
    """Stand the furniture somewhere within `scale` times the variation (0: always in the same place)."""
    variation = variation or Variation()

    def drawn(name: str) -> np.ndarray:
        spread = np.array(getattr(variation, name)) * scale
        return np.asarray(room.nominal(name)) + rng.uniform(-spread, spread)

    x, y, yaw = drawn("desk")
    room.place("desk", x, y, yaw)
    for name in ("shelf", "buttons"):
        local = drawn(name)
        world = room.to_world("desk", (local[0], local[1], 0.0))
        room.place(name, world[0], world[1], yaw + local[2])


def random_joints(room: Playroom, rng: np.random.Generator) -> None:
    """Drawer and door mostly closed or mostly open, buttons free."""
    room.set_joint("drawer", rng.choice([rng.uniform(0.0, 0.01), rng.uniform(0.12, 0.15)], p=[0.75, 0.25]))
    room.set_joint("door", rng.choice([rng.uniform(0.0, 0.015), rng.uniform(0.14, 0.17)], p=[0.6, 0.4]))
    for colour in COLOURS:
        room.set_joint(f"button_{colour}", 0.0)


def block_on_desk(
    room: Playroom,
    rng: np.random.Generator,
    y: tuple[float, float] = (-0.26, 0.26),
    x: tuple[float, float] = (0.060, 0.095),
    yaw: tuple[float, float] = (-np.pi, np.pi),
    upright: bool = False,
) -> None:
    """Put the block on the free strip along the desk's front edge; ranges are in the desk's frame [m, rad]."""
    height = BLOCK_HALF_LENGTH if upright else BLOCK_HALF_WIDTH
    point = (rng.uniform(*x), rng.uniform(*y), height + 0.001)
    room.set_block(room.to_world("desk", point), room.pose("desk")[1] + rng.uniform(*yaw), upright)


def block_in_drawer(room: Playroom, rng: np.random.Generator) -> None:
    """Put the block on the floor of the drawer, within the part an open drawer shows, roughly along the drawer's travel."""
    opening = room.joint("drawer")
    point = (
        rng.uniform(-0.60, -0.50) * opening,
        -0.13 + rng.uniform(-0.055, 0.055),
        DRAWER_FLOOR + BLOCK_HALF_WIDTH + 0.001,
    )
    yaw = rng.uniform(-0.45, 0.45) + rng.choice([0.0, np.pi])
    room.set_block(room.to_world("desk", point), room.pose("desk")[1] + yaw)


def block_in_shelf(room: Playroom, rng: np.random.Generator) -> None:
    """Put the block flat on the shelf's floor, roughly along the door's travel."""
    point = (rng.uniform(0.056, 0.080), rng.uniform(-0.030, 0.030), SHELF_FLOOR + BLOCK_HALF_WIDTH + 0.001)
    yaw = np.pi / 2 + rng.uniform(-0.30, 0.30) + rng.choice([0.0, np.pi])
    room.set_block(room.to_world("shelf", point), room.pose("shelf")[1] + yaw)


def random_arm(room: Playroom, rng: np.random.Generator, tries: int = 50) -> None:
    """Put the arm, tool down and gripper open, anywhere sensible above the desk where it touches nothing."""
    home = np.array(room.contract.joints.home)
    for _ in range(tries):
        position = rng.uniform((0.36, -0.24, 0.14), (0.58, 0.24, 0.30))
        yaw, joints = rng.uniform(-0.5, 0.5), home
        for _ in range(IK_ROUNDS):
            joints = room.controller.kinematics.solve(position, yaw, joints)
        room.set_arm(joints)
        room.forward()
        if not room.robot_touches():
            return
    raise RuntimeError("found no arm pose free of contact; is the furniture inside the robot?")
