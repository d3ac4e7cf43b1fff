"""Who else commands the controllers: by the graph, and by commands that the gate did not send."""

from __future__ import annotations

import pytest

from robot_learning.control.watchdogs import SECOND
from robot_learning.control.writers import MEMORY, SILENCE, WriterWatch

ARM, GRIPPER = "arm/commands", "gripper/commands"


@pytest.fixture
def watch() -> WriterWatch:
    return WriterWatch()


def test_own_commands_are_known_whatever_the_order_they_come_back_in(watch: WriterWatch) -> None:
    for number in range(5):
        watch.sent(ARM, (float(number), 0.1))
    for number in (4, 0, 2, 2, 3, 1):
        assert not watch.heard(ARM, (float(number), 0.1), 0)
    assert watch.fault(0) is None


def test_a_command_of_somebody_else_holds_before_the_graph_knows_whose_it_is(watch: WriterWatch) -> None:
    watch.sent(ARM, (0.0,))
    assert watch.heard(ARM, (0.5,), 0)
    hold = watch.fault(0)
    assert hold is not None and hold.text == "another node also commands on arm/commands; only the safety gate may"
    assert hold.moved and not hold.latched


def test_only_the_first_foreign_command_is_news(watch: WriterWatch) -> None:
    assert watch.heard(ARM, (0.5,), 0)
    assert not watch.heard(ARM, (0.6,), SECOND // 10)


def test_the_graph_gives_it_a_name(watch: WriterWatch) -> None:
    watch.heard(ARM, (0.5,), 0)
    watch.graph(ARM, ["/rogue"])
    hold = watch.fault(0)
    assert hold is not None and "/rogue also commands on arm/commands" in hold.text


def test_a_writer_the_graph_does_not_show_is_gone_when_it_is_silent(watch: WriterWatch) -> None:
    watch.graph(ARM, [])
    watch.heard(ARM, (0.5,), 0)
    assert watch.fault(round(SILENCE * SECOND)) is not None
    assert watch.fault(round(SILENCE * SECOND) + 1) is None
    assert watch.heard(ARM, (0.5,), 2 * SECOND)


def test_a_silent_writer_holds_as_long_as_the_graph_shows_it(watch: WriterWatch) -> None:
    watch.graph(ARM, ["/rogue"])
    assert watch.fault(1000 * SECOND) is not None
    watch.graph(ARM, [])
    assert watch.fault(1000 * SECOND) is None


def test_each_topic_has_commands_of_its_own(watch: WriterWatch) -> None:
    watch.sent(ARM, (0.5,))
    assert watch.heard(GRIPPER, (0.5,), 0)
    hold = watch.fault(0)
    assert hold is not None and GRIPPER in hold.text


def test_what_was_sent_long_ago_is_not_the_gate_s_when_it_comes_again(watch: WriterWatch) -> None:
    for number in range(MEMORY + 1):
        watch.sent(ARM, (float(number),))
    assert not watch.heard(ARM, (1.0,), 0)
    assert watch.heard(ARM, (0.0,), 0)


def test_a_command_sent_again_is_as_young_as_the_last_time(watch: WriterWatch) -> None:
    watch.sent(ARM, (-1.0,))
    for number in range(MEMORY - 1):
        watch.sent(ARM, (float(number),))
        watch.sent(ARM, (-1.0,))
    watch.sent(ARM, (100.0,))
    assert not watch.heard(ARM, (-1.0,), 0)
