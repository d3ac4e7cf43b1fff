"""Figures of a report as text that goes straight into HTML: SVG plots and pictures as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

COLOURS = ("#1f6feb", "#d1570c", "#1a7f37", "#8250df")
INK = "#57606a"


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


def curves(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], x: str, xlabel: str, ylabel: str) -> str:
    """An SVG plot of the metrics `names` (metric -> label) over the metric `x`; metrics that no row has are left out."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 3.0), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for colour, (name, label) in zip(COLOURS, names.items(), strict=False):
        points = [(row[x], row[name]) for row in rows if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, label=label, linewidth=1.8)
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)
    axes.set_ylim(bottom=0)
    axes.tick_params(colors=INK)
    axes.grid(color="#d8dee4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#d0d7de")
    if axes.lines:
        axes.legend(frameon=False)
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
