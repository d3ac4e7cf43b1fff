"""The video encoder's manners."""

import os
from pathlib import Path

import numpy as np
import pytest

from robot_learning.data.video import VideoConfig, VideoEncoder


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc to see the threads")
def test_av1_leaves_no_thread_with_real_time_priority(tmp_path: Path) -> None:
    encoder = VideoEncoder(tmp_path / "a.mp4", (64, 64, 3), 10, VideoConfig("libsvtav1", preset="12"))
    for _ in range(3):
        encoder.write(np.zeros((64, 64, 3), np.uint8))
    policies = {os.sched_getscheduler(int(task.name)) for task in Path("/proc/self/task").iterdir()}
    encoder.close()
    assert policies <= {os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE}
