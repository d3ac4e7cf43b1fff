"""For every test: one thread per library, no display, and a clear word where pictures cannot be made."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from robot_learning import headless


def pytest_sessionstart(session: pytest.Session) -> None:
    headless.prepare()
    if not os.environ.get("MUJOCO_GL") and not os.environ.get("DISPLAY"):
        pytest.exit("no off-screen renderer: sudo apt-get install libegl1 libgl1-mesa-dri", returncode=4)
