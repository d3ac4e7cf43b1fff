"""Frames are kept in a thread of their own: what is let go meanwhile, and what goes wrong there."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_learning.nodes.judging.keeper import UncertainKeeper
from robot_learning.training.uncertain import ANSWERED, read_wanted

IMAGES = {"front": np.zeros((8, 8, 3), np.uint8)}


class Kept:
    """A keeper, and the errors it complained of."""

    def __init__(self, root: Path) -> None:
        self.root, self.errors = root, []  # type: ignore[var-annotated]
        self.keeper = UncertainKeeper(root, 10, 10, self.errors.append)

    def offer(self, at: float, probability: float = 0.6, disputed: bool = False) -> None:
        self.keeper.offer(at, IMAGES, "is it?", probability, 0.5, disputed)

    def done(self) -> list[float]:
        """P(yes) of what is kept when everything is written."""
        self.keeper.close()
        return [wanted.probability for wanted in read_wanted(self.root)]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "wanted")
    yield made
    made.keeper.close()


def test_what_a_person_contradicts_is_kept_though_another_frame_is_being_written(kept: Kept) -> None:
    go = threading.Event()
    kept.keeper._thread.submit(go.wait, 30)  # a slow disk
    for at, probability, disputed in ((0.0, 0.6, False), (2.0, 0.7, False), (4.0, 0.99, True)):
        kept.offer(at, probability, disputed)
    go.set()
    assert kept.done() == [0.6, 0.99]


def test_it_goes_on_after_what_could_not_be_kept(kept: Kept) -> None:
    answers = kept.root / ANSWERED
    answers.write_text("no columns")
    kept.offer(0.0)
    kept.keeper._thread.submit(answers.unlink).result(30)
    kept.offer(2.0)
    assert kept.done() == [0.6]
    assert len(kept.errors) == 1


def test_it_goes_on_when_the_answers_are_damaged_while_it_writes(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as while_written:
        while_written.setattr(type(kept.keeper._folder), "waiting", property(lambda folder: 1 / 0))
        kept.offer(0.0)
        kept.keeper._thread.submit(int).result(30)
    kept.offer(2.0)
    assert kept.done() == [0.6, 0.6]
