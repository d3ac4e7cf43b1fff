"""RewardModel: pictures and a yes/no question in, the probability of "yes" out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from robot_learning.errors import UserError

Images = Mapping[str, np.ndarray]
"""RGB uint8 by camera, `(H, W, 3)` or `(B, H, W, 3)`; named "front" or "observation.images.front"."""


class PictureError(UserError, ValueError):
    """A picture is missing or has the wrong shape or type; says what was expected and found."""


class RewardModel(Protocol):
    """What every backend offers.

    Attributes:
        questions: the canonical texts it answers, those of `probabilities`' columns.
        cameras: short names of the cameras it looks through.
        threshold: from this P(yes) on the answer is yes; chosen for a wanted rate of false positives.
        no_threshold: up to this P(yes) the answer is no, chosen alike for answers turned round ("is it not ...?").
    """

    @property
    def questions(self) -> tuple[str, ...]: ...

    @property
    def cameras(self) -> tuple[str, ...]: ...

    @property
    def threshold(self) -> float: ...

    @property
    def no_threshold(self) -> float: ...

    def probability(self, images: Images, question: str) -> float | np.ndarray:
        """Calibrated P(yes): a number for one picture of each camera, `(B,)` float32 for batches.

        Raises:
            QuestionError: the question is not known; lists those that are.
            PictureError: a camera is missing, or a picture is not uint8 `(H, W, 3)`.
        """
        ...

    def probabilities(self, images: Images) -> np.ndarray:
        """P(yes) of every known question, `(Q,)` or `(B, Q)` float32, at the price of one."""
        ...

    def success(self, images: Images, question: str) -> bool | np.ndarray:
        """Whether the answer is yes, at the threshold: a bool, or `(B,)` bool."""
        ...


def short_name(camera: str) -> str:
    """`observation.images.front` -> `front`."""
    return camera.rsplit(".", 1)[-1]


def batch_of(images: Images, cameras: Sequence[str]) -> tuple[list[np.ndarray], bool]:
    """The pictures of `cameras`, in that order, each `(B, H, W, 3)`, and whether they came as a batch.

    Raises:
        PictureError: a camera is missing, the sizes of the batches differ, or a picture is not uint8 `(H, W, 3)`.
    """
    named = {short_name(camera): np.asarray(image) for camera, image in images.items()}
    missing = [camera for camera in cameras if camera not in named]
    if missing:
        raise PictureError(f"pictures: expected the cameras {list(cameras)}, found {sorted(named)}; {missing} missing")
    found = [named[camera] for camera in cameras]
    for camera, image in zip(cameras, found, strict=True):
        if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3 or 0 in image.shape[-3:]:
            raise PictureError(
                f"camera {camera!r}: expected uint8 RGB (H, W, 3) or (B, H, W, 3), found {image.dtype} {image.shape}"
            )
    counts = {image.shape[0] if image.ndim == 4 else None for image in found}
    if len(counts) > 1:
        raise PictureError(f"pictures: expected one batch size for {list(cameras)}, found {[i.shape for i in found]}")
    batched = found[0].ndim == 4
    return [image if batched else image[None] for image in found], batched
