"""The features of a dataset: what a contract's streams become in LeRobot v3, and the checks a frame must pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_learning.contract import Contract
from robot_learning.data.files import DatasetError, FrameError

CODEBASE_VERSION = "v3.0"
CHUNKS_SIZE = 1000
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
ACTION = "action"
REWARD, DONE, SUCCESS = "next.reward", "next.done", "next.success"
TIMESTAMP = "timestamp"
INDEX_KEYS = ("frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True)
class Feature:
    """One column or video of a dataset.

    `dtype` is a numpy dtype name, "video", "image" or "string"; `shape` is `(n,)` or, for images, `(height, width, 3)`.
    `names` and `units` have one entry per element; `info` describes the encoding of a video.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def is_image(self) -> bool:
        """True for pictures, however they are stored."""
        return self.dtype in ("video", "image")

    def to_dict(self) -> dict[str, Any]:
        """As it stands in `meta/info.json`."""
        plain: dict[str, Any] = {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "names": list(self.names) if self.names else None,
        }
        if self.units:
            plain["units"] = list(self.units)
        if self.info:
            plain["info"] = self.info
        return plain

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> Feature:
        """Read one entry of `features` in `meta/info.json`; names of foreign datasets may be a list, a mapping or null."""
        names = plain.get("names")
        if isinstance(names, dict):
            names = next((value for value in names.values() if isinstance(value, list)), None)
        shape = tuple(int(n) for n in plain["shape"])
        if plain["dtype"] in ("video", "image") and len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3):
            shape = (shape[1], shape[2], shape[0])
        return Feature(
            dtype=str(plain["dtype"]),
            shape=shape,
            names=tuple(str(name) for name in names or ()),
            units=tuple(plain.get("units") or ()),
            info=dict(plain.get("info") or plain.get("video_info") or {}),
        )


def bookkeeping_features() -> dict[str, Feature]:
    """The columns every LeRobot dataset has: `timestamp` [s, from the episode's start] and four running numbers."""
    return {TIMESTAMP: Feature("float32", (1,)), **{key: Feature("int64", (1,)) for key in INDEX_KEYS}}


def contract_features(contract: Contract, extra: Mapping[str, Feature] | None = None) -> dict[str, Feature]:
    """The features a frame must carry: the contract's streams, the action, `next.reward|done|success` and `extra` ones.

    Raises:
        DatasetError: an extra feature has a name that is taken, has a "/" in it, or is an image.
    """
    features: dict[str, Feature] = {}
    for key, stream in contract.observation.items():
        if key in contract.images:
            features[key] = Feature("video", stream.shape, ("height", "width", "channels"))
        else:
            features[key] = Feature(stream.dtype, stream.shape, stream.names, stream.units)
    features[ACTION] = Feature(
        "float32", (len(contract.action.names),), contract.action.names, ("1",) * len(contract.action.names)
    )
    features[REWARD] = Feature("float32", (1,))
    features[DONE] = Feature("bool", (1,))
    features[SUCCESS] = Feature("bool", (1,))
    for key, feature in (extra or {}).items():
        if key in features or key in bookkeeping_features() or "/" in key or feature.is_image:
            raise DatasetError(f"extra feature {key!r}: expected a new column name without '/', found {feature}")
        features[key] = feature
    return features


def check_frame(frame: Mapping[str, Any], features: Mapping[str, Feature]) -> dict[str, np.ndarray]:
    """The frame's values as arrays of exactly the declared dtype and shape.

    Scalars are accepted for features of shape `(1,)`. Floating point may be given wider than declared; nothing else is cast.

    Raises:
        FrameError: names the key, what was expected and what was found.
    """
    unknown, missing = sorted(frame.keys() - features.keys()), sorted(features.keys() - frame.keys())
    if unknown or missing:
        raise FrameError(
            f"frame: expected the keys {sorted(features)}; missing {missing}, unknown {unknown}. "
            f"The dataset's contract declares the keys; extra columns are declared when the dataset is created."
        )
    return {key: _check_value(key, frame[key], feature) for key, feature in features.items()}


def check_task(task: Any) -> None:
    """Refuse what is no instruction, or cannot be stored as text (`FrameError`)."""
    if not isinstance(task, str) or not task.strip():
        raise FrameError(f"task: expected an instruction in words, found {task!r}")
    try:
        task.encode()
    except UnicodeEncodeError as error:
        raise FrameError(f"task: expected text that UTF-8 can hold, found {task!r} ({error.reason})") from None


def _check_value(key: str, value: Any, feature: Feature) -> np.ndarray:
    array = np.asarray(value)
    expected = "uint8" if feature.is_image else feature.dtype
    if feature.shape == (1,) and array.shape == ():
        array = array.reshape(1)
    if array.shape != feature.shape:
        hint = " (height, width, channels)" if feature.is_image else ""
        raise FrameError(f"{key}: expected shape {feature.shape}{hint}, found {array.shape}")
    if array.dtype != expected and not (array.dtype.kind == np.dtype(expected).kind == "f"):
        raise FrameError(f"{key}: expected dtype {expected}, found {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array.reshape(-1)))
        names = [feature.names[i] if feature.names else str(i) for i in bad[:5]]
        raise FrameError(f"{key}: expected finite numbers, found {array.reshape(-1)[bad[0]]} at {', '.join(names)}")
    # A copy, because callers reuse their buffers between frames.
    return array if feature.is_image else np.array(array, dtype=expected)
