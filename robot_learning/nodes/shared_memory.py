"""Shared memory that killed processes left behind: Fast DDS removes its segments only when a process ends by itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path

FOLDER = Path("/dev/shm")
MIN_AGE = 10.0  # [s]
LOCK = re.compile(r"((?:fastdds|fastrtps)_[0-9a-f]{16})_el")  # `_el`: locked as long as the segment's owner lives


def remove_abandoned(folder: Path = FOLDER, min_age: float = MIN_AGE) -> int:
    """Remove the segments whose owner is dead; returns how many bytes that freed. Those of others are left alone.

    A process that starts at this moment may have made its lock file and not locked it yet, so only files older than
    `min_age` [s] are looked at.
    """
    freed, youngest = 0, time.time() - min_age
    for lock in folder.glob("*_el"):
        found = LOCK.fullmatch(lock.name)
        if found is None:
            continue
        segment = folder / found[1]
        with contextlib.suppress(OSError), lock.open("rb") as file:  # another user's, or gone meanwhile
            if os.fstat(file.fileno()).st_mtime > youngest:
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its owner lives
            if segment.exists():
                freed += segment.stat().st_blocks * 512
                segment.unlink()
            lock.unlink()
    return freed
