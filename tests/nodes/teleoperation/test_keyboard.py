"""Keys as motion: taps, repeats, release, wishes; at times set by the tests."""

from __future__ import annotations

import pytest

from robot_learning.nodes.teleoperation.keyboard import ESTOP, HELP, KEY_MAP, MOTION, QUIT, SERVICES, Keyboard


@pytest.fixture
def keyboard() -> Keyboard:
    return Keyboard(speed=0.5)


def at(keyboard: Keyboard, now: float) -> list[float] | None:
    action = keyboard.action(now)
    return None if action is None else action.tolist()


def test_without_keys_nothing_is_sent(keyboard: Keyboard):
    assert at(keyboard, 100.0) is None


def test_a_tap_is_one_step(keyboard: Keyboard):
    keyboard.feed(b"w", 100.0)
    assert at(keyboard, 100.1) == [0.5, 0.0, 0.0, 0.0, 0.0]
    assert at(keyboard, 100.13) is None


def test_a_key_that_repeats_moves_until_it_is_released(keyboard: Keyboard):
    keyboard.feed(b"w", 100.0)
    for i in range(30):  # a terminal's repetition at 30 Hz, after its delay
        keyboard.feed(b"w", 100.5 + i / 30)
        assert at(keyboard, 100.5 + i / 30 + 0.03) is not None
    released = 100.5 + 29 / 30
    assert at(keyboard, released + 0.19) is not None
    assert at(keyboard, released + 0.21) is None


def test_two_keys_add_up(keyboard: Keyboard):
    keyboard.feed(b"wr", 100.0)
    assert at(keyboard, 100.0) == [0.5, 0.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(("arrow", "key"), [(b"\x1b[A", "w"), (b"\x1b[B", "s"), (b"\x1b[D", "a"), (b"\x1bOC", "d")])
def test_arrows_are_keys_too(keyboard: Keyboard, arrow: bytes, key: str):
    keyboard.feed(arrow, 100.0)
    entry, direction = MOTION[key]
    action = at(keyboard, 100.0)
    assert action is not None and action[entry] == 0.5 * direction


def test_an_arrow_may_come_in_two_reads(keyboard: Keyboard):
    keyboard.feed(b"\x1b", 100.0)
    keyboard.feed(b"[A", 100.01)
    assert at(keyboard, 100.02) == [0.5, 0.0, 0.0, 0.0, 0.0]


def test_a_function_key_neither_moves_nor_wishes(keyboard: Keyboard):
    assert keyboard.feed(b"\x1b[15~", 100.0) == []
    assert at(keyboard, 100.0) is None


def test_escape_alone_is_a_key_and_takes_no_later_one_with_it(keyboard: Keyboard):
    keyboard.feed(b"\x1b", 100.0)
    keyboard.feed(b"", 100.02)
    assert keyboard.feed(b"1x", 100.06) == ["recorder/start", ESTOP]
    keyboard.feed(b"\x1b", 200.0)
    keyboard.feed(b"w", 205.0)
    assert at(keyboard, 205.0) == [0.5, 0.0, 0.0, 0.0, 0.0]


def test_alt_and_a_key_are_neither_motion_nor_wish(keyboard: Keyboard):
    assert keyboard.feed(b"\x1bw\x1b1\x1bX", 100.0) == []
    assert at(keyboard, 100.0) is None


OPEN = [
    b"\x1b",
    b"\x1bO",
    b"\x1b[",
    b"\x1b[<",
    b"\x1b[<0;12",
    b"\x1b[ ",
    b"\x1b[1;2",
    b"\x1b[\xff",
    b"\x1b\x1b",
    b"\x1b[" + b"1" * 200,
]


@pytest.mark.parametrize("opened", OPEN)
@pytest.mark.parametrize("later", [0.0, 0.01, 5.0])
def test_what_begins_a_sequence_takes_no_stop_with_it(keyboard: Keyboard, opened: bytes, later: float):
    keyboard.feed(opened, 100.0)
    assert ESTOP in keyboard.feed(b"x", 100.0 + later)
    keyboard.feed(b"w", 200.0)
    keyboard.feed(opened, 200.01)
    keyboard.feed(b" ", 200.01 + later)
    assert at(keyboard, 200.02 + later) == [0.0] * 5
    assert keyboard.feed(b"1", 300.0) == ["recorder/start"]


@pytest.mark.parametrize("opened", OPEN)
def test_what_begins_a_sequence_is_dropped_when_no_more_follows(keyboard: Keyboard, opened: bytes):
    keyboard.feed(opened, 100.0)
    assert keyboard.feed(b"1", 100.06) == ["recorder/start"]


def test_reports_of_the_mouse_and_the_terminal_are_passed_over(keyboard: Keyboard):
    for report in (
        b"\x1b[<0;12;34M",
        b"\x1b[<0;12;34m",
        b"\x1b[?1;2c",
        b"\x1b[24;80R",
        b"\x1b[?64;1;2;6;9;15;16;17;18;21;22;28c",
        b"\x1b[>0;95;0c",
        b"\x1b[?2026;2$y",
    ):
        assert keyboard.feed(report + b"2", 100.0) == ["recorder/stop"]
    assert at(keyboard, 100.0) is None


@pytest.mark.parametrize("broken", [b"\x1b[ 1", b"\x1b[1\x04", b"\x1b[1\x1b[A", b"\x1bO1"])
def test_what_cannot_become_a_sequence_any_more_is_dropped(keyboard: Keyboard, broken: bytes):
    keyboard.feed(broken, 100.0)
    assert keyboard.feed(b"2", 100.01) == ["recorder/stop"]


def test_an_arrow_after_a_broken_sequence_is_a_key(keyboard: Keyboard):
    keyboard.feed(b"\x1b[<1\x1b[A", 100.0)
    assert at(keyboard, 100.0) == [0.5, 0.0, 0.0, 0.0, 0.0]


def test_the_gripper_goes_all_the_way_by_itself_and_at_full_speed(keyboard: Keyboard):
    keyboard.feed(b"c", 100.0)
    assert at(keyboard, 100.4) == [0.0, 0.0, 0.0, 0.0, 1.0]
    keyboard.feed(b"o", 100.41)
    assert at(keyboard, 100.42) == [0.0, 0.0, 0.0, 0.0, -1.0]


def test_speed_keys(keyboard: Keyboard):
    keyboard.feed(b"++++++++++", 100.0)
    assert keyboard.speed == 1.0
    keyboard.feed(b"-" * 50, 100.0)
    assert keyboard.speed == 0.05


def test_space_holds_still_until_a_motion_key(keyboard: Keyboard):
    keyboard.feed(b"w", 100.0)
    keyboard.feed(b" ", 100.05)
    assert at(keyboard, 100.06) == [0.0] * 5
    assert at(keyboard, 500.0) == [0.0] * 5
    keyboard.feed(b"w", 600.0)
    assert at(keyboard, 601.0) is None


def test_wishes(keyboard: Keyboard):
    assert keyboard.feed(b"1x?\x04", 100.0) == ["recorder/start", "safety_gate/estop", HELP, QUIT]
    assert at(keyboard, 100.0) is None


def test_the_printed_map_names_every_key():
    assert all(f"{key} " in KEY_MAP for key in (*MOTION, *SERVICES))
