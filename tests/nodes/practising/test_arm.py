"""The arm on its way home, in a room that is played here."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.control.homing import Home
from robot_learning.nodes.practising import arm as practising
from robot_learning.nodes.practising.arm import STALLED, Arm
from robot_learning.nodes.practising.senses import NotYetError

HOME = Home((0.4, 0.3, 0.24))


class Room:
    """A tool that does what it is told at `speed`, while `moves` says so; each tick takes a second of the wall's clock."""

    def __init__(self, speed: float = 1.0, moves: Callable[[int], bool] = lambda tick: True) -> None:
        self.contract, self.speed, self.moves = Contract.load("ur5e_2f85"), speed, moves
        self.tcp, self.tick, self.driven, self.holding, self.gate = np.array([0.4, -0.3, 0.24]), 0, 0, "", "holding: x"

    # --- as the node

    def create_publisher(self, *_: Any) -> Any:
        return SimpleNamespace(publish=self._carry_out)

    def now(self) -> int:
        return self.tick * 100_000_000

    def _carry_out(self, message: Any) -> None:
        self.tick += 1
        if self.moves(self.tick):
            self.driven += 1
            self.tcp = self.tcp + self.speed * np.array(message.position[:3]) * self.contract.action.scale[:3]

    # --- as the senses

    def frame(self) -> Any:
        return SimpleNamespace(usable=True, at=self.now())

    def tool(self, _: Any) -> tuple[np.ndarray, float, float]:
        return self.tcp, 0.0, 0.0

    def require(self, condition: Callable[[], bool], *_: Any) -> None:
        assert condition()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Callable[[Room], None]:
    """Lets the wall's clock be that of the room."""
    return lambda room: monkeypatch.setattr(practising.time, "monotonic", lambda: float(room.tick))


def go(room: Room) -> bool:
    return Arm(room, room, 30.0).go_home(HOME)  # type: ignore[arg-type]


def away(room: Room) -> float:
    return float(np.linalg.norm(room.tcp - HOME.position))


def test_it_comes_home(wall: Callable[[Room], None]) -> None:
    wall(room := Room())
    assert go(room) and away(room) < 0.01


def test_a_slow_robot_comes_home_too(wall: Callable[[Room], None]) -> None:
    wall(room := Room(speed=0.1))
    assert go(room) and away(room) < 0.01


def test_where_home_cannot_be_reached_it_says_so_and_ends(wall: Callable[[Room], None]) -> None:
    wall(room := Room(speed=0.0))
    assert not go(room) and room.tick == STALLED


def test_what_the_gate_does_not_carry_out_takes_no_time_of_the_way(wall: Callable[[Room], None]) -> None:
    wall(room := Room(moves=lambda tick: tick % 20 == 0))  # a camera or a node that is lost again and again
    assert go(room) and away(room) < 0.01


def test_where_nothing_is_carried_out_any_more_it_waits_no_longer_than_its_patience(
    wall: Callable[[Room], None],
) -> None:
    wall(room := Room(moves=lambda tick: tick < 5))
    with pytest.raises(NotYetError, match=r"waited 30 s for the gate.*: holding: x"):
        go(room)
    assert room.tick < 40


def test_what_only_a_person_ends_is_not_waited_for_on_the_way(wall: Callable[[Room], None]) -> None:
    room = Room()
    room.moves = lambda tick: setattr(room, "holding", "holding: the e-stop is pressed") or True
    wall(room)
    with pytest.raises(NotYetError, match="e-stop is pressed"):
        go(room)
