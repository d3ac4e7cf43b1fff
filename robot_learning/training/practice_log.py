"""The diary of practice on a robot: a line of JSON for each episode, which outlives a kill at any moment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from robot_learning.data.files import WriterLock, fsync_directory, writing
from robot_learning.training.practice_schedule import HOME, PERSON, STIR, Attempt
from robot_learning.training.run_state import RunError

FILE = "practice.jsonl"


@dataclass(frozen=True)
class Entry:
    """An episode.

    Attributes:
        task: its instruction. solved: by whoever judges. ticks: control ticks that it took.
        before: what was done before it ("home", "stir", "person").
        saved: whether the recorder kept it. cut: why it ended early ("holding: ...", a lost verdict), else empty.
        true_success: what the simulator knows about it; None on a robot.
        round: version of the policy that acted, empty if unknown. at: when it ended, in the robot's time [s].
    """

    task: str
    solved: bool
    ticks: int
    before: str = HOME
    saved: bool = True
    cut: str = ""
    true_success: bool | None = None
    round: str = ""
    at: float = 0.0


def read_entries(run: Path) -> list[Entry]:
    """The episodes in the diary of the folder `run`, which somebody may be writing; none where there is no diary.

    Raises:
        RunError: a line is none of this; names it.
    """
    path = run / FILE
    content = path.read_bytes() if path.exists() else b""
    entries = []
    # Not splitlines: a text may hold U+2028 and others that it takes for the end of a line.
    lines = _whole(content).decode("utf-8", "replace").split("\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            entries.append(_entry(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise RunError(
                f"{path}, line {number}: expected an episode of practice, found {line[:60]!r} ({error}); "
                "mend or delete the line"
            ) from error
    return entries


_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("task", "before", "cut", "round"), (str,)),
    **dict.fromkeys(("solved", "saved"), (bool,)),
    "ticks": (int,),
    "true_success": (bool, type(None)),
    "at": (int, float),
}


def _entry(data: dict[str, object]) -> Entry:
    """The episode of a line, which a person may have mended by hand. Raises `TypeError`, `ValueError`."""
    entry = Entry(**data)  # type: ignore[arg-type]
    for name, kinds in _KINDS.items():
        if type(getattr(entry, name)) not in kinds:  # exactly: True is an int, too
            raise TypeError(f"{name}: expected {kinds[0].__name__}, found {getattr(entry, name)!r}")
    if entry.before not in (HOME, STIR, PERSON):
        raise ValueError(f"before: expected one of {[HOME, STIR, PERSON]}, found {entry.before!r}")
    return entry


def _whole(content: bytes) -> bytes:
    """The lines that are complete."""
    return content[: content.rfind(b"\n") + 1]


class PracticeLog:
    """Reads and goes on with the diary in the folder `run`, which is made; nobody else writes it until `close`.

    A last line that a kill left incomplete is taken out.

    Raises:
        RunError: another line is none of this; names it. DatasetLockedError: another process writes it, so two would conduct one
            run. DatasetWriteError: the folder cannot be written to.
    """

    def __init__(self, run: Path) -> None:
        with writing(run):
            run.mkdir(parents=True, exist_ok=True)
        self.path = run / FILE
        self.entries: list[Entry] = []
        self._lock = WriterLock(run)
        self._lock.acquire()
        try:
            with writing(run):
                self._read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another write it."""
        self._lock.release()

    def add(self, entry: Entry) -> None:
        """Keep an episode; on the disk when this returns.

        Raises:
            RunError: the disk refused; what it took of the line is taken out when the diary is read again.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            if not self.entries:
                fsync_directory(self.path.parent)  # which names the file
        except OSError as error:
            raise RunError(
                f"{self.path}: an episode could not be written ({error}); mend the disk and start again"
            ) from error
        self.entries.append(entry)

    @property
    def past(self) -> list[Attempt]:
        """The episodes as the schedule knows them."""
        return [Attempt(e.task, e.solved, e.before, bool(e.cut)) for e in self.entries]

    @property
    def ticks(self) -> int:
        """Control ticks practised so far."""
        return sum(entry.ticks for entry in self.entries)

    @property
    def interventions(self) -> int:
        """How often a person was asked."""
        return sum(entry.before == PERSON for entry in self.entries)

    def success(self, last: int = 20) -> tuple[int, int]:
        """Of the last episodes that were not cut off: how many succeeded, and how many they are."""
        recent = [entry.solved for entry in self.entries if not entry.cut][-last:]
        return sum(recent), len(recent)

    def _read(self) -> None:
        if not self.path.exists():
            return
        self.entries = read_entries(self.path.parent)
        content = self.path.read_bytes()
        if _whole(content) != content:
            with self.path.open("r+b") as file:
                file.truncate(len(_whole(content)))
