"""What a robot that nobody resets tries next."""

import pytest

from robot_learning.training.practice_schedule import HOME, PERSON, STIR, Attempt, PracticeSchedule, ScheduleConfig
from robot_learning.training.run_state import RunError

OPEN, CLOSE = "open_drawer", "close_drawer"
CONFIG = ScheduleConfig(retries=2, stir_after=3, ask_after=6)


@pytest.fixture
def schedule() -> PracticeSchedule:
    return PracticeSchedule([OPEN, CLOSE], CONFIG)


def failed(*tasks: str) -> list[Attempt]:
    return [Attempt(task, False) for task in tasks]


def test_it_begins_with_the_first_task(schedule: PracticeSchedule) -> None:
    assert schedule.choose([], {}) == OPEN and schedule.before([]) == HOME


def test_a_success_is_followed_by_the_way_back(schedule: PracticeSchedule) -> None:
    assert schedule.choose([Attempt(OPEN, True)], {}) == CLOSE
    assert schedule.choose([Attempt(OPEN, True), Attempt(CLOSE, True)], {}) == OPEN


def test_a_failure_is_tried_again_and_then_the_next_task_has_its_turn(schedule: PracticeSchedule) -> None:
    assert schedule.choose(failed(OPEN), {}) == OPEN
    assert schedule.choose(failed(OPEN, OPEN), {}) == CLOSE


def test_what_is_done_already_is_passed_over(schedule: PracticeSchedule) -> None:
    assert schedule.choose([], {OPEN: True, CLOSE: False}) == CLOSE


def test_where_everything_seems_done_the_turn_decides(schedule: PracticeSchedule) -> None:
    assert schedule.choose([], {OPEN: True, CLOSE: True}) == OPEN


def test_after_failures_all_around_the_answers_are_not_believed_once() -> None:
    schedule, answers = PracticeSchedule([OPEN, CLOSE], ScheduleConfig(stir_after=4)), {OPEN: True, CLOSE: False}
    past = failed(OPEN, OPEN, CLOSE, CLOSE)
    assert schedule.choose(past, answers) == OPEN
    assert schedule.choose([*past, *failed(OPEN)], answers) == CLOSE


def test_they_are_not_believed_again_after_the_next_stirring() -> None:
    schedule, answers = PracticeSchedule([OPEN, CLOSE], ScheduleConfig(stir_after=4)), {OPEN: True, CLOSE: False}
    assert schedule.choose(failed(*[OPEN] * 4, *[CLOSE] * 4), answers) == OPEN


def test_stuck_it_stirs_and_then_asks_a_person(schedule: PracticeSchedule) -> None:
    assert [schedule.before(failed(*[OPEN] * n)) for n in range(7)] == [HOME, HOME, HOME, STIR, HOME, HOME, PERSON]


def test_after_help_or_success_the_count_begins_anew(schedule: PracticeSchedule) -> None:
    helped = [*failed(*[OPEN] * 6), Attempt(OPEN, False, PERSON)]
    assert schedule.failures(helped) == 1
    assert schedule.failures([*failed(OPEN, OPEN), Attempt(CLOSE, True)]) == 0


IN, OUT, LIFT = "sweep_object", "grasp_lift", "sweep_right"
MENDING = ScheduleConfig(stir_after=2, ask_after=4, recover=(OPEN, LIFT))


def test_stuck_it_tries_what_makes_the_tasks_possible_again() -> None:
    schedule, past = PracticeSchedule([IN, OUT], MENDING), failed(IN, IN)
    assert (schedule.before(past), schedule.choose(past, {})) == (STIR, OPEN)
    past += [Attempt(OPEN, True, STIR)]
    assert (schedule.before(past), schedule.choose(past, {})) == (HOME, LIFT)


def test_what_is_in_order_is_not_put_in_order() -> None:
    schedule = PracticeSchedule([IN, OUT], MENDING)
    assert schedule.choose(failed(IN, IN), {OPEN: True}) == LIFT
    assert schedule.choose(failed(IN, IN), {OPEN: True, LIFT: True}) == OUT


def test_after_recovering_the_cycle_goes_on_by_what_is_seen() -> None:
    schedule = PracticeSchedule([IN, OUT], MENDING)
    past = [*failed(IN, IN), Attempt(OPEN, True, STIR), Attempt(LIFT, False)]
    assert schedule.choose(past, {OUT: True}) == IN
    assert schedule.choose(past, {}) == OUT


def test_recovering_is_neither_success_nor_failure() -> None:
    schedule = PracticeSchedule([IN, OUT], MENDING)
    past = [*failed(IN, IN), Attempt(OPEN, True, STIR), Attempt(LIFT, False), *failed(OUT)]
    assert schedule.failures(past) == 3


def test_a_person_is_asked_instead_when_it_is_time_to() -> None:
    schedule, past = PracticeSchedule([IN, OUT], MENDING), failed(IN, IN, OUT, OUT)
    assert (schedule.before(past), schedule.choose(past, {})) == (PERSON, IN)


def test_a_person_is_asked_when_one_task_never_succeeds_though_the_other_seems_to(schedule: PracticeSchedule) -> None:
    past = [Attempt(OPEN, True)]
    for _ in range(3):
        past += [*failed(CLOSE, CLOSE), Attempt(OPEN, True)]
    assert (schedule.failures(past), schedule.stuck(past), schedule.before(past)) == (0, 6, PERSON)
    helped = [*past, Attempt(OPEN, False, PERSON)]
    assert (schedule.stuck(helped), schedule.before(helped)) == (1, HOME)


def test_a_person_may_never_be_asked() -> None:
    schedule = PracticeSchedule([OPEN], ScheduleConfig(stir_after=50, ask_after=0))
    assert schedule.before(failed(*[OPEN] * 49)) == HOME


def test_what_was_cut_off_is_neither_success_nor_failure(schedule: PracticeSchedule) -> None:
    past = [*failed(OPEN), Attempt(CLOSE, False, cut=True)]
    assert (schedule.failures(past), schedule.choose(past, {})) == (1, OPEN)


def test_nobody_is_asked_again_for_help_that_an_episode_cut_off_began_with(schedule: PracticeSchedule) -> None:
    helped = [*failed(*[OPEN] * 6), Attempt(OPEN, False, PERSON, cut=True)]
    assert (schedule.stuck(helped), schedule.before(helped)) == (0, HOME)


def test_what_was_practised_of_other_tasks_before_does_not_count(schedule: PracticeSchedule) -> None:
    past = [*failed(CLOSE), *failed(*["open_sliding"] * 6)]
    assert (schedule.stuck(past), schedule.before(past), schedule.choose(past, {})) == (1, HOME, CLOSE)


def test_a_run_that_knows_only_other_tasks_begins_with_the_first(schedule: PracticeSchedule) -> None:
    assert schedule.choose([Attempt("open_sliding", True)], {}) == OPEN


@pytest.mark.parametrize("tasks", [[], [OPEN, CLOSE, OPEN]])
def test_a_cycle_has_each_task_once(tasks: list[str]) -> None:
    with pytest.raises(RunError, match=r"each task once, found \["):
        PracticeSchedule(tasks, CONFIG)


@pytest.mark.parametrize("wrong", [{"retries": 0}, {"stir_after": 0}, {"ask_after": -1}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(RunError, match=r"found .*(0|-1)"):
        PracticeSchedule([OPEN], ScheduleConfig(**wrong))
