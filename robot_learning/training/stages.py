"""The stages of a long job and the seconds worked on each, kept in one file so that a killed job goes on where it stopped."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_learning.data.files import write_json
from robot_learning.errors import UserError

FILE = "stages.json"
HEARTBEAT = 2.0  # a kill -9 loses at most these seconds of the clock, and nothing else [s]


class JobError(UserError, ValueError):
    """A job's folder belongs to a job with other settings, or its file is not readable."""


@dataclass(frozen=True)
class Stage:
    """Time worked on a stage over all sessions [s], whether it is finished, and in how many sessions."""

    seconds: float = 0.0
    done: bool = False
    sessions: int = 0


class Stages:
    """The stages of the job in `folder`, which was begun with `settings` (plain JSON data).

    Raises:
        JobError: the job there was begun with other settings (both sides are named), or its file is damaged.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.path = folder / FILE
        self._lock = threading.Lock()
        self.settings = json.loads(json.dumps(settings))
        self.stages: dict[str, Stage] = {}
        if self.path.is_file():
            self._read()
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._write()

    def __getitem__(self, name: str) -> Stage:
        return self.stages.get(name, Stage())

    @contextmanager
    def work(self, name: str) -> Iterator[None]:
        """Count the time of the block as work on stage `name`; the block leaving without an exception does not finish it."""
        before = self[name]
        began = time.monotonic()
        over = threading.Event()

        def note() -> None:
            seconds = before.seconds + time.monotonic() - began
            self._set(name, dataclasses.replace(self[name], seconds=seconds, sessions=before.sessions + 1))

        def beat() -> None:
            while not over.wait(HEARTBEAT):
                note()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            note()

    def finish(self, name: str) -> None:
        """Mark a stage as done; later runs of the job skip it."""
        self._set(name, dataclasses.replace(self[name], done=True))

    def _set(self, name: str, stage: Stage) -> None:
        with self._lock:
            self.stages[name] = stage
            self._write()

    def _write(self) -> None:
        stages = {name: dataclasses.asdict(stage) for name, stage in self.stages.items()}
        write_json(self.path, {"settings": self.settings, "stages": stages})

    def _read(self) -> None:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            found = dict(data["settings"])
            self.stages = {name: Stage(**fields) for name, fields in data["stages"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise JobError(f"{self.path} is damaged ({error}); move {self.path.parent} away and begin again") from error
        keys = [key for key in {**found, **self.settings} if found.get(key) != self.settings.get(key)]
        if keys:
            lines = "\n  ".join(
                f"{key}: {found.get(key)!r} there, {self.settings.get(key)!r} asked for" for key in keys
            )
            raise JobError(
                f"{self.path.parent} holds a job begun with other settings:\n  {lines}\n"
                "Go on with the old settings, choose another --output, or move that folder away."
            )
