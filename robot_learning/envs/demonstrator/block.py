"""How a person handles the block: grasp, carry, sweep, knock, turn. Each script is one attempt; ways differ visibly."""

from __future__ import annotations

import numpy as np

from robot_learning.control.rotations import wrap_angle
from robot_learning.envs.demonstrator.hand import TRAVEL_HEIGHT, Hand, Motion, nearest_grasp

READY = 0.15  # gripper position before a grasp: 72 mm between the fingers
NARROW = 0.35  # in drawer and shelf: 55 mm
RAKE = 0.45  # fingers apart to push with both
GRASP_HEIGHT = 0.006  # of the tool centre point over the block's centre: closing fingers reach 16 mm lower [m]


def _block_yaw(hand: Hand) -> float:
    axis = hand.room.block_axis
    return float(np.arctan2(axis[1], axis[0]))


def _grasp_yaw(hand: Hand, then_turn: float = 0.0) -> float:
    """The tool's yaw for a grasp across the block that keeps this and the yaw after `then_turn` near straight ahead."""
    angle = _block_yaw(hand)
    first = wrap_angle(angle)
    choices = (first, wrap_angle(first + np.pi))
    return min(choices, key=lambda yaw: max(abs(yaw), abs(yaw + then_turn)))


def _grasp(hand: Hand, opening: float = READY, yaw: float | None = None) -> Motion:
    """Grasp the lying block across its width: in the middle (even way) or towards its tail (odd way)."""
    room = hand.room
    yaw = _grasp_yaw(hand) if yaw is None else yaw
    along = (0.0 if hand.style.way % 2 == 0 else -0.018) + hand.rng.uniform(-0.005, 0.005)

    def point() -> np.ndarray:
        return room.block + along * room.block_axis + np.array([0.0, 0.0, GRASP_HEIGHT])

    yield from hand.open(opening)
    yield from hand.descend(point, yaw)
    yield from hand.close()


def _lift(hand: Hand, height: float) -> Motion:
    here = hand.room.tcp
    yield from hand.move(np.array([here[0], here[1], height]), speed=0.8, precision=0.015)


def _let_go(hand: Hand) -> Motion:
    yield from hand.open()
    yield from _lift(hand, 0.16)


def grasp_flat(hand: Hand) -> Motion:
    """Grasp the lying block and lift it."""
    yield from _grasp(hand)
    yield from _lift(hand, 0.12)
    yield from hand.pause(2)
    yield from _let_go(hand)


def grasp_upright(hand: Hand) -> Motion:
    """Grasp the standing block across one (even way) or the other (odd way) pair of faces, and lift it."""
    room = hand.room
    faces = room.data.body("block").xmat.reshape(3, 3)[:, 1]
    angle = float(np.arctan2(faces[1], faces[0])) + (0.0 if hand.style.way % 2 == 0 else np.pi / 2)
    yaw = nearest_grasp(angle, 0.0)
    aim = np.array([0.0, 0.0, 0.018 + hand.rng.uniform(-0.008, 0.008)])
    yield from hand.open(READY)
    yield from hand.descend(lambda: room.block + aim, yaw, hover=0.07)
    yield from hand.close()
    yield from _lift(hand, 0.17)
    yield from hand.pause(2)
    yield from _lift(hand, 0.072)
    yield from _let_go(hand)


def grasp_lift(hand: Hand) -> Motion:
    """Take the block out of the drawer and put it on the desk."""
    room = hand.room
    yield from _grasp(hand, NARROW)
    yield from _lift(hand, 0.09)
    here = room.to_frame("desk", room.tcp)
    goal = room.to_world("desk", (0.08, here[1], 0.09))
    yield from hand.move(goal, speed=0.9, precision=0.02)
    yield from hand.move(goal - np.array([0, 0, 0.06]), speed=0.7, precision=0.012)
    yield from _let_go(hand)


def sweep_object(hand: Hand) -> Motion:
    """Sweep the block off the front edge into the drawer (even way), or carry it there and drop it (odd way)."""
    room = hand.room
    yaw = room.pose("desk")[1]
    if hand.style.way % 2 == 1:
        yield from _grasp(hand)
        yield from _lift(hand, 0.10)
        yield from hand.move(room.to_world("desk", (-0.075, -0.13, 0.06)), yaw + np.pi, precision=0.02)
        yield from hand.move(room.to_world("desk", (-0.075, -0.13, -0.01)), speed=0.7, precision=0.015)
        yield from _let_go(hand)
        return
    yield from hand.grip(RAKE)
    x, y, _ = room.to_frame("desk", room.block)
    reach = 0.045 + 0.034 * abs(float(np.cos(_block_yaw(hand) - yaw)))
    behind = room.to_world("desk", (x + reach, y, 0.022))
    yield from hand.descend(behind, yaw)
    beyond = room.to_world("desk", (-0.085, 0.6 * y - 0.05, 0.022))
    yield from hand.move(beyond, yaw, speed=0.7, precision=0.02, ticks=40)
    yield from _let_go(hand)


