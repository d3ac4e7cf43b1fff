import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from robot_learning.training.evaluation import EvaluationResult, TaskResult
from robot_learning.training.intervals import wilson
from robot_learning.training.practice_log import Entry
from robot_learning.training.practice_schedule import PERSON, STIR
from robot_learning.training.report import Film, Report, StageRow, duration, render, write_report
from robot_learning.training.videos import write_video


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed."""

    VOID = frozenset(("meta", "img", "br", "rect", "use", "path", "stop"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def task(successes: int, episodes: int) -> TaskResult:
    failed = tuple(range(100, 100 + episodes - successes))
    return TaskResult(successes, episodes, successes / episodes, wilson(successes, episodes), 40.0, failed)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    rng = np.random.default_rng(0)
    video = write_video(tmp_path / "a.mp4", rng.integers(0, 255, (6, 48, 64, 3), np.uint8), 10.0)
    return Report(
        title="Open <the> drawer",
        subtitle="sub",
        story=["It was shown & learned."],
        evaluations={
            "demonstrations alone": EvaluationResult({"open": task(20, 50), "close": task(40, 50)}, 100),
            "after practice": EvaluationResult({"open": task(45, 50), "close": task(50, 50)}, 100),
        },
        gains={"demonstrations alone": (0.35, (0.2, 0.5))},
        again=EvaluationResult({"open": task(49, 50), "close": task(50, 50)}, 100),
        instructions={"open": "open the drawer", "close": "close the drawer"},
        stages=[StageRow("collect", "words", 20.0, "robot-learning collect"), StageRow("train", "w", 100.0, "cmd")],
        films=[Film(video, "open the drawer", True, 107), Film(video, "open the drawer", False, 100, speed=3)],
        practice=[
            Entry("open the drawer", True, 40, true_success=True, round="0"),
            Entry("close the drawer", False, 100, before=STIR, true_success=False, round="1"),
            Entry("close the drawer", False, 9, cut="holding: e-stop", true_success=False, round="1"),
            Entry("close the drawer", True, 60, before=PERSON, true_success=True, round="1"),
        ],
        judged=[["question", "wrong"], ["is it <open>?", "1 of 9"]],
        demonstrations={"open the drawer": [rng.integers(0, 255, (9, 32, 32, 3), np.uint8)]},
        setup=[("contract", "arm (0123)")],
        config="seed: 7",
    )


@pytest.fixture
def page(report: Report) -> Page:
    return Page(render(report))


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_the_headline_has_both_rates_and_the_interval_of_the_gain(page: Page) -> None:
    assert "60 → 95 %" in " ".join(page.text.split())
    assert (
        "of 100 fresh episodes succeeded, with the demonstrations alone and after practice: "
        "+35 points against “demonstrations alone” (95 % interval +20 to +50)" in page.text
    )


def test_each_task_has_its_interval(page: Page) -> None:
    assert "demonstrations alone: 20 of 50 · 95 % interval 28 to 54 %" in page.text
    assert "after practice: 50 of 50 · 95 % interval 93 to 100 %" in page.text
    assert "after practice, trying again: 49 of 50" in page.text


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    sources = [a[key] for _, a in page.tags for key in ("src", "href", "poster", "data") if a.get(key)]
    assert sources and all(str(s).startswith(("data:", "#")) for s in sources)


def test_there_are_no_scripts(page: Page) -> None:
    assert page.all("script") == []


def test_films_have_posters_and_outcomes(page: Page) -> None:
    videos = page.all("video")
    assert len(videos) == 2 and all(str(v["poster"]).startswith("data:image/jpeg") for v in videos)
    assert "success · seed 107" in page.text and "failure · seed 100 · 3 times as fast" in page.text


def test_every_picture_has_words(page: Page) -> None:
    assert all(image.get("alt") for image in page.all("img"))


def test_text_is_escaped(report: Report) -> None:
    text = render(report)
    assert "Open &lt;the&gt; drawer" in text and "shown &amp; learned" in text


def test_the_commands_are_there(page: Page) -> None:
    assert "robot-learning collect" in page.text


def test_practice_is_told_in_a_sentence(page: Page) -> None:
    assert "3 episodes in 209 control ticks, 2 of them successes by the reward model, 1 more were cut off" in page.text
    assert "Help was asked for 1 times: 4.8 interventions in 1000 steps" in page.text


def test_practice_is_a_plot_above_a_time_line(page: Page) -> None:
    assert {"axes_1", "axes_2"} <= {str(a.get("id")) for a in page.all("g")}


def test_the_reward_model_has_its_table(report: Report) -> None:
    assert "<tr><th>is it &lt;open&gt;?</th><td>1 of 9</td></tr>" in render(report)


def test_a_report_without_films_practice_or_demonstrations(report: Report) -> None:
    bare = Page(render(replace(report, films=(), practice=(), demonstrations={})))
    assert bare.open == [] and bare.all("video") == []


def test_nothing_evaluated_yet(report: Report) -> None:
    nothing = dict.fromkeys(report.evaluations, EvaluationResult({}, 0))
    empty = replace(report, evaluations=nothing, again=None, instructions={}, films=())
    assert "of 0 fresh episodes" in Page(render(empty)).text


def test_write_leaves_only_the_report(report: Report, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_report(folder / "report.html", report)
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    assert re.match("<!doctype html>", (folder / "report.html").read_text())


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (254, "4 min 14 s")])
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words
