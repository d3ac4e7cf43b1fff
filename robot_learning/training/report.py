"""A report of a job as one HTML file that needs no other file, server or network."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from robot_learning.data.files import write_atomic
from robot_learning.training import figures
from robot_learning.training.evaluation import EvaluationResult
from robot_learning.training.practice_log import Entry
from robot_learning.training.practice_schedule import PERSON

TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class StageRow:
    """A stage of the job: what it did, how long it worked [s], the command that repeats it."""

    name: str
    what: str
    seconds: float
    command: str


@dataclass(frozen=True)
class Film:
    """A video file, the instruction it shows, how it ended, its seed, how much faster than real it runs, who acts."""

    path: Path
    instruction: str
    success: bool
    seed: int
    speed: int = 1
    who: str = ""


@dataclass(frozen=True)
class Report:
    """Everything the report shows.

    Attributes:
        title, subtitle: its heading. story: paragraphs that tell a stranger what was done.
        evaluations: the same episodes by what the policy had learned from, the last after practice. gains: of that over each of
            the others, over all tasks, with intervals.
        again: the last one once more, where the policy may try again.
        instructions: what a person would say for each of the tasks.
        practice: its episodes; judged: rows of a table about the reward model, the first is its head.
        demonstrations: by instruction, some episodes `(T, H, W, 3)`.
        setup: name and value of what identifies the run; config: all settings as text.
    """

    title: str
    subtitle: str
    story: Sequence[str]
    evaluations: Mapping[str, EvaluationResult]
    gains: Mapping[str, tuple[float, tuple[float, float]]]
    instructions: Mapping[str, str]
    stages: Sequence[StageRow]
    again: EvaluationResult | None = None
    films: Sequence[Film] = ()
    practice: Sequence[Entry] = ()
    judged: Sequence[Sequence[str]] = ()
    demonstrations: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    setup: Sequence[tuple[str, str]] = ()
    config: str = ""

    @property
    def before(self) -> EvaluationResult:
        """The first evaluation."""
        return next(iter(self.evaluations.values()))

    @property
    def result(self) -> EvaluationResult:
        """The last one."""
        return list(self.evaluations.values())[-1]


def write_report(path: Path, report: Report) -> None:
    """Write the report as HTML, whole or not at all."""
    text = render(report)
    write_atomic(path, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def render(report: Report) -> str:
    """The report as HTML."""
    result = report.result
    template = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(report.title),
        subtitle=escape(report.subtitle),
        before=f"{100 * report.before.rate:.0f}",
        rate=percent(result.rate),
        headline=escape(_headline(report)),
        tasks="".join(_task(report, name) for name in result.tasks),
        story="".join(f"<p>{escape(paragraph)}</p>" for paragraph in report.story),
        stages=_stages(report.stages),
        films=_films(report),
        practice=figures.practice(report.practice) if report.practice else "",
        practised=escape(_practised(report.practice)),
        judged=_table(report.judged),
        sheets="".join(_sheet(words, episodes) for words, episodes in report.demonstrations.items()),
        commands="".join(
            f'<p class="soft">{escape(row.name)}: {escape(row.what)}</p><pre>{escape(row.command)}</pre>'
            for row in report.stages
        ),
        setup="".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in report.setup),
        config=escape(report.config),
    )


def percent(rate: float) -> str:
    """A rate for people."""
    return f"{100 * rate:.0f} %"


def points(difference: float) -> str:
    """A difference of rates for people."""
    return f"{100 * difference:+.0f}"


def between(interval: tuple[float, float]) -> str:
    """An interval of rates for people."""
    return f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"


def _headline(report: Report) -> str:
    over = "; ".join(
        f"{points(gain)} points against “{since}” (95 % interval {points(low)} to {points(high)})"
        for since, (gain, (low, high)) in report.gains.items()
    )
    first = next(iter(report.evaluations))
    over += f". {percent(report.again.rate)} where it may try again" if report.again else ""
    return f"of {report.result.episodes} fresh episodes succeeded, with the {first} and after practice: {over}"


def _task(report: Report, name: str) -> str:
    words, bars = escape(report.instructions[name]), ""
    kinds = ["early", *["middle"] * (len(report.evaluations) - 2), "late", *["late"] * (report.again is not None)]
    shown = {**report.evaluations, **({"after practice, trying again": report.again} if report.again else {})}
    for (when, result), kind in zip(shown.items(), kinds, strict=True):
        task = result.tasks[name]
        counts = f"{escape(when)}: {task.successes} of {task.episodes} · 95 % interval {between(task.interval)}"
        bar = figures.interval_bar(task.rate, task.interval, f"{words}, {escape(when)}: {percent(task.rate)}")
        bars += f'<p><span class="soft">{counts}</span></p><div class="{kind}">{bar}</div>'
    return f'<div class="task"><p><strong>{words}</strong></p>{bars}</div>'


def _practised(entries: Sequence[Entry]) -> str:
    """A sentence about practice."""
    counted = [entry for entry in entries if not entry.cut]
    ticks, asked = sum(entry.ticks for entry in entries), sum(entry.before == PERSON for entry in entries)
    cut = f", {len(entries) - len(counted)} more were cut off" if len(counted) < len(entries) else ""
    return (
        f"{len(counted)} episodes in {ticks} control ticks, {sum(e.solved for e in counted)} of them successes by the reward "
        f"model{cut}. Help was asked for {asked} times: {1000 * asked / max(ticks, 1):.1f} interventions in 1000 steps."
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as HTML, the first as its head."""
    lines = []
    for number, row in enumerate(rows):
        kinds = ["th" if number == 0 or column == 0 else "td" for column in range(len(row))]
        lines.append("".join(f"<{kind}>{escape(cell)}</{kind}>" for kind, cell in zip(kinds, row, strict=True)))
    return "".join(f"<tr>{line}</tr>" for line in lines)


