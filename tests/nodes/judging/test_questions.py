"""Which question belongs to an instruction."""

import subprocess
import sys

import pytest

from robot_learning.nodes.judging.questions import questions_of
from robot_learning.nodes.parameters import ParameterError


def test_the_playroom_s_instructions_have_their_questions() -> None:
    assert questions_of(())["open the drawer"] == "is the drawer open?"


def test_own_instructions_go_before_them() -> None:
    known = questions_of(["fold the towel = is the towel folded?", "open the drawer=is the drawer out?"])
    assert known["fold the towel"] == "is the towel folded?"
    assert known["open the drawer"] == "is the drawer out?"


@pytest.mark.parametrize("entry", ["fold the towel", "= is it?", "fold it ="])
def test_what_is_no_instruction_with_a_question_is_refused(entry: str) -> None:
    with pytest.raises(ParameterError, match="expected 'instruction = question'"):
        questions_of([entry])


def test_who_conducts_practice_loads_no_torch() -> None:
    """It starts in half the time, and leaves the memory to those who compute."""
    program = "import sys, robot_learning.nodes.practice; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
