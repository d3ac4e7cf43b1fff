"""A terminal that hands over each key at once, and is given back as it was."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
import termios
import tty
from typing import Any

from robot_learning.errors import UserError

CHARACTERS = 6  # the index of the control characters in what tcgetattr returns


class TerminalError(UserError, OSError):
    """There is no terminal to read keys from."""


class Terminal:
    """Standard input in cbreak mode between `open` and `close`: no echo, no line buffer; Ctrl-C still interrupts."""

    def __init__(self) -> None:
        self._saved: list[Any] | None = None
        self._input = -1

    def open(self) -> None:
        """Take the terminal; keys pressed before are forgotten, as nobody meant the robot by them.

        Raises:
            TerminalError: standard input is not a terminal.
        """
        self._input = sys.stdin.fileno() if sys.stdin is not None else -1
        if self._input < 0 or not os.isatty(self._input):
            raise TerminalError(
                "the keyboard needs a terminal, and standard input is none: run teleop by hand in a terminal of its own "
                "(ros2 run robot_learning teleop), or use a gamepad (-p device:=gamepad)"
            )
        self._saved = termios.tcgetattr(self._input)
        tty.setcbreak(self._input, termios.TCSAFLUSH)
        settings = termios.tcgetattr(self._input)
        settings[CHARACTERS][termios.VSUSP] = b"\0"  # a stopped process could not give the terminal back
        termios.tcsetattr(self._input, termios.TCSADRAIN, settings)
        atexit.register(self.close)

    def read(self) -> bytes | None:
        """The keys pressed since the last call; None when the terminal is gone."""
        data = b""
        try:
            while select.select([self._input], [], [], 0.0)[0]:
                chunk = os.read(self._input, 1024)
                if not chunk:
                    return None
                data += chunk
        except OSError:
            return None
        return data

    def close(self) -> None:
        """Give the terminal back as it was; may be called twice."""
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        atexit.unregister(self.close)
        with contextlib.suppress(termios.error):  # the terminal is gone, and its settings with it
            termios.tcsetattr(self._input, termios.TCSADRAIN, saved)