def knock_object(hand: Hand) -> Motion:
    """Push the standing block over near its top: to the left (way 0), the right (way 1) or the back (way 2)."""
    room = hand.room
    desk = room.pose("desk")[1]
    direction = desk + (np.pi / 2, -np.pi / 2, 0.0)[hand.style.way % 3] + hand.rng.uniform(-0.3, 0.3)
    step = np.array([np.cos(direction), np.sin(direction), 0.0])
    top = room.block + np.array([0, 0, 0.028])
    yield from hand.grip(1.0)
    yield from hand.descend(top - 0.075 * step, desk)
    yield from hand.move(top + 0.06 * step, desk, speed=0.8, ticks=15)
    yield from _let_go(hand)


def _turn(hand: Hand, goal: float) -> Motion:
    """Grasp the block and turn it on the desk until its head points `goal` from straight ahead [rad]."""
    room = hand.room
    target = room.pose("desk")[1] + goal
    # Grasped in front of the shelf, the hand's width is free in every direction only some way from it.
    turn = wrap_angle(target - _block_yaw(hand))
    start = _grasp_yaw(hand, turn)
    yield from _grasp(hand, READY, start)
    here = room.tcp + np.array([0, 0, 0.006 if hand.style.way % 2 else 0.002])
    for share in (0.5, 1.0):
        yield from hand.move(here, start + share * turn, speed=0.9, precision=0.02, ticks=14)
    yield from hand.open(READY)
    yield from _let_go(hand)


def rotate_left(hand: Hand) -> Motion:
    """Turn the block until its head points left."""
    yield from _turn(hand, np.deg2rad(75 if hand.style.way % 2 else 60))


def rotate_right(hand: Hand) -> Motion:
    """Turn the block until its head points right."""
    yield from _turn(hand, -np.deg2rad(75 if hand.style.way % 2 else 60))


def _sideways(hand: Hand, sign: float) -> Motion:
    """Push the block sideways along the desk (even way) or grasp and drag it (odd way); `sign` +1 left, -1 right."""
    room = hand.room
    desk = room.pose("desk")[1]
    goal = sign * hand.rng.uniform(0.09, 0.13)
    if hand.style.way % 2 == 1:
        yield from _grasp(hand)
        here = room.to_frame("desk", room.tcp)
        goal_point = room.to_world("desk", (0.078, goal, here[2] + 0.003))
        yield from hand.move(goal_point, speed=0.8, precision=0.02)
        yield from _let_go(hand)
        return
    yaw = desk + np.pi / 2 if room.tcp_yaw > desk else desk - np.pi / 2
    yield from hand.grip(RAKE)
    x, y, _ = room.to_frame("desk", room.block)
    reach = 0.040 + 0.034 * abs(float(np.sin(_block_yaw(hand) - desk)))
    yield from hand.descend(room.to_world("desk", (x, y - sign * reach, 0.022)), yaw)

    def ahead() -> np.ndarray:
        block_x = room.to_frame("desk", room.block)[0]
        return room.to_world("desk", (0.5 * (block_x + x), goal - sign * 0.02, 0.022))

    yield from hand.move(ahead, yaw, speed=0.8, precision=0.015, ticks=40)
    yield from _let_go(hand)


def sweep_left(hand: Hand) -> Motion:
    """Bring the block to the left side of the desk."""
    yield from _sideways(hand, 1.0)


def sweep_right(hand: Hand) -> Motion:
    """Bring the block to the right side of the desk."""
    yield from _sideways(hand, -1.0)


def put_into_shelf(hand: Hand) -> Motion:
    """Lay the block into the shelf, along the door's travel (even way) or across it (odd way)."""
    room = hand.room
    grasp = _grasp_yaw(hand)
    yield from _grasp(hand, READY, grasp)
    yield from _lift(hand, TRAVEL_HEIGHT)
    lie = room.pose("shelf")[1] + (np.pi / 2 if hand.style.way % 2 == 0 else 0.0)
    yaw = nearest_grasp(lie, grasp)
    over = room.to_world("shelf", (0.071, 0.0, TRAVEL_HEIGHT))
    yield from hand.move(over, yaw, precision=0.012)
    yield from hand.move(over - np.array([0, 0, TRAVEL_HEIGHT - 0.047]), yaw, speed=0.6, precision=0.010)
    yield from _let_go(hand)


def pull_out_of_shelf(hand: Hand) -> Motion:
    """Take the block out of the shelf and lay it on the desk, along (even way) or across (odd way) its front edge."""
    room = hand.room
    grasp = _grasp_yaw(hand)
    yield from _grasp(hand, NARROW, grasp)
    yield from _lift(hand, TRAVEL_HEIGHT)
    lie = room.pose("desk")[1] + (np.pi / 2 if hand.style.way % 2 == 0 else 0.0)
    yaw = nearest_grasp(lie, grasp)
    x, y = hand.rng.uniform(0.065, 0.085), hand.rng.uniform(-0.10, 0.15)
    over = room.to_world("desk", (x, y, 0.12))
    yield from hand.move(over, yaw, precision=0.015)
    yield from hand.move(over - np.array([0, 0, 0.093]), yaw, speed=0.6, precision=0.010)
    yield from _let_go(hand)
