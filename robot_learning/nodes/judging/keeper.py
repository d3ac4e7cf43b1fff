"""UncertainKeeper: keeps the frames a reward model was least sure of, without anybody waiting for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from robot_learning.training.uncertain_folder import SURE, UncertainFolder, margin


class UncertainKeeper:
    """A thread that writes to an `UncertainFolder`.

    A frame that comes while the last one is being written is not kept, but for one that a person contradicts.

    Args:
        complain: called, in that thread, with the error of a write that failed; what was kept stays.

    Raises:
        DatasetLockedError, DatasetWriteError, LabelError: as `UncertainFolder`.
    """

    def __init__(self, root: Path, limit: int, per_episode: int, complain: Callable[[Exception], None]) -> None:
        self._folder, self._complain = UncertainFolder(root, limit, per_episode), complain
        self._thread = ThreadPoolExecutor(1, "uncertain")
        self._busy = threading.Event()
        self.waiting = len(self._folder.waiting)

    def new_episode(self) -> None:
        """What comes next is of another episode."""
        self._thread.submit(self._folder.new_episode)

    def offer(
        self, at: float, images: dict[str, np.ndarray], question: str, probability: float, threshold: float,
        disputed: bool = False,
    ) -> None:  # fmt: skip
        """As `UncertainFolder.offer`, later."""
        if not disputed and (self._busy.is_set() or margin(probability, threshold) > SURE):
            return
        self._busy.set()
        self._thread.submit(
            self._folder.offer, at, images, question, probability, threshold, disputed
        ).add_done_callback(self._written)

    def _written(self, written: Future[bool]) -> None:
        try:
            if written.result():
                self.waiting = len(self._folder.waiting)
        except Exception as error:
            self._complain(error)
        finally:
            self._busy.clear()

    def close(self) -> None:
        """Finish what is being written."""
        self._thread.shutdown()
        self._folder.close()
