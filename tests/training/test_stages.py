import json
from pathlib import Path

import pytest

from robot_learning.training import stages as module
from robot_learning.training.stages import JobError, Stages


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_fresh_job_has_done_nothing(tmp_path: Path) -> None:
    stage = Stages(tmp_path / "job", {})["train"]
    assert (stage.seconds, stage.done, stage.sessions) == (0.0, False, 0)


def test_seconds_add_up_over_sessions(tmp_path: Path, clock: Clock) -> None:
    for seconds in (3.0, 4.0):
        with Stages(tmp_path, {}).work("train"):
            clock.now += seconds
    assert Stages(tmp_path, {})["train"].seconds == 7.0
    assert Stages(tmp_path, {})["train"].sessions == 2


def test_a_session_that_breaks_keeps_its_seconds_and_is_not_done(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(KeyboardInterrupt), Stages(tmp_path, {}).work("train"):
        clock.now += 5.0
        raise KeyboardInterrupt
    stage = Stages(tmp_path, {})["train"]
    assert (stage.seconds, stage.done) == (5.0, False)


def test_finished_stays_finished(tmp_path: Path) -> None:
    Stages(tmp_path, {}).finish("train")
    assert Stages(tmp_path, {})["train"].done


def test_equal_settings_go_on(tmp_path: Path) -> None:
    Stages(tmp_path, {"tasks": ("a", "b")})
    assert Stages(tmp_path, {"tasks": ["a", "b"]}).settings == {"tasks": ["a", "b"]}


def test_other_settings_are_refused_with_both_sides(tmp_path: Path) -> None:
    Stages(tmp_path, {"seed": 1, "steps": 5})
    with pytest.raises(JobError, match="seed: 1 there, 2 asked for") as caught:
        Stages(tmp_path, {"seed": 2, "steps": 5})
    assert "steps" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"settings": {}, "stages": []}', '{"settings": {}, "stages": {"train": {"minutes": 3}}}'],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / module.FILE).write_text(content)
    with pytest.raises(JobError, match=r"stages\.json is damaged"):
        Stages(tmp_path, {})


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    Stages(tmp_path, {"seed": 1}).finish("collect")
    data = json.loads((tmp_path / module.FILE).read_text())
    assert data["settings"] == {"seed": 1} and data["stages"]["collect"]["done"]
