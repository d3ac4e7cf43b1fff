"""What a worker process does before its first job."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def starting_workers() -> Iterator[None]:
    """Processes started in the block never hear of Ctrl-C, not even while they import; this process hears of it after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_worker() -> None:
    """Use one thread, and end when the parent is gone, however it went."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # a killed parent's workers would wait for their next job for ever, each with its half gigabyte
        os._exit(1)
