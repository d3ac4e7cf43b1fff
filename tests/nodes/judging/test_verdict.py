"""The verdict of the reward node: frames in a row, hysteresis, and a person's word."""

import pytest

from robot_learning.nodes.judging.verdict import MODEL, PERSON, Verdict

THRESHOLD, LOWER = 0.8, 0.4


def seen(verdict: Verdict, *probabilities: float) -> list[bool]:
    return [verdict.see(p, THRESHOLD, LOWER) for p in probabilities]


def test_it_takes_frames_in_a_row() -> None:
    assert seen(Verdict(2), 0.9, 0.1, 0.9, 0.9) == [False, False, False, True]


def test_one_frame_is_enough_where_one_is_asked_for() -> None:
    assert seen(Verdict(1), 0.8) == [True]


def test_between_the_thresholds_it_stays_done() -> None:
    assert seen(Verdict(1), 0.9, 0.5, 0.39) == [True, True, False]


def test_between_the_thresholds_it_does_not_become_done() -> None:
    assert seen(Verdict(2), 0.9, 0.5, 0.9) == [False, False, False]


@pytest.mark.parametrize("word", [True, False])
def test_a_person_s_word_holds_whatever_is_seen(word: bool) -> None:
    verdict = Verdict(1)
    verdict.say(word)
    assert seen(verdict, 0.9, 0.9, 0.1) == [word] * 3
    assert verdict.by == PERSON


def test_a_person_s_word_ends_with_the_episode() -> None:
    verdict = Verdict(1)
    verdict.say(True)
    verdict.reset()
    assert verdict.success is None
    assert seen(verdict, 0.1) == [False]
    assert verdict.by == MODEL


def test_frames_of_the_last_episode_do_not_count() -> None:
    verdict = Verdict(2)
    seen(verdict, 0.9)
    verdict.reset()
    assert seen(verdict, 0.9) == [False]


def test_frames_before_a_gap_do_not_count() -> None:
    verdict = Verdict(2)
    seen(verdict, 0.9, 0.9)
    verdict.lose_sight()
    assert verdict.success is None
    assert seen(verdict, 0.9, 0.9) == [False, True]


def test_a_person_s_word_outlives_a_gap() -> None:
    verdict = Verdict(2)
    verdict.say(True)
    verdict.lose_sight()
    assert verdict.success is True


@pytest.mark.parametrize(("word", "disputed"), [(True, True), (False, False)])
def test_it_is_told_when_a_person_contradicts_the_model(word: bool, disputed: bool) -> None:
    verdict = Verdict(1)
    seen(verdict, 0.1)
    assert verdict.say(word) is disputed
