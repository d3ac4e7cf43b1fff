"""Yes/no questions: the known ones, their wordings, and which of them somebody means.

A sentence embedding tells topics apart far better than their opposites: of all-MiniLM-L6-v2 "is the drawer open?" and "is
the drawer closed?" have a cosine of 0.92, and "is the drawer not open?" is nearer still. So a wording that was never
trained is not given to the network. It is mapped to the nearest known question of which it has every key word (those that
all wordings of the question share: block, drawer) and contradicts no contrast word (open and closed, left and right, red and
green, in and out); a negation is taken out first and turns the answer round; and what is near to none is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robot_learning.errors import UserError

Embed = Callable[[Sequence[str]], np.ndarray]

MIN_COSINE = 0.6  # below it a wording is none of the known questions (docs/rewards.md: how it was chosen)
CONTRASTS: tuple[dict[str, str], ...] = (
    {
        **dict.fromkeys(("open", "opened", "ajar"), "open"),
        **dict.fromkeys(("closed", "close", "shut"), "closed"),
    },
    {**dict.fromkeys(("left", "leftwards", "left-hand"), "left"), **dict.fromkeys(("right", "rightwards"), "right")},
    {"red": "red", "green": "green", "blue": "blue", "yellow": "yellow", "white": "", "black": "black"},
    {
        **dict.fromkeys(("in", "inside", "into", "within", "contain", "contains"), "in"),
        **dict.fromkeys(("out", "outside"), "out"),
    },
    {
        **dict.fromkeys(("upright", "vertical", "vertically", "standing", "stands"), "upright"),
        **dict.fromkeys(("flat", "horizontal", "horizontally", "lying", "lies"), "flat"),
    },
    {
        **dict.fromkeys(("on", "onto"), "on"),
        **dict.fromkeys(("above", "lifted", "raised", "held", "aloft"), "above"),
    },
    {"drawer": "drawer", "door": "door", "shelf": "shelf", "cupboard": "shelf"},
)
"""Groups of words that exclude each other. A wording matches a question only if no group says two things."""

FILLERS = frozenset(
    """a an and are at be been but by did do does for from has have in into is it its no now of off on onto or out over
    robot that the there this to up was were with you""".split()  # noqa: SIM905 (a list of words reads better)
)
"""Words that are never key words."""
NEGATION = re.compile(r"\b(?:not|never|no longer(?! (?:in|inside)\b)|cannot|[a-z]+n't|(?:is|has|does)nt)\b")
DENIALS = frozenset(
    "no nobody nothing none neither nor without hardly barely scarcely unopened unclosed unlit".split()  # noqa: SIM905
)
"""Words that turn a question round in ways that are not understood: what has one is refused, unless it is a known wording."""
NO_LONGER_IN = re.compile(r"\bno longer (?:in|inside)\b")  # says "out of", which is a contrast word
FALSE = re.compile(r"\b(?:is it (?:false|untrue|wrong) that|is it not the case that|is it not true that)\b")
TRUE = re.compile(r"\b(?:is it (?:true|right|the case) that)\b")
POSITIVE = {"cannot": "can", "can't": "can", "won't": "will", "isnt": "is", "hasnt": "has", "doesnt": "does"}
"""What is left of a negated word; of the others what stands before "n't"."""


class QuestionError(UserError, ValueError):
    """A question that is not known, or a file of questions that does not hold any; says what is expected."""


@dataclass(frozen=True)
class Question:
    """A yes/no question about a picture: its canonical text, and other ways to ask the same."""

    text: str
    wordings: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every wording, the canonical text first."""
        return (self.text, *self.wordings)


@dataclass(frozen=True)
class Match:
    """Which known question was meant: its number, whether the answer must be turned round, and the cosine."""

    index: int
    negated: bool
    cosine: float


