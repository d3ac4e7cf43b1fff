"""Rendering beside the physics: pictures are taken of a mirror, in a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from robot_learning.contract import Contract
from robot_learning.envs.mirror import Mirror
from robot_learning.envs.rendering import Camera

Deliver = Callable[[str, np.ndarray, int], None]


class Photographer:
    """Takes pictures of a playroom's state while that playroom moves on.

    Args:
        sizes: height and width [pixel] of every camera, by name.
        deliver: called with name, picture `(H, W, 3)` uint8 RGB and time stamp [ns], in the photographer's thread.

    Raises:
        RenderingError: there is no off-screen rendering here, or no such camera.
    """

    def __init__(self, contract: Contract, sizes: Mapping[str, tuple[int, int]], deliver: Deliver) -> None:
        self._mirror = Mirror(contract)
        self._sizes = dict(sizes)
        self._cameras = {size: Camera(self._mirror.room.model, *size) for size in set(self._sizes.values())}
        self._deliver = deliver
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="photographer")  # a GL context belongs to one thread
        self._job: Future[None] | None = None
        self._thread.submit(self._warm_up).result()

    def take(self, state: np.ndarray, names: Sequence[str], stamp: int, wait: bool = False) -> bool:
        """Take pictures of `state` with the cameras `names`; `wait` until they are delivered.

        Without `wait`, False when the last ones are not done yet: these are not taken.

        Raises:
            RenderingError: rendering has failed, now or in an earlier job; so do errors of `deliver`.
        """
        if self._job is not None:
            if not wait and not self._job.done():
                return False
            self._job.result()
        self._job = self._thread.submit(self._shoot, state, tuple(names), stamp)
        if wait:
            self._job.result()
        return True

    def field_of_view(self, name: str) -> float:
        """Vertical field of view of a camera [rad]."""
        return self._cameras[self._sizes[name]].field_of_view(name)

    def close(self) -> None:
        """Finish the last job and free the GL contexts."""
        for camera in self._cameras.values():
            self._thread.submit(camera.close)
        self._thread.shutdown(wait=True)

    def _warm_up(self) -> None:
        """The first picture makes the GL context, which takes long; and shows whether there can be one."""
        self._mirror.room.forward()
        for name in self._sizes:
            self.field_of_view(name)  # says which cameras there are when this one is not
            self._render(name)

    def _shoot(self, state: np.ndarray, names: tuple[str, ...], stamp: int) -> None:
        self._mirror.show(state)
        for name in names:
            self._deliver(name, self._render(name), stamp)

    def _render(self, name: str) -> np.ndarray:
        return self._cameras[self._sizes[name]].render(self._mirror.room.data, name)
