"""Videos of episodes, for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def side_by_side(views: Sequence[np.ndarray], height: int = 288) -> np.ndarray:
    """Cameras `(T, H, W, 3)` uint8 of equal H -> `(T, h, w, 3)`, one beside the other, enlarged to about `height`."""
    joined = np.concatenate(views, axis=2)
    times = max(1, round(height / joined.shape[1]))
    enlarged = joined.repeat(times, axis=1).repeat(times, axis=2)
    # H.264 with 4:2:0 colour asks for even sides
    return enlarged[:, : enlarged.shape[1] // 2 * 2, : enlarged.shape[2] // 2 * 2]


def write_video(path: str | Path, frames: np.ndarray, rate: float) -> Path:
    """Write `(T, H, W, 3)` uint8 as H.264 that browsers play; the file appears only once it is whole. Returns `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp")
    with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    os.replace(partial, path)
    return path
