"""Pictures of a dataset for a person's eye: contact sheets, a video grid, and a page that shows them all."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from robot_learning.data.dataset import Dataset
from robot_learning.data.episode import Segment
from robot_learning.data.files import DatasetError, write_atomic, writing
from robot_learning.data.video import VideoConfig, VideoEncoder

Track = Callable[[Iterable[Any]], Iterable[Any]]
INK, PAPER, GOOD, BAD = (30, 30, 30), (250, 250, 250), (20, 130, 60), (180, 40, 40)
LABEL, TITLE, GAP, ROW_GAP = 132, 34, 3, 9  # [pixels]
STUB = 2.0  # a failed stretch of play shorter than this was given up or cut before it shows anything [s]
VIDEO_GRID = (3, 4)  # rows, columns


def find_camera(dataset: Dataset, name: str | None) -> str:
    """The image feature called `name`, in full ("observation.images.front") or short ("front"); the first when None.

    Raises:
        DatasetError: there is no such camera; the message lists them.
    """
    for key in dataset.image_keys:
        if name is None or name in (key, key.rsplit(".", 1)[-1]):
            return key
    raise DatasetError(f"{dataset.root}: expected one of the cameras {dataset.image_keys}, found {name!r}")


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` of the numbers below `count`, evenly spaced."""
    numbers: list[int] = np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(int)).tolist()
    return numbers


def rows_of(dataset: Dataset, segments: Sequence[Segment], row_seconds: float) -> list[Segment]:
    """One row for each segment, several for one that is longer than `row_seconds`."""
    rows = []
    for segment in segments:
        count = max(1, int(np.ceil((segment.end - segment.start) / (row_seconds * dataset.fps))))
        bounds = np.linspace(segment.start, segment.end, count + 1).round().astype(int)
        rows += [replace(segment, start=int(a), end=int(b)) for a, b in pairwise(bounds)]
    return rows


def contact_sheet(
    dataset: Dataset, cameras: Sequence[str], rows: Sequence[Segment], title: str, columns: int, height: int
) -> Image.Image:
    """Rows of frames, `height` pixels each, with episode number, time and success; the cameras one under the other.

    The frames are evenly spaced, save that the moment of success, if there is one, takes the place of the frame nearest to
    it and is framed in green.
    """
    shapes = [dataset.features[camera].shape for camera in cameras]
    width = max(round(height * shape[1] / shape[0]) for shape in shapes)
    row_height = len(cameras) * (height + GAP) + (ROW_GAP if len(cameras) > 1 else 0)
    sheet = Image.new("RGB", (LABEL + columns * (width + GAP), TITLE + len(rows) * row_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 6), title, INK, ImageFont.load_default(18))
    for number, row in enumerate(rows):
        top = TITLE + number * row_height
        _label(draw, dataset, row, top)
        shown, moment = moments(dataset, row, columns)
        for line, camera in enumerate(cameras):
            for column, image in enumerate(dataset.images(camera, shown)):
                left, upper = LABEL + column * (width + GAP), top + line * (height + GAP)
                sheet.paste(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS), (left, upper))
                if column == moment:
                    draw.rectangle((left, upper, left + width - 1, upper + height - 1), outline=GOOD, width=4)
    return sheet


def moments(dataset: Dataset, row: Segment, columns: int) -> tuple[np.ndarray, int | None]:
    """The frames of a row to show `(columns,)`, and which of them is the moment of success, if one is."""
    shown = np.linspace(row.start, row.end - 1, columns).round().astype(int)
    if not row.success or "next.success" not in dataset.features:
        return shown, None
    solved = np.flatnonzero(dataset.column("next.success").reshape(-1)[row.start : row.end])
    if not len(solved):
        return shown, None
    # a frame holds what was seen before its action; the one after it shows what the action brought about
    moment = min(row.start + int(solved[0]) + 1, row.end - 1)
    nearest = int(np.abs(shown - moment).argmin())
    shown[nearest] = moment
    return shown, nearest


def _save_png(sheet: Image.Image, path: Path) -> None:
    sheet.save(path, "PNG")


def _label(draw: ImageDraw.ImageDraw, dataset: Dataset, row: Segment, top: int) -> None:
    first = dataset.episode_ranges[row.episode][0]
    draw.text((8, top + 4), f"episode {row.episode}", INK, ImageFont.load_default(16))
    begin, end = ((bound - first) / dataset.fps for bound in (row.start, row.end))
    draw.text((8, top + 26), f"{_clock(begin)} - {_clock(end)}", INK, ImageFont.load_default(14))
    text, colour = ("success", GOOD) if row.success else ("no success", BAD)
    draw.text((8, top + 46), text, colour, ImageFont.load_default(14))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{seconds % 60:04.1f}"


