"""Disks of a few megabytes for tests that fill them: a real file system, where the machine lets the test mount one."""

from __future__ import annotations

import errno
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEGABYTE = 1_000_000


@contextmanager
def small_disk(kind: str, folder: Path, size: int) -> Iterator[Path]:
    """A `tmpfs` or `ext4` of `size` bytes mounted below `folder`; skips the test where that cannot be."""
    disk, image = folder / "disk", folder / "disk.img"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if kind == "ext4":
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("a small ext4 needs mkfs.ext4 (package e2fsprogs)")
        with image.open("wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        mount = ["mount", "-o", "loop", str(image), str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"to fill a real disk this test must mount a small {kind}, which needs root: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


class Ballast:
    """A file that takes the space of a disk."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def fill(self) -> int:
        """Leave no byte free; returns when the disk was full [ns, system time]."""
        size = MEGABYTE
        with self._path.open("ab", buffering=0) as file:
            while size:
                try:
                    file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2
        return time.time_ns()

    def leave(self, free: int) -> None:
        """Leave this many bytes free, about."""
        with self._path.open("ab", buffering=0) as file:
            while (rest := shutil.disk_usage(self._path.parent).free - free) > 0:
                file.write(bytes(min(rest, MEGABYTE)))

    def remove(self) -> None:
        """Give the space back."""
        self._path.unlink()
