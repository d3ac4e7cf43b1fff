import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from robot_learning.training.evaluation import EvaluationResult, TaskResult
from robot_learning.training.intervals import wilson
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
        result=EvaluationResult({"open": task(45, 50), "close": task(50, 50)}, 100),
        instructions={"open": "open the drawer", "close": "close the drawer"},
        stages=[StageRow("collect", "words", 20.0, "robot-learning collect"), StageRow("train", "w", 100.0, "cmd")],
        films=[Film(video, "open the drawer", True, 107), Film(video, "open the drawer", False, 100, speed=3)],
        curve=[{"step": s, "train/loss": 1 / s, "validation/loss": 2 / s} for s in (1, 2, 3)],
        demonstrations={"open the drawer": [rng.integers(0, 255, (9, 32, 32, 3), np.uint8)]},
        setup=[("contract", "arm (0123)")],
        config="seed: 7",
    )


@pytest.fixture
def page(report: Report) -> Page:
    return Page(render(report))


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_the_headline_has_rate_counts_and_interval(page: Page) -> None:
    low, high = wilson(95, 100)
    assert "95 %" in page.text
    assert f"95 of 100 fresh episodes succeeded; 95 % interval {100 * low:.0f} to {100 * high:.0f} %" in page.text


def test_each_task_has_its_interval(page: Page) -> None:
    assert "45 of 50 · 95 % interval 79 to 96 %" in page.text and "50 of 50 · 95 % interval 93 to 100 %" in page.text


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


def test_the_curve_is_a_plot_with_both_lines(page: Page) -> None:
    assert [a for a in page.all("g") if a.get("id") == "axes_1"]
    assert {f"line2d_{i}" for i in range(1, 3)} <= {str(a.get("id")) for a in page.all("g")}


def test_a_report_without_films_curve_or_demonstrations(report: Report) -> None:
    bare = Page(render(replace(report, films=(), curve=(), demonstrations={})))
    assert bare.open == [] and bare.all("video") == []


def test_nothing_evaluated_yet(report: Report) -> None:
    empty = replace(report, result=EvaluationResult({}, 0), instructions={}, films=())
    assert "0 of 0 fresh episodes" in Page(render(empty)).text


def test_write_leaves_only_the_report(report: Report, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_report(folder / "report.html", report)
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    assert re.match("<!doctype html>", (folder / "report.html").read_text())


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (254, "4 min 14 s")])
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words
