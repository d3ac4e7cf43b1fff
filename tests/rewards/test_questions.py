from pathlib import Path

import numpy as np
import pytest

from robot_learning import paths
from robot_learning.envs import TASKS
from robot_learning.rewards import Question, QuestionBook, QuestionError, load_questions
from robot_learning.rewards.questions import agree, contrasts, key_words, simplify, without_negation
from tests.rewards.worlds import QUESTIONS, book, embed


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("is the drawer open?", 0),
        ("Is the drawer  OPEN", 0),
        ("is the drawer pulled out?", 0),
        ("has the drawer been closed now?", 1),
        ("is the drawer now closed?", 1),
        ("is the red light on now?", 2),
    ],
)
def test_a_wording_finds_its_question(asked: str, meant: int) -> None:
    match = book().match(asked)
    assert (match.index, match.negated) == (meant, False)


@pytest.mark.parametrize(
    "asked",
    [
        "is the drawer not open?",
        "isn't the drawer open?",
        "is it false that the drawer is open",
        "isn\u2019t the drawer open?",
        "is the drawer no longer open?",
        "hadn't the drawer been opened?",
        "the drawer can't be open",
        "the drawer cannot be open",
    ],
)
def test_a_negation_turns_the_answer_round(asked: str) -> None:
    match = book().match(asked)
    assert (match.index, match.negated) == (0, True)


@pytest.mark.parametrize(
    "asked",
    [
        "is no drawer open?",
        "is the drawer neither open nor locked?",
        "nobody opened the drawer, is the drawer open?",
        "is the drawer hardly open?",
        "is the drawer open or closed?",
        "is the drawer unopened, not open?",
    ],
)
def test_a_denial_that_is_not_understood_is_refused(asked: str) -> None:
    with pytest.raises(QuestionError, match="say it with 'not'"):
        book().match(asked)


def test_no_longer_in_is_out_of() -> None:
    known = book((Question("is the block in the drawer?"), Question("is the block out of the drawer?")))
    match = known.match("is the block no longer in the drawer?")
    assert (match.index, match.negated) == (1, False)


def test_an_accent_is_one_letter_or_two() -> None:
    known = book((Question("ist die Klappe gehoben, \u00fcberall?"), QUESTIONS[0]))
    assert known.exact("ist die Klappe gehoben, u\u0308berall\uff1f")


@pytest.mark.parametrize(
    "asked", ["is the window open?", "is the green lamp lit?", "what time is it?", "", "is the lamp lit?"]
)
def test_an_unknown_question_is_refused_with_the_known_ones(asked: str) -> None:
    with pytest.raises(QuestionError, match=r"(?s)found '.*is the drawer open\?.*is the red lamp lit\?"):
        book().match(asked)


def test_the_opposite_of_the_only_question_is_refused() -> None:
    with pytest.raises(QuestionError):
        book(QUESTIONS[:1]).match("is the drawer closed?")


def test_known_wordings_need_no_embedding() -> None:
    def unavailable(sentences: object) -> np.ndarray:
        raise AssertionError("embedded")

    known = QuestionBook(QUESTIONS, unavailable, vectors=embed([w for q in QUESTIONS for w in q.all]))
    assert known.match("has the drawer been closed").index == 1


@pytest.mark.parametrize(
    ("sentence", "positive", "negated"),
    [
        ("is the drawer not open", "is the drawer open", True),
        ("doesn't the block lie", "does the block lie", True),
        ("is it false that the drawer is not open", "the drawer is open", False),
        ("is there a knot", "is there a knot", False),
        ("is it true that the drawer is open", "the drawer is open", False),
    ],
)
def test_negations_are_taken_out(sentence: str, positive: str, negated: bool) -> None:
    assert without_negation(sentence) == (positive, negated)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("is the drawer open", "has the drawer been opened", True),
        ("is the drawer open", "is the drawer shut", False),
        ("is the block in the drawer", "is the block no longer in the drawer", False),
        ("is the red lamp lit", "is the lamp lit", True),
        ("does it point left", "does it point right", False),
        ("is the block flat in the air", "is the block held flat above the desk", True),
    ],
)
def test_contrast_words(one: str, other: str, same: bool) -> None:
    assert agree(contrasts(one), contrasts(other)) is same


def test_key_words_are_those_of_every_wording() -> None:
    assert key_words(QUESTIONS[0]) == {"drawer"}


def test_simplify() -> None:
    assert simplify("  Isn\u2019t it  OPEN ?") == "isn't it open"


def test_the_playrooms_questions_are_those_of_its_tasks() -> None:
    questions = load_questions(paths.config("questions", "playroom.yaml"))
    assert {question.text for question in questions} == {task.question for task in TASKS.values()}
    assert min(len(question.wordings) for question in questions) >= 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("questions: [1, 2]", r"(?s)mapping of each question.*found a list: \[1, 2\].*is the lid open"),
        ("questions: is it on?", "expected 'questions:'.*found str: 'is it on"),
        ("{}", "expected 'questions:'"),
        ("questions:\n  is it on?: [3]", "list of other wordings"),
        ("questions:\n  is it on?:\n  - is it lit?\n  is it bright?:\n  - is it lit", "stands for"),
        ("a: [b", "not valid YAML"),
    ],
)
def test_a_malformed_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.yaml").write_text(text)
    with pytest.raises(QuestionError, match=message):
        load_questions(tmp_path / "q.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match=r"nowhere\.yaml"):
        load_questions(tmp_path / "nowhere.yaml")


def test_a_question_without_wordings(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text("questions:\n  is the valve shut?:\n")
    assert load_questions(tmp_path / "q.yaml") == (Question("is the valve shut?"),)


def test_no_questions() -> None:
    with pytest.raises(QuestionError, match="at least one"):
        QuestionBook((), embed)
