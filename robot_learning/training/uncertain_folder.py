"""The folder of uncertain pictures as the reward node writes it: the frames nearest to the threshold, spread in time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from robot_learning.data.files import WriterLock, write_atomic, writing
from robot_learning.errors import UserError
from robot_learning.rewards import LabelError
from robot_learning.rewards.model import short_name
from robot_learning.training.uncertain import (
    ANSWERED,
    COLUMNS,
    PICTURES,
    WANTED,
    Wanted,
    margin,
    picture_file,
    read_picture_answers,
    read_wanted,
    write_rows,
)

SURE = 3.0  # log-odds from the threshold: what is further from it is not asked about (at 0.5: below 0.05, above 0.95)
OURS = re.compile(r"\.?\d{8}-\d{6}-\d{3}(-\d+)?\.[^.]+\.png(\.tmp)?")  # what a picture is called here, finished or not
SPACING = 1.0  # of two frames of an episode nearer in time than this [s], only the less sure one is kept


class UncertainFolder:
    """Keeps the frames nearest to the threshold. Not thread-safe; one writer for a folder.

    Args:
        limit: pictures that wait for an answer, at most. per_episode: of those, from one episode.

    Raises:
        DatasetLockedError: another process writes to it. LabelError: what is there is damaged.
        DatasetWriteError: the disk refuses to write there.
    """

    def __init__(self, root: Path, limit: int, per_episode: int) -> None:
        self.root, self.limit, self.per_episode = root, limit, per_episode
        with writing(root):
            (root / PICTURES).mkdir(parents=True, exist_ok=True)
        self._lock = WriterLock(root)
        self._lock.acquire()
        self._episode: dict[str, tuple[float, float]] = {}  # of this episode, by picture: time [s] and margin
        try:
            self._wanted = read_wanted(root) if (root / WANTED).exists() else []
            self._answered()
            with writing(root):
                self._write()
                self._remove_unwanted()
        except UserError:
            self._lock.release()
            raise

    @property
    def waiting(self) -> list[Wanted]:
        """Those without an answer."""
        answered = self._answered()
        return [w for w in self._wanted if w.picture not in answered]

    def new_episode(self) -> None:
        """What comes next is of another episode."""
        self._episode.clear()

    def offer(
        self, at: float, images: Mapping[str, np.ndarray], question: str, probability: float, threshold: float,
        disputed: bool = False,
    ) -> bool:  # fmt: skip
        """Keep a frame if the model was less sure of it than of others; whether it did.

        Args:
            at: its time [s]. images: RGB `(H, W, 3)` uint8 by camera. disputed: a person said otherwise, so it is wanted most.
        """
        unsure = 0.0 if disputed else margin(probability, threshold)
        answered = self._answered()
        loser = self._loser_to(at, unsure, answered) if unsure <= SURE else None
        if loser is None:
            return False
        cameras = {short_name(key): image for key, image in images.items()}
        wanted = Wanted(self._new_name(), question, probability, threshold, tuple(cameras), _utc())
        for camera, image in cameras.items():
            _write_png(picture_file(self.root, wanted.picture, camera), image)
        self._wanted = [*(w for w in self._wanted if w.picture not in loser), wanted]
        self._write()
        for picture in loser:
            self._episode.pop(picture, None)
            self._unlink(picture)
        self._episode[wanted.picture] = (at, unsure)
        return True

    def _loser_to(self, at: float, unsure: float, answered: set[str]) -> list[str] | None:
        """The pictures that give way to a frame, by name; None when it is the frame that is not kept."""
        mine = {picture: (time, m) for picture, (time, m) in self._episode.items() if picture not in answered}
        near = {picture: m for picture, (time, m) in mine.items() if abs(time - at) < SPACING}
        if near:
            return list(near) if unsure < min(near.values()) else None
        if len(self._episode) >= self.per_episode:
            return _surest({picture: m for picture, (_, m) in mine.items()}, unsure)
        waiting = {
            w.picture: mine.get(w.picture, (0.0, w.margin))[1] for w in self._wanted if w.picture not in answered
        }
        return _surest(waiting, unsure) if len(waiting) >= self.limit else []

    def _answered(self) -> set[str]:
        return {a.picture for a in read_picture_answers(self.root / ANSWERED)}

    def _new_name(self) -> str:
        names = {w.picture for w in self._wanted}
        start = _utc().replace("-", "").replace(":", "").replace("T", "-").replace(".", "-")
        return next(n for n in (start, *(f"{start}-{k}" for k in range(1, len(names) + 2))) if n not in names)

    def _write(self) -> None:
        rows = [
            [w.picture, w.question, f"{w.probability:.4f}", f"{w.threshold:.4f}", " ".join(w.cameras), w.time]
            for w in self._wanted
        ]
        write_rows(self.root / WANTED, COLUMNS, rows)

    def _remove_unwanted(self) -> None:
        """Pictures whose line a kill kept from being written, or that were to go; nothing else that is in the folder."""
        wanted = {f"{w.picture}.{camera}.png" for w in self._wanted for camera in w.cameras}
        for file in (self.root / PICTURES).iterdir():
            if file.name not in wanted and OURS.fullmatch(file.name):
                file.unlink()

    def _unlink(self, picture: str) -> None:
        for file in (self.root / PICTURES).glob(f"{picture}.*.png"):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others write."""
        self._lock.release()


def _surest(margins: Mapping[str, float], unsure: float) -> list[str] | None:
    """The picture that the model was surest of, if surer than `unsure`."""
    surest = max(margins, key=lambda picture: margins[picture], default=None)
    return [surest] if surest is not None and margins[surest] > unsure else None


def _utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").removesuffix("+00:00")


def _write_png(path: Path, image: np.ndarray) -> None:
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise LabelError(f"{path}: the picture {image.shape} {image.dtype} cannot be written as PNG")

    def write(partial: Path) -> None:
        partial.write_bytes(data.tobytes())

    write_atomic(path, write)