def video_grid(dataset: Dataset, camera: str, segments: Sequence[Segment], path: Path, height: int) -> None:
    """An mp4 of up to 12 segments side by side, each framed green or red once it has ended."""
    grid_rows = min(VIDEO_GRID[0], int(np.ceil(len(segments) / VIDEO_GRID[1])))
    grid_columns = min(VIDEO_GRID[1], len(segments))
    shape = dataset.features[camera].shape
    height, width = height // 2 * 2, round(height * shape[1] / shape[0]) // 2 * 2
    segments = list(segments)[: grid_rows * grid_columns]
    length = max(segment.end - segment.start for segment in segments)

    def encode(temporary: Path) -> None:
        encoder = VideoEncoder(
            temporary, (grid_rows * height, grid_columns * width, 3), dataset.fps, VideoConfig(gop=20, crf=23)
        )
        for t in range(length + dataset.fps):
            canvas = Image.new("RGB", (grid_columns * width, grid_rows * height), INK)
            for cell, segment in enumerate(segments):
                at = (cell % grid_columns * width, cell // grid_columns * height)
                image = dataset.images(camera, [min(segment.start + t, segment.end - 1)])[0]
                canvas.paste(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), at)
                draw = ImageDraw.Draw(canvas)
                draw.text(
                    (at[0] + 6, at[1] + 4),
                    str(segment.episode),
                    PAPER,
                    ImageFont.load_default(14),
                    stroke_width=2,
                    stroke_fill=INK,
                )
                if segment.start + t >= segment.end:
                    corner = (at[0] + width - 1, at[1] + height - 1)
                    draw.rectangle((*at, *corner), outline=GOOD if segment.success else BAD, width=5)
            encoder.write(np.asarray(canvas))
        encoder.close()

    write_atomic(path, encode)


def view(
    dataset: Dataset,
    output: Path,
    cameras: Sequence[str] = (),
    columns: int = 8,
    height: int = 144,
    episodes_per_task: int = 8,
    row_seconds: float = 20.0,
    video: bool = False,
    track: Track = lambda items: items,
) -> Path:
    """Write a contact sheet per task (and a video grid per camera) with an `index.html` to `output`; returns the page.

    Episodes of a task are taken evenly from first to last, at most `episodes_per_task` of them; an episode of play counts as
    one for each stretch of a task in it, failed ones under two seconds left out where there are others. `cameras`: all when
    empty.

    Raises:
        DatasetError: the dataset is empty or has no such camera. DatasetWriteError: `output` cannot be written to.
    """
    if not dataset.num_episodes:
        raise DatasetError(f"{dataset.root}: expected episodes to look at, found none")
    keys = [find_camera(dataset, name) for name in cameras] or dataset.image_keys or [find_camera(dataset, None)]
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    sections = []
    segments = dataset.segments
    tasks = [task for task in dataset.tasks if any(segment.task == task for segment in segments)]
    for number, task in enumerate(track(tasks)):
        members = [segment for segment in segments if segment.task == task]
        telling = [s for s in members if s.success or s.end - s.start >= STUB * dataset.fps] or members
        chosen = [telling[i] for i in spread(len(telling), episodes_per_task)]
        rate = f"{sum(segment.success for segment in members)} of {len(members)} times with success"
        files = [f"task_{number:02d}.png"]
        sheet = contact_sheet(
            dataset, keys, rows_of(dataset, chosen, row_seconds), f'"{task}"   {rate}', columns, height
        )
        write_atomic(output / files[0], partial(_save_png, sheet))
        if video:
            for key in keys:
                files.append(f"task_{number:02d}_{key.rsplit('.', 1)[-1]}.mp4")
                video_grid(dataset, key, chosen, output / files[-1], height)
        sections.append((task, rate, files))
    page = output / "index.html"
    write_atomic(page, lambda temporary: _write_page(temporary, dataset, sections))
    return page


def _write_page(path: Path, dataset: Dataset, sections: list[tuple[str, str, list[str]]]) -> None:
    parts = [
        "<!doctype html><meta charset='utf-8'>",
        f"<title>{html.escape(dataset.root.name)}</title>",
        "<style>body{font:16px sans-serif;margin:2em;background:#fafafa;color:#222}img,video{max-width:100%}</style>",
        f"<h1>{html.escape(dataset.root.name)}</h1>",
        f"<p>{dataset.num_episodes} episodes, {dataset.num_frames} frames at {dataset.fps} Hz, {len(sections)} tasks</p>",
    ]
    for task, rate, files in sections:
        parts.append(f"<h2>{html.escape(task)}</h2><p>{html.escape(rate)}</p>")
        for name in files:
            if name.endswith(".mp4"):
                parts.append(f"<video src='{name}' controls loop autoplay muted></video>")
            else:
                parts.append(f"<img src='{name}' alt='{html.escape(task)}'>")
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