def load_questions(path: str | Path) -> tuple[Question, ...]:
    """The questions of a YAML file: `questions: {question: [other wordings]}`.

    Raises:
        QuestionError: there is no such file, it is not of that form, or a wording stands twice.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuestionError(f"{path}: expected a YAML file of questions, found none ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise QuestionError(f"{path} is not valid YAML: {error}") from error
    entries = data.get("questions") if isinstance(data, dict) else None
    if not isinstance(entries, dict) or not entries:
        found = entries if isinstance(data, dict) and "questions" in data else data
        kind = "a list" if isinstance(found, list) else "a mapping" if isinstance(found, dict) else type(found).__name__
        raise QuestionError(
            f"{path}: expected 'questions:' with a mapping of each question to a list of its other wordings, found {kind}: "
            f"{_short(found)}. Write\nquestions:\n  is the lid open?:\n    - has the lid been opened?\n  is the lid closed?:"
        )
    for text, wordings in entries.items():
        if not isinstance(text, str) or not all(isinstance(w, str) for w in _list(wordings)):
            raise QuestionError(
                f"{path}: expected a question and a list of other wordings, found {text!r}: {wordings!r}"
            )
    questions = tuple(Question(text, tuple(_list(wordings))) for text, wordings in entries.items())
    check_distinct(questions, str(path))
    return questions


def check_distinct(questions: Sequence[Question], where: str) -> None:
    """Raises `QuestionError` when two questions share a wording, by which they could not be told apart."""
    seen: dict[str, str] = {}
    for question in questions:
        for wording in question.all:
            other = seen.setdefault(simplify(wording), question.text)
            if other != question.text:
                raise QuestionError(f"{where}: {wording!r} stands for {other!r} and for {question.text!r}; keep one")


def simplify(sentence: str) -> str:
    """Lower case, single spaces, no punctuation at the end, straight apostrophes, one form of each letter with an accent."""
    return " ".join(unicodedata.normalize("NFKC", sentence).lower().replace("\u2019", "'").split()).rstrip(" ?.!")


def without_negation(sentence: str) -> tuple[str, bool]:
    """A simplified sentence with "not" and its like taken out, and whether their number was odd."""
    sentence, falses = FALSE.subn(" ", TRUE.sub(" ", sentence))
    count = falses
    while found := NEGATION.search(sentence):
        word = found.group()
        rest = POSITIVE.get(word, word.removesuffix("n't") if word.endswith("n't") else "")
        sentence = f"{sentence[: found.start()]}{rest}{sentence[found.end() :]}"
        count += 1
    return " ".join(sentence.split()), count % 2 == 1


def words_of(sentence: str) -> list[str]:
    """The words of a sentence in lower case, without the s of a genitive."""
    return [word.removesuffix("'s") for word in re.findall(r"[a-z'-]+", sentence.lower())]


def key_words(question: Question) -> frozenset[str]:
    """The words that all wordings of a question share, fillers left out."""
    return frozenset.intersection(*(frozenset(words_of(wording)) for wording in question.all)) - FILLERS


def contrasts(sentence: str) -> list[frozenset[str]]:
    """What a sentence says in each group of `CONTRASTS`; empty where it says nothing."""
    sentence = NO_LONGER_IN.sub("out of", sentence.lower()).replace("in the air", "aloft")
    return [frozenset(group[w] for w in words_of(sentence) if group.get(w)) for group in CONTRASTS]


def agree(one: Sequence[frozenset[str]], other: Sequence[frozenset[str]]) -> bool:
    """Whether in each group that both speak of `one` says nothing that `other` does not; "open or closed?" asks for neither."""
    return all(not a or not b or a <= b for a, b in zip(one, other, strict=True))


class QuestionBook:
    """The known questions with the embeddings `(n, 384)` of all their wordings.

    Args:
        embed: sentences to unit vectors; called for wordings that are not known, and at the start unless `vectors` are given.
        vectors: embeddings of every wording, in order, as a checkpoint keeps them.
        min_cosine: what is further from every known wording is refused.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        embed: Embed,
        vectors: np.ndarray | None = None,
        min_cosine: float = MIN_COSINE,
    ) -> None:
        if not questions:
            raise QuestionError("expected at least one question, found none")
        check_distinct(questions, "questions")
        self.questions = tuple(questions)
        self.min_cosine = min_cosine
        self._embed = embed
        self.wordings = [wording for question in questions for wording in question.all]
        self.owner = np.array([index for index, question in enumerate(questions) for _ in question.all])
        self.vectors = embed(self.wordings) if vectors is None else vectors
        self._signs = [(key_words(question), contrasts(" ".join(question.all))) for question in questions]
        self._exact = {simplify(w): int(q) for w, q in zip(self.wordings, self.owner, strict=True)}

    @property
    def texts(self) -> tuple[str, ...]:
        """The canonical texts."""
        return tuple(question.text for question in self.questions)

    def exact(self, sentence: str) -> Match | None:
        """The known question of which `sentence` is a wording, as it stands or with its "not" taken out."""
        plain = simplify(sentence)
        if plain in self._exact:
            return Match(self._exact[plain], False, 1.0)
        positive, negated = without_negation(plain)
        return Match(self._exact[positive], negated, 1.0) if positive in self._exact else None

    def match(self, sentence: str) -> Match:
        """The known question that `sentence` asks.

        Raises:
            QuestionError: it is near to none, or says the opposite of what it is near to; lists the known ones.
        """
        exact = self.exact(sentence)
        if exact is not None:
            return exact
        positive, negated = without_negation(simplify(sentence))
        cosines = self.vectors @ self._embed([f"{positive}?"])[0]
        said, words = contrasts(positive), frozenset(words_of(NO_LONGER_IN.sub(" ", positive)))
        understood = not words & DENIALS
        possible = [understood and keys <= words and agree(said, known) for keys, known in self._signs]
        fits = np.array(possible)[self.owner]
        best = int(np.where(fits, cosines, -1.0).argmax())
        if not fits.any() or cosines[best] < self.min_cosine:
            raise QuestionError(self._refusal(sentence, cosines))
        return Match(int(self.owner[best]), negated, float(cosines[best]))

    def _refusal(self, sentence: str, cosines: np.ndarray) -> str:
        nearest = self.wordings[int(cosines.argmax())]
        known = "\n  ".join(self.texts)
        return (
            f"question: expected one of those below or another wording of it, found {sentence!r} "
            f"(nearest: {nearest!r}, cosine {cosines.max():.2f}; to turn one round, say it with 'not'). Ask one of\n  {known}\n"
            "or name the file of your own questions, for labels and for the reward model that learns them: --questions FILE "
            "(robot-learning reward label, robot-learning reward train)"
        )


def _list(wordings: object) -> list[Any]:
    return list(wordings) if isinstance(wordings, list) else [] if wordings is None else [wordings]


def _short(data: object) -> str:
    text = repr(data)
    return text if len(text) < 80 else f"{text[:77]}..."