def _stages(stages: Sequence[StageRow]) -> str:
    longest = max((row.seconds for row in stages), default=0.0) or 1.0
    total = sum(row.seconds for row in stages)
    rows = [
        f"<tr><th>{escape(row.name)}</th><td>{escape(row.what)}</td>"
        f'<td style="width: 28%"><div class="share" style="width: {100 * row.seconds / longest:.1f}%"></div></td>'
        f'<td class="number">{row.seconds:.0f} s</td></tr>'
        for row in stages
    ]
    return "".join(rows) + f'<tr><th>all</th><td></td><td></td><td class="number"><b>{duration(total)}</b></td></tr>'


def duration(seconds: float) -> str:
    """A duration for people."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _films(report: Report) -> str:
    sections = []
    for name, words in report.instructions.items():
        films = [film for film in report.films if film.instruction == words]
        if films:
            figures_ = "".join(_film(film) for film in films)
            sections.append(f'<h3>{escape(words)}</h3><div class="films">{figures_}</div>')
        if films and not report.result.tasks[name].failed_seeds:
            sections.append('<p class="soft">No episode failed.</p>')
    return "".join(sections)


def _film(film: Film) -> str:
    source = figures.data_uri(film.path.read_bytes(), "video/mp4")
    kind, word = ("good", "success") if film.success else ("bad", "failure")
    speed = f" · {film.speed} times as fast" if film.speed != 1 else ""
    who = f"{escape(film.who)} · " if film.who else ""
    first = figures.jpeg(figures.poster(film.path))
    return (
        f'<figure><video controls loop muted playsinline preload="metadata" poster="{first}" src="{source}"></video>'
        f'<figcaption><span class="tag {kind}">{word}</span> · {who}seed {film.seed}{speed}</figcaption></figure>'
    )


def _sheet(words: str, episodes: Sequence[np.ndarray]) -> str:
    picture = figures.jpeg(figures.contact_sheet(episodes), quality=88)
    caption = f"“{escape(words)}”: {len(episodes)} of the demonstrations, one a row, from first to last picture"
    return (
        f'<figure class="sheet"><img alt="{escape(words)}" src="{picture}"><figcaption>{caption}</figcaption></figure>'
    )
