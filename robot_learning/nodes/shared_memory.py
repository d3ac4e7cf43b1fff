"""Shared memory that killed processes left behind: Fast DDS removes its own only when a process ends by itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path("/dev/shm")
MIN_AGE = 10.0  # [s]
LOCK = re.compile(r"((?:fastdds|fastrtps)_[0-9a-f]{16})_el")  # `_el`: locked as long as the segment's owner lives

PORT = re.compile(r"((?:fastdds|fastrtps)_port\d+)_el")  # locked as long as somebody listens there
PASSED_OVER = re.compile(
    rb"Failed init_port ((?:fastdds|fastrtps)_port\d+)"
)  # what Fast DDS says of a port that is locked
LOG_DELAY = 0.1  # Fast DDS writes its log in a thread of its own, so long after [s]


@contextlib.contextmanager
def sparing_dead_ports(folder: Path = FOLDER) -> Iterator[set[str]]:
    """While it lasts, no process gets the port of a dead one, if any that may write to it lives; yields such ports' names.

    Who was killed in the instant in which its receiving thread neither waited nor worked leaves a port that all who wrote to
    it take for a living one for ever, and one to whom it occurs to open it only now makes one without a reader, which passes
    for a sound one, too. Who takes its number then makes it anew, under the same name, and never hears them: they write to the
    old one (Fast DDS 3.2, `SharedMemGlobal.hpp`, `update_status_all_listeners`). Where a port is locked, Fast DDS takes the
    next one, and says so in red, which nobody needs to read.
    """
    with contextlib.ExitStack() as locks:
        dead, anybody = set[str](), False
        for path in folder.glob("*_el"):
            if not (found := PORT.fullmatch(path.name)):
                continue
            try:
                file = locks.enter_context(path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                dead.add(found[1])
            except BlockingIOError:
                anybody = True
            except OSError:  # another user's, or gone meanwhile
                continue
        if not anybody:
            locks.close()
            dead.clear()
        with _silence_on(dead):
            yield dead


@contextlib.contextmanager
def _silence_on(ports: set[str]) -> Iterator[None]:
    """While it lasts, what is written on stderr waits; of these ports having been passed over nothing is said."""
    if not ports:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "w+b") as waiting:  # no file: the disk may be full
        os.dup2(waiting.fileno(), 2)
        try:
            yield
            time.sleep(LOG_DELAY)
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            waiting.seek(0)
            for line in waiting:
                told = PASSED_OVER.search(line)
                if told is None or told[1].decode() not in ports:
                    os.write(2, line)


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
