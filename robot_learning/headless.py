"""Environment variables that must stand before MuJoCo and torch are imported, set when `robot_learning` is imported.

Whatever the user has set wins. Measured: a busy two-core machine loses a factor of four to spinning OpenMP threads.
"""

from __future__ import annotations

import ctypes
import os
import sys


def gl_backend() -> str | None:
    """The MUJOCO_GL backend that can render here without a display (`egl` or `osmesa`), or None when no library loads."""
    for backend, library in (("egl", "libEGL.so.1"), ("osmesa", "libOSMesa.so.8"), ("osmesa", "libOSMesa.so")):
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return backend
    return None


def prepare() -> None:
    """Choose off-screen rendering where there is no display, and waiting threads that leave the cores to others."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("LP_NUM_THREADS", "0")  # llvmpipe: one process per core beats threads in each
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        backend = os.environ.get("MUJOCO_GL") or gl_backend()
        if backend:
            os.environ["MUJOCO_GL"] = backend
            if backend in ("egl", "osmesa"):
                os.environ.setdefault("PYOPENGL_PLATFORM", backend)
