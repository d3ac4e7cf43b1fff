"""Files that are whole or absent, and the lock that keeps a second writer out of a dataset."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robot_learning.errors import UserError

QUARANTINE = "quarantine"


class DatasetError(UserError, ValueError):
    """A dataset cannot be used as asked; the message names the file or key, what was expected and what was found."""


class FrameError(DatasetError):
    """A frame does not fit the dataset's features. The frame is not added; the episode in progress goes on."""


class DamagedDatasetError(DatasetError):
    """A file of a dataset is missing, truncated or contradicts the others; `robot-learning dataset repair` mends it."""

    def __init__(self, path: Path, expected: str, found: str, root: Path | None = None) -> None:
        where = root if root is not None else path.parent
        super().__init__(
            f"{path}: expected {expected}, found {found}\n"
            f"Mend it with: robot-learning dataset repair {where} (damaged episodes are moved to quarantine/, not deleted)"
        )


class DatasetLockedError(DatasetError):
    """Another living process is writing to the dataset."""


class DatasetWriteError(UserError, OSError):
    """The disk refused a write (full, quota, permission). The episode in progress is discarded, committed ones are safe."""


def not_writable(folder: Path, error: OSError) -> DatasetWriteError:
    """What to tell when the disk refuses a write to `folder` outside of a recording."""
    return DatasetWriteError(
        f"{folder}: expected a folder that can be written to, found that the disk refuses it ({error}). Check its owner and "
        f"permissions, whether the disk is mounted read-only, and the free space, or work on a copy elsewhere."
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses inside into a `DatasetWriteError` that names `folder`."""
    try:
        yield
    except DatasetWriteError:
        raise
    except OSError as error:
        raise not_writable(folder, error) from error


def fsync_directory(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the content of `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary neighbour of `path`, then put it in place in one step.

    A reader, or a crash at any moment, sees the old file or the new one, never a part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        fsync_file(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def write_json(path: Path, data: Any) -> None:
    """Write `data` as JSON, whole or not at all."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def read_json(path: Path, root: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DamagedDatasetError: the file is missing, not JSON or not an object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedDatasetError(path, "a JSON file", "no such file", root) from None
    except ValueError as error:
        raise DamagedDatasetError(path, "a JSON file", f"text that does not parse ({error})", root) from error
    if not isinstance(data, dict):
        raise DamagedDatasetError(path, "a JSON object", type(data).__name__, root)
    return data


def move(source: Path, target: Path) -> None:
    """Rename a file or folder to `target`, which must not exist, so that a power cut does not undo it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    fsync_directory(target.parent)
    fsync_directory(source.parent)


def set_aside(root: Path, path: Path) -> str:
    """Move a file or folder to the same place under `quarantine/`, beside an earlier one of that name; returns where it is."""
    target = root / QUARANTINE / path.relative_to(root)
    stem, count = target.stem, 1
    while target.exists():
        target, count = target.with_name(f"{stem}-{count}{target.suffix}"), count + 1
    move(path, target)
    return str(target.relative_to(root))


@contextmanager
def remove_on_error(folder: Path) -> Iterator[None]:
    """Remove `folder`, which was made just before, when the work inside fails: half a copy helps nobody."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class WriterLock:
    """One writer per dataset: an advisory lock on `<root>/.writer.lock`, or on another file where several write other things.

    The kernel drops it when the process dies, however it dies, so a stale lock file never has to be removed by hand.
    """

    def __init__(self, root: Path, name: str = ".writer.lock") -> None:
        self.path = root / name
        self._descriptor: int | None = None
        self._owner = 0

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            DatasetLockedError: another living process holds it; the message names its process id.
            DatasetWriteError: the folder cannot be written to, or its file system has no locks.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise not_writable(self.path.parent, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.read(descriptor, 64).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DatasetLockedError(
                f"{self.path.parent} is being written by process {holder}; expected no other writer.\n"
                f"Wait for it to end, stop it, or write to another folder."
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise DatasetWriteError(
                f"{self.path}: expected a lock, found that the file system gives none ({error}). Free some space if it is "
                f"full; if it has no locks, as some network drives, use a local folder."
            ) from error
        self._descriptor, self._owner = descriptor, os.getpid()

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held."""
        if self._descriptor is not None:
            # a forked child has the descriptor, too: closing this one alone would leave the lock to it, and it may not end it
            if self._owner == os.getpid():
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None
