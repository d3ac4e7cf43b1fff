"""Keys of a plain terminal as motion: works over SSH, needs no display, and a key moves the robot only while it repeats."""

from __future__ import annotations

import re

import numpy as np

from robot_learning.control.rotations import Array

TAP = 0.12  # a first press moves for this long: one control step, for fine positioning [s]
REPEAT = 0.2  # a key that repeats is down until it has not repeated for this long [s]
REPEAT_DELAY = 0.8  # terminals repeat a key that is held after at most this long [s]
GRIPPER_TIME = 0.5  # opening and closing go on by themselves for so long: both are quick and end by themselves [s]
SPEED_STEP = 1.25
SLOWEST = 0.05

MOTION = {  # key -> action entry, direction
    "w": (0, 1.0),
    "s": (0, -1.0),
    "a": (1, 1.0),
    "d": (1, -1.0),
    "r": (2, 1.0),
    "f": (2, -1.0),
    "q": (3, 1.0),
    "e": (3, -1.0),
    "c": (4, 1.0),
    "o": (4, -1.0),
}
ARROWS = {"\x1b[A": "w", "\x1b[B": "s", "\x1b[D": "a", "\x1b[C": "d"}
ARROWS |= {"\x1bO" + sequence[-1:]: key for sequence, key in ARROWS.items()}  # application cursor mode
ESCAPE = "\x1b"
# of arrows, function keys, the mouse and Alt (ECMA-48); what is longer than this is none
BEGINNING = re.compile(r"\x1b(O|\[[0-?]{0,99}[ -/]{0,4})?")
SEQUENCE = re.compile(r"\x1b(O[@-~]|\[[0-?]*[ -/]*[@-~]|[ -~])")
ESCAPE_TIME = 0.05  # the rest of a sequence follows at once; later it is another key [s]
ESTOP = "safety_gate/estop"
SERVICES = {  # key -> service
    "1": "recorder/start",
    "2": "recorder/stop",
    "3": "recorder/pause",
    "4": "recorder/resume",
    "5": "recorder/discard",
    "6": "recorder/re_record",
    "x": ESTOP,
    "X": "safety_gate/reset_estop",
}
VERDICTS = {"y": "success", "n": "no success"}  # key -> what the person says of the task, for the topic `success`
QUIT, HELP, HOLD = "\x04", "?", " "  # Ctrl-D, question mark, space
STOPS = ("x", HOLD)  # they count even within a sequence, as after Alt: one stop too many harms less than a lost one

KEY_MAP = """\
  w / s  forward / back        (x)      c / o  close / open the gripper
  a / d  left / right          (y)      + / -  faster / slower
  r / f  up / down             (z)      space  take over and hold still; any motion key goes on
  q / e  turn left / right     (yaw)    x / X  emergency stop / reset it
  arrow keys: as w s a d                ?      this list;  Ctrl-C or Ctrl-D ends
  recorder: 1 start  2 stop and keep  3 pause  4 resume  5 discard  6 discard and record again
  y / n  the task is done / not done (a simulated robot knows it by itself)
A key moves the robot only while it is held down; a tap is one small step."""


class Keyboard:
    """Turns what a terminal sends into an action and into wishes. Time is passed in, in seconds of any monotonic clock."""

    def __init__(self, speed: float = 0.5) -> None:
        self.speed = speed
        self.holding = False
        self._rest, self._rest_seen = "", 0.0  # the beginning of a sequence, and when its last byte came
        self._pressed: dict[str, float] = {}  # key -> when it was seen last
        self._until: dict[str, float] = {}  # key -> when it counts as released

    def feed(self, data: bytes, now: float) -> list[str]:
        """Take bytes of the terminal; returns the wishes among them: services to call, verdicts, `QUIT` or `HELP`."""
        wishes = []
        for key in self._keys(data, now):
            if key in MOTION:
                self._press(key, now)
            elif key == HOLD:
                self.holding = True
                self._until.clear()
            elif key in ("+", "="):
                self.speed = min(1.0, self.speed * SPEED_STEP)
            elif key in ("-", "_"):
                self.speed = max(SLOWEST, self.speed / SPEED_STEP)
            elif key in SERVICES:
                wishes.append(SERVICES[key])
            elif key in VERDICTS:
                wishes.append(VERDICTS[key])
            elif key in (QUIT, HELP):
                wishes.append(key)
        return wishes

    def action(self, now: float) -> Array | None:
        """The action (5,) of the keys that are down, zeros while holding still, None when no key is down."""
        down = [key for key, until in self._until.items() if now <= until]
        if not down:
            return np.zeros(5) if self.holding else None
        action = np.zeros(5)
        for key in down:
            entry, direction = MOTION[key]
            action[entry] += direction * (1.0 if entry == 4 else self.speed)
        return np.clip(action, -1.0, 1.0)

    def release(self) -> None:
        """All keys are up."""
        self.holding = False
        self._until.clear()
        self._pressed.clear()

    def _press(self, key: str, now: float) -> None:
        self.holding = False
        repeats = now - self._pressed.get(key, -REPEAT_DELAY * 2) <= REPEAT_DELAY
        self._pressed[key] = now
        if MOTION[key][0] == 4:
            self._until.pop("o" if key == "c" else "c", None)
            self._until[key] = now + GRIPPER_TIME
        else:
            self._until[key] = now + (REPEAT if repeats else TAP)

    def _keys(self, data: bytes, now: float) -> list[str]:
        """Characters, with the arrows' sequences as the keys they stand for; a sequence may come in two reads.

        Other sequences are passed over: the 5 in that of F5 is no wish. What turns out to be none is dropped.
        """
        if now - self._rest_seen > ESCAPE_TIME:
            self._rest = ""
        found = []
        for key in data.decode("latin-1"):
            sequence = key if key == ESCAPE else self._rest + key
            begins = BEGINNING.fullmatch(sequence) is not None
            self._rest, self._rest_seen = sequence if begins else "", now
            if sequence in ARROWS:
                found.append(ARROWS[sequence])
            elif key in STOPS or not (begins or SEQUENCE.fullmatch(sequence)):
                found.append(key)
        return found
