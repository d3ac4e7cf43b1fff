"""What a replay buffer stores of an observation: shapes and types by key, and features in the place of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np

from robot_learning.errors import UserError

PLAIN = "observation"  # the key of an observation that is one array
ENCODER_BATCH = 256


class ReplayError(UserError, ValueError):
    """Something does not fit a replay buffer; the message names it, what was expected and what was found."""


class FeatureEncoder(Protocol):
    """A frozen network that turns pictures into feature vectors, once per frame; plain attributes will do."""

    @property
    def name(self) -> str:
        """Identifies network and weights; a saved buffer is only continued with an encoder of the same name."""

    @property
    def size(self) -> int:
        """Features F of one picture."""

    @property
    def dtype(self) -> str:
        """How they are stored, "float16" or "float32"."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """`(N, *shape)` uint8 -> `(N, F)`; the same picture must give the same features every time."""


@dataclass(frozen=True)
class AbsentEncoder:
    """Stands for the encoder of a buffer that was loaded without one: what is there can be sampled, nothing can be added."""

    name: str
    size: int
    dtype: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Always refuses."""
        raise ReplayError(
            f"the buffer was loaded without its encoder {self.name!r}; pass `encoders` to load() to add frames"
        )


@dataclass(frozen=True)
class Stored:
    """One key of a frame: `shape` and `dtype` as given, and as kept (an encoder may stand between)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kept_shape: tuple[int, ...]
    kept_dtype: np.dtype[Any]


class Observations:
    """Checks observations against a Gymnasium space and brings them into the form they are stored in.

    Floating point is kept as float32, everything else (pictures: uint8) in the type of the space. An observation that is one
    array is stored under the key "observation".

    Raises:
        ReplayError: the space is neither a Box nor a Dict of Boxes, or an encoder has no such key.
    """

    def __init__(self, space: gymnasium.Space[Any], encoders: Mapping[str, FeatureEncoder] | None = None) -> None:
        self.plain = isinstance(space, gymnasium.spaces.Box)
        spaces = {PLAIN: space} if self.plain else getattr(space, "spaces", None)
        if not isinstance(spaces, dict) or not all(isinstance(s, gymnasium.spaces.Box) for s in spaces.values()):
            raise ReplayError(f"observation space: expected a Box or a Dict of Boxes, found {space}")
        self.encoders = dict(encoders or {})
        unknown = sorted(self.encoders.keys() - spaces.keys())
        if unknown:
            raise ReplayError(f"encoders: the observation has no {unknown}; it has {list(spaces)}")
        self.keys: dict[str, Stored] = {key: _stored(s, self.encoders.get(key)) for key, s in spaces.items()}

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the manifest of a saved buffer."""
        shapes = {key: {"shape": list(s.shape), "dtype": s.dtype.name} for key, s in self.keys.items()}
        encoders = {key: {"name": e.name, "size": e.size, "dtype": e.dtype} for key, e in self.encoders.items()}
        return {"plain": self.plain, "keys": shapes, "encoders": encoders}

    @staticmethod
    def space_from(plain: Mapping[str, Any]) -> gymnasium.Space[Any]:
        """A space of the same keys, shapes and types as the one `to_dict` was called on; its bounds are not kept."""
        boxes: dict[str, gymnasium.Space[Any]] = {
            key: _box(tuple(entry["shape"]), np.dtype(entry["dtype"])) for key, entry in plain["keys"].items()
        }
        return boxes[PLAIN] if plain["plain"] else gymnasium.spaces.Dict(boxes)

    @staticmethod
    def encoders_from(
        plain: Mapping[str, Any], given: Mapping[str, FeatureEncoder] | None
    ) -> dict[str, FeatureEncoder]:
        """The encoders a saved buffer needs: the `given` ones, which must be the same, or stand-ins.

        Raises:
            ReplayError: a given encoder has another name, size or type than the features on the disk.
        """
        saved = plain["encoders"]
        if given is None:
            return {key: AbsentEncoder(**entry) for key, entry in saved.items()}
        found = {key: {"name": e.name, "size": e.size, "dtype": e.dtype} for key, e in given.items()}
        if found != saved:
            raise ReplayError(f"encoders: the saved features come from {saved}, found {found}")
        return dict(given)

    def check(self, observation: Any, frames: int | None = None) -> dict[str, np.ndarray]:
        """The observation by key, `(*shape)` each or `(frames, *shape)`, in the given types (pictures not yet encoded).

        Raises:
            ReplayError: a key is missing, a shape or type differs, or a number is not finite.
        """
        if self.plain and not isinstance(observation, Mapping):
            observation = {PLAIN: observation}
        missing = [key for key in self.keys if key not in observation]
        if missing:
            raise ReplayError(f"observation: expected the keys {list(self.keys)}, missing {missing}")
        lead = () if frames is None else (frames,)
        return {key: _checked(key, observation[key], lead, stored) for key, stored in self.keys.items()}

    def encode(self, checked: Mapping[str, np.ndarray], batched: bool = False) -> dict[str, np.ndarray]:
        """What is stored of a checked observation: encoded keys become their features, the others stay."""
        if not self.encoders:
            return dict(checked)
        return {key: self._encode(key, value, batched) for key, value in checked.items()}

    def _encode(self, key: str, value: np.ndarray, batched: bool) -> np.ndarray:
        encoder = self.encoders.get(key)
        if encoder is None:
            return value
        images = value if batched else value[None]
        parts = [encoder(images[at : at + ENCODER_BATCH]) for at in range(0, len(images), ENCODER_BATCH)]
        features = np.concatenate(parts).astype(encoder.dtype)
        if features.shape != (len(images), encoder.size) or not np.isfinite(features).all():
            raise ReplayError(
                f"encoder {encoder.name!r} of {key}: expected finite features {(len(images), encoder.size)} that fit "
                f"{encoder.dtype}, found shape {features.shape}, {int((~np.isfinite(features)).sum())} not finite"
            )
        return features if batched else features[0]


def _box(shape: tuple[int, ...], dtype: np.dtype[Any]) -> gymnasium.spaces.Box:
    if dtype.kind == "f":
        return gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return gymnasium.spaces.Box(low, high, shape, dtype.type)


def _stored(space: gymnasium.spaces.Box, encoder: FeatureEncoder | None) -> Stored:
    dtype = np.dtype(np.float32) if space.dtype.kind == "f" else np.dtype(space.dtype)
    if encoder is None:
        return Stored(space.shape, dtype, space.shape, dtype)
    if encoder.dtype not in ("float16", "float32"):
        raise ReplayError(
            f"encoder {encoder.name!r}: expected the dtype 'float16' or 'float32', found {encoder.dtype!r}"
        )
    return Stored(space.shape, dtype, (encoder.size,), np.dtype(encoder.dtype))


def _checked(key: str, value: Any, lead: tuple[int, ...], stored: Stored) -> np.ndarray:
    array = np.asarray(value)
    if array.shape != lead + stored.shape:
        raise ReplayError(f"{key}: expected shape {lead + stored.shape}, found {array.shape}")
    if array.dtype != stored.dtype:
        if not np.can_cast(array.dtype, stored.dtype, "same_kind"):
            raise ReplayError(f"{key}: expected {stored.dtype}, found {array.dtype}")
        array = array.astype(stored.dtype)
    if stored.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0]
        raise ReplayError(f"{key}: expected finite numbers, found {array[tuple(bad)]} at {bad.tolist()}")
    return array
