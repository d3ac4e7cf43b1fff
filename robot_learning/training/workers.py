"""What a worker process does before its first job."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import torch


def prepare_worker() -> None:
    """Leave Ctrl-C to the parent, use one thread, and end when the parent is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # a killed parent's workers would wait for their next job for ever, each with its half gigabyte
        os._exit(1)
