"""InferenceThread: a policy's forward passes beside the executor, one at a time, with the time they take."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WINDOW = 200  # how many durations the percentiles are taken over


@dataclass(frozen=True)
class Job:
    """One forward pass.

    Attributes:
        tick: number of the control tick whose observation this is; at: that observation's time [ns].
        epoch: raised by every reset; results of an older epoch are void.
        fresh: the policy forgets the episode so far before this one.
    """

    tick: int
    at: int
    epoch: int
    task: str
    observation: dict[str, np.ndarray]
    fresh: bool


@dataclass(frozen=True)
class Result:
    """What came of a job: `output` of the policy, or the `error` it raised."""

    job: Job
    output: np.ndarray | None
    error: Exception | None = None


class InferenceThread:
    """Runs `infer(job)` in a thread and hands its result to `deliver`, which is called in that thread."""

    def __init__(self, infer: Callable[[Job], np.ndarray], deliver: Callable[[Result], None]) -> None:
        self._infer, self._deliver = infer, deliver
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._seconds: deque[float] = deque(maxlen=WINDOW)
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> bool:
        """Start a job; False when the last one is still running."""
        if self._busy:
            return False
        self._busy = True
        self._jobs.put(job)
        return True

    def percentiles_ms(self) -> tuple[float, float]:
        """p50 and p95 of the last forward passes [ms]; zeros before the first."""
        seconds = list(self._seconds)
        if not seconds:
            return 0.0, 0.0
        p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
        return float(p50), float(p95)

    def close(self) -> None:
        """End the thread, after the job in progress."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            begin = time.perf_counter()
            try:
                result = Result(job, self._infer(job))
            except Exception as error:  # whatever a policy raises is reported by the node, and the robot holds
                result = Result(job, None, error)
            self._seconds.append(time.perf_counter() - begin)
            self._busy = False
            self._deliver(result)
