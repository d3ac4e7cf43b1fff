import io

import pytest
from rich.console import Console

from robot_learning.training.interrupt import Stopped
from robot_learning.training.progress import Preparation, ProgressBar


def shown(terminal: bool, steps: range, total: int) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with ProgressBar("train bc", total, "steps", console=console) as bar:
        for step in steps:
            bar.update(step, "loss 0.5")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_file_gets_a_line_every_tenth() -> None:
    assert len(shown(False, range(1, 101), 100).splitlines()) == 10


def test_a_line_tells_how_far_and_how_well() -> None:
    line = shown(False, range(1, 51), 100).splitlines()[-1]
    assert line.startswith("train bc 50/100 steps")
    assert line.endswith("loss 0.5")


def test_no_time_is_left_past_the_end() -> None:
    assert ", 0 s left" in shown(False, range(100, 251, 150), 100).splitlines()[-1]


def test_a_terminal_gets_a_bar_with_rate_and_words() -> None:
    text = shown(True, range(1, 101), 100)
    assert "100/100" in text
    assert "steps/s" in text
    assert "loss 0.5" in text


def test_preparations_follow_one_another() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=120)
    prepare = Preparation(console)
    for title in ("choose inputs", "look at pictures"):
        for done in range(1, 11):
            prepare(title, "steps", done, 10)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line.split(" 10/10 steps")[0] for line in lines if "10/10" in line] == ["choose inputs", "look at pictures"]


def test_a_preparation_stops_when_asked_to_but_for_its_last_word() -> None:
    asked = [False]
    prepare = Preparation(Console(file=io.StringIO(), force_terminal=True, width=120), stop=lambda: asked[0])
    prepare("look at pictures", "pictures", 1, 3)
    asked[0] = True
    with pytest.raises(Stopped):
        prepare("look at pictures", "pictures", 2, 3)
    prepare("look at pictures", "pictures", 3, 3)
