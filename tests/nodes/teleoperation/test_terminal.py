"""A terminal that is taken and given back, on a pseudo-terminal whose keys the tests press."""

from __future__ import annotations

import os
import pty
import select
import sys
from collections.abc import Iterator

import pytest

from robot_learning.nodes.teleoperation.terminal import Terminal

PATIENCE = 10_000  # longest wait for keys on a busy machine [ms]


class Keys:
    """Presses keys, and watches that they have come in at the other end."""

    def __init__(self, master: int, terminal: int) -> None:
        self._master = master
        self._arrived = select.poll()  # select.select takes no descriptor above 1023
        self._arrived.register(terminal, select.POLLIN)

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)
        assert self._arrived.poll(PATIENCE), f"{keys!r} did not come in"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    master, terminal = pty.openpty()
    with os.fdopen(terminal) as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        yield Keys(master, terminal)
        monkeypatch.undo()
    os.close(master)


@pytest.fixture
def terminal(keys: Keys) -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_keys_typed_before_the_terminal_is_taken_are_forgotten(keys: Keys, terminal: Terminal):
    keys.press(b"1x\n")
    terminal.open()
    keys.press(b"w")
    assert terminal.read() == b"w"


def test_keys_of_a_taken_terminal_come_at_once(keys: Keys, terminal: Terminal):
    terminal.open()
    assert terminal.read() == b""
    keys.press(b"\x1b[A")
    assert terminal.read() == b"\x1b[A"
