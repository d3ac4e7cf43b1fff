"""How a person works the drawer, the sliding door and the buttons. Each script is one attempt; ways differ visibly."""

from __future__ import annotations

import numpy as np

from robot_learning.envs.demonstrator.hand import Hand, Motion

DRAWER_GAP = (-0.043, -0.13)  # between the drawer's front and the bar of its handle, in the desk's frame (x, y) [m]
DRAWER_GRASP_HEIGHT = -0.048
HOVER = 0.055  # over the grasp, the fingertips just clear the handle [m]
BESIDE_POST = 0.050  # from the handle's post to the middle of either half of its bar [m]
PULLED = 0.135  # how far the tool must pull to open the drawer: fingers touch the bar 15 mm before the gap's middle [m]
ROOM_TO_PULL = 0.02  # left to the edge of the workspace when the drawer is open [m]
DOOR_GRASP_HEIGHT = 0.066
DOOR_SIDE = 0.050  # beside the door's handle, closed fingers clear of it [m]


def _into_drawer_handle(hand: Hand) -> Motion:
    """Bring the fingers between drawer and handle bar: closed, beside the post (even way), or around it."""
    room = hand.room
    offset = _place_on_handle(hand)
    around = offset == 0.0
    yield from hand.open(0.25) if around else hand.grip(1.0)
    yaw = room.pose("desk")[1]

    def gap() -> np.ndarray:
        x = DRAWER_GAP[0] - room.joint("drawer")
        return room.to_world("desk", (x, DRAWER_GAP[1] + offset, DRAWER_GRASP_HEIGHT))

    yield from hand.above(gap(), yaw, height=0.07)
    yield from hand.move(lambda: gap() + np.array([0.0, 0.0, HOVER]), yaw, speed=0.8)
    yield from hand.move(gap, yaw, speed=0.6)
    if around:
        yield from hand.close()


def _place_on_handle(hand: Hand) -> float:
    """Where along the handle to take it, from its post [m]: the half that is easier to pull, or around the post.

    With the desk close to the robot and turned, the open drawer's handle reaches over the edge of the workspace at one end.
    """
    room = hand.room

    def to_spare(offset: float) -> float:
        open_handle = room.to_world("desk", (DRAWER_GAP[0] - PULLED, DRAWER_GAP[1] + offset, DRAWER_GRASP_HEIGHT))
        return float(open_handle[0] - room.contract.workspace.lower[0])

    if hand.style.way % 2 == 1 and to_spare(0.0) > ROOM_TO_PULL:
        return 0.0
    return max((BESIDE_POST, -BESIDE_POST), key=to_spare)


def _slide_drawer(hand: Hand, opening: float) -> Motion:
    """Move the fingers, already in the handle, to where the drawer is open by `opening` [m]."""
    room = hand.room
    here = room.to_frame("desk", room.tcp)
    goal = room.to_world("desk", (DRAWER_GAP[0] - opening, here[1], DRAWER_GRASP_HEIGHT))
    yield from hand.move(goal, room.pose("desk")[1], speed=0.7, precision=0.012, ticks=25)


def open_drawer(hand: Hand) -> Motion:
    """Hook or grip the handle and pull."""
    yield from _into_drawer_handle(hand)
    yield from _slide_drawer(hand, 0.175)
    yield from _leave(hand)


def close_drawer(hand: Hand) -> Motion:
    """Put the fingers behind the handle's bar and push the drawer's front."""
    yield from _into_drawer_handle(hand)
    yield from _slide_drawer(hand, -0.03)
    yield from _leave(hand)


def _door(hand: Hand, goal: float) -> Motion:
    """Grip the door's handle and slide (way 0), or push it from the side with closed fingers (way 1)."""
    room = hand.room
    yaw = room.pose("shelf")[1]
    push = hand.style.way % 2 == 1
    towards_open = goal > room.joint("door")
    beside = (DOOR_SIDE if towards_open else -DOOR_SIDE) if push else 0.0

    def handle(opening: float) -> np.ndarray:
        return room.to_world("shelf", (-0.046, beside - opening, DOOR_GRASP_HEIGHT))

    yield from hand.grip(1.0) if push else hand.open(0.2)
    yield from hand.descend(handle(room.joint("door")), yaw)
    if not push:
        yield from hand.close()
    reach = 0.03 if towards_open else -0.03  # beyond the goal: fingers lead the handle
    yield from hand.move(handle(goal + reach), yaw, speed=0.7, precision=0.012, ticks=30)
    yield from _leave(hand)


def open_sliding(hand: Hand) -> Motion:
    """Slide the door to the right."""
    yield from _door(hand, 0.17)


def close_sliding(hand: Hand) -> Motion:
    """Slide the door to the left."""
    yield from _door(hand, 0.0)


def push_button(hand: Hand, colour: str) -> Motion:
    """Press the button with closed fingers, along (way 0) or across (way 1) the panel."""
    room = hand.room
    yaw = room.pose("buttons")[1] + (0.0 if hand.style.way % 2 == 0 else np.pi / 2)
    top = room.site(f"button_{colour}")
    aside = hand.rng.uniform(-0.004, 0.004, 2)
    point = top + np.array([aside[0], aside[1], 0.0])
    yield from hand.grip(1.0)
    yield from hand.above(point, yaw, height=0.10)
    yield from hand.move(point + np.array([0, 0, 0.03]), yaw, speed=0.8)
    yield from hand.move(
        point - np.array([0, 0, 0.03]), yaw, speed=0.5, until=lambda: room.joint(f"button_{colour}") > 0.011, ticks=20
    )
    yield from hand.pause(2)
    yield from _leave(hand)


def _leave(hand: Hand) -> Motion:
    """Let go and rise."""
    yield from hand.open()
    here = hand.room.tcp
    yield from hand.move(np.array([here[0], here[1], 0.15]), precision=0.03)
