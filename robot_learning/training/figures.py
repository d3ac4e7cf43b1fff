"""Figures of a report as text that goes straight into HTML: SVG plots and pictures as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image

from robot_learning.training.practice_log import Entry
from robot_learning.training.practice_schedule import HOME, PERSON, STIR

COLOURS = ("#1f6feb", "#d1570c", "#1a7f37", "#8250df")
INK = "#57606a"
OUTCOMES = {"success": "#1a7f37", "failure": "#cf222e", "cut off": "#afb8c1"}
BEFORE = {STIR: "#8250df", PERSON: "#1f2328"}  # marks of what was done before an episode
WORDS = {STIR: "stirred the scene", PERSON: "asked for help"}


def data_uri(content: bytes, kind: str) -> str:
    """`content` of MIME type `kind` as a URI that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def jpeg(picture: np.ndarray, quality: int = 85) -> str:
    """A picture `(H, W, 3)` uint8 as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return data_uri(buffer.getvalue(), "image/jpeg")


def poster(video: Path) -> np.ndarray:
    """The picture `(H, W, 3)` two thirds into a video: the hand is at the object, the outcome shows."""
    with av.open(str(video)) as container:
        frames = [frame for frame in container.decode(video=0)]
    picture: np.ndarray = frames[len(frames) * 2 // 3].to_ndarray(format="rgb24")
    return picture


def contact_sheet(rows: Sequence[np.ndarray], columns: int = 8, side: int = 120, gap: int = 4) -> np.ndarray:
    """Episodes `(T, H, W, 3)` as rows of `columns` pictures evenly spread over time, first and last included."""
    sheet = np.full((len(rows) * (side + gap) - gap, columns * (side + gap) - gap, 3), 255, np.uint8)
    for row, pictures in enumerate(rows):
        for column, index in enumerate(np.linspace(0, len(pictures) - 1, columns).round().astype(int)):
            small = Image.fromarray(pictures[index]).resize((side, side), Image.Resampling.LANCZOS)
            y, x = row * (side + gap), column * (side + gap)
            sheet[y : y + side, x : x + side] = np.asarray(small)
    return sheet


def practice(entries: Sequence[Entry], recent: int = 10) -> str:
    """An SVG plot of practice over its control ticks: success of the last `recent` episodes, and below what the robot did when.

    Dashed lines are new policies from the learner.
    """
    figure, (above, below) = _figure(8.2, 4.4, 2, (3, 1.3))
    counted = [entry for entry in entries if not entry.cut]
    ends = np.cumsum([entry.ticks for entry in entries])
    at = [int(end) for end, entry in zip(ends, entries, strict=True) if not entry.cut]
    said = _recent([entry.solved for entry in counted], recent)
    above.plot(at, said, color=COLOURS[0], linewidth=1.8, label="said by the reward model")
    if counted and all(entry.true_success is not None for entry in counted):
        true = _recent([bool(entry.true_success) for entry in counted], recent)
        above.plot(at, true, color=COLOURS[2], linewidth=1.4, linestyle=":", label="known by the simulator")
    above.set_ylim(-3, 103)
    above.set_ylabel(f"success of the last {recent} [%]", color=INK)
    above.legend(frameon=False, loc="lower right")
    tasks = list(dict.fromkeys(entry.task for entry in entries))
    for end, entry, previous in zip(ends, entries, [None, *entries], strict=False):
        row = tasks.index(entry.task)
        solid = OUTCOMES["cut off" if entry.cut else "success" if entry.solved else "failure"]
        below.barh(row, entry.ticks, left=end - entry.ticks, height=0.7, color=solid, edgecolor="white", linewidth=0.4)
        if entry.before != HOME:
            below.plot(end - entry.ticks, row - 0.55, "v", color=BEFORE[entry.before], markersize=6)
        if previous is not None and previous.round != entry.round:
            for axes in (above, below):
                axes.axvline(end - entry.ticks, color=INK, linewidth=0.7, linestyle="--", alpha=0.5)
    below.set_yticks(range(len(tasks)), tasks)
    below.set_ylim(len(tasks) - 0.4, -0.8)
    below.set_xlabel("control ticks of practice", color=INK)
    marks: list[Patch | Line2D] = [Patch(color=colour, label=name) for name, colour in OUTCOMES.items()]
    marks += [Line2D([], [], color=c, marker="v", linestyle="", label=WORDS[name]) for name, c in BEFORE.items()]
    below.legend(handles=marks, frameon=False, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.45), fontsize=8)
    return _svg(figure)


def _recent(values: Sequence[bool], count: int) -> list[float]:
    """Percent of the last `count` up to each."""
    return [100 * float(np.mean(values[max(0, end - count) : end])) for end in range(1, len(values) + 1)]


def _figure(width: float, height: float, rows: int = 1, heights: Sequence[float] = (1,)) -> tuple[Figure, list[Any]]:
    """An empty figure [inch] and its axes, one below the other."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    every = list(np.atleast_1d(figure.subplots(rows, 1, sharex=True, height_ratios=heights)))
    for axes in every:
        axes.tick_params(colors=INK)
        axes.grid(color="#d8dee4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#d0d7de")
    return figure, every


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]  # without the XML prolog, which HTML does not know


def interval_bar(rate: float, interval: tuple[float, float], label: str) -> str:
    """A success rate from 0 to 1 as an SVG bar, its interval as a whisker; `label` is read out to the blind."""
    x, low, high = (1000 * value for value in (rate, *interval))
    return (
        f'<svg class="bar" viewBox="0 0 1000 44" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<rect class="track" width="1000" height="44" rx="6"/><rect class="fill" width="{x:.1f}" height="44" rx="6"/>'
        f'<rect class="whisker" x="{low:.1f}" y="20" width="{high - low:.1f}" height="4"/>'
        f'<rect class="whisker" x="{low - 1.5:.1f}" y="10" width="3" height="24"/>'
        f'<rect class="whisker" x="{high - 1.5:.1f}" y="10" width="3" height="24"/></svg>'
    )
