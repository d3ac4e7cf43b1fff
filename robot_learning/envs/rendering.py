"""Pictures of the playroom: fast ones for learning, pretty ones for people."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
import weakref

import mujoco
import numpy as np

from robot_learning.envs.scene import FAST_GROUP, PRETTY_GROUP, ROBOT_PREFIX, WRIST_CAMERA
from robot_learning.errors import UserError

_OPEN: weakref.WeakSet[Camera] = weakref.WeakSet()


def _close_all() -> None:
    """What a script has not closed: later, when the interpreter takes objects apart, the display is gone and EGL complains."""
    for camera in list(_OPEN):
        camera.close()


class RenderingError(UserError, RuntimeError):
    """No off-screen rendering here."""


def require_display() -> None:
    """Check that a window can be opened: without this, MuJoCo's viewer ends the whole process.

    Raises:
        RenderingError: there is no display.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RenderingError(
            "render_mode 'human' needs a display and none is set (DISPLAY); use render_mode 'rgb_array'"
        )


def load_compilers() -> None:
    """Load triton, where it is installed, before Mesa: both bring an LLVM, and triton crashes the process when it comes second.

    PyTorch's CUDA builds depend on it, and load it with the first optimiser.
    """
    with contextlib.suppress(Exception):  # a triton that does not load is no reason not to render
        importlib.import_module("triton")


class Camera:
    """Renders named cameras of one model at one size `(height, width)` [pixel]; the GL context is made at the first picture.

    `pretty` draws visual meshes; otherwise the robot is drawn by the convex hulls of its collision shapes without
    reflections, skybox and haze, which costs a tenth on a CPU renderer.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int, pretty: bool = False) -> None:
        self.model, self.height, self.width, self.pretty = model, height, width, pretty
        self._renderer: mujoco.Renderer | None = None
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[[0, PRETTY_GROUP if pretty else FAST_GROUP]] = 1
        self._option.flags[mujoco.mjtVisFlag.mjVIS_CONVEXHULL] = not pretty
        self._option.sitegroup[:] = 0

    def _open(self) -> mujoco.Renderer:
        load_compilers()
        try:
            renderer = mujoco.Renderer(self.model, self.height, self.width)
        except Exception as error:  # MuJoCo raises whatever its GL backend raises
            raise RenderingError(
                f"MuJoCo cannot render off-screen ({error}). Install a software renderer: "
                "apt-get install libegl1 libgl1-mesa-dri, or libosmesa6; or set MUJOCO_GL before MuJoCo is imported."
            ) from error
        _OPEN.add(self)
        # now, after MuJoCo has registered the end of its display: what is registered last is called first
        atexit.unregister(_close_all)
        atexit.register(_close_all)
        for flag in ("SHADOW", "REFLECTION", "HAZE") if self.pretty else ("SHADOW", "REFLECTION", "SKYBOX", "HAZE"):
            renderer.scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        return renderer

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """The picture `(height, width, 3)` uint8 RGB that `camera` sees."""
        if self._renderer is None:
            self._renderer = self._open()
        self._renderer.update_scene(data, _in_model(camera), self._option)
        return self._renderer.render()

    def field_of_view(self, camera: str) -> float:
        """The vertical field of view of `camera` [rad].

        Raises:
            RenderingError: the room has no such camera; lists those it has.
        """
        try:
            return float(np.deg2rad(self.model.camera(_in_model(camera)).fovy[0]))
        except KeyError:
            known = [self.model.camera(i).name.removeprefix(ROBOT_PREFIX) for i in range(self.model.ncam)]
            raise RenderingError(f"the room has no camera {camera!r}; it has {known}") from None

    def close(self) -> None:
        """Free the GL context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
            _OPEN.discard(self)


def _in_model(camera: str) -> str:
    return WRIST_CAMERA if camera == "wrist" else camera
