"""Import of robomimic HDF5 files (needs the `convert` extra)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.contract import IMAGE_PREFIX, STATE, Action, Contract, Gripper, Joints, Stream, Workspace
from robot_learning.data.episode import Episode
from robot_learning.data.files import DatasetError, remove_on_error
from robot_learning.data.minari_export import MissingExtraError
from robot_learning.data.writer import DatasetWriter

Track = Callable[[Iterable[Any]], Iterable[Any]]
STATE_KEYS = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
IMAGE_KEYS = {"agentview_image": "front", "robot0_eye_in_hand_image": "wrist"}
DEFAULT_RATE = 20.0  # robosuite's control_freq


def import_robomimic(
    source: Path,
    output: Path,
    task: str,
    contract: Contract | None = None,
    state_keys: Sequence[str] = STATE_KEYS,
    image_keys: Mapping[str, str] | None = None,
    track: Track = lambda items: items,
) -> int:
    """Copy every demonstration of a robomimic file to a new dataset at `output`; returns their number.

    Args:
        task: the instruction of all demonstrations.
        contract: what the data are; built from the file when None (a stand-in: its topics and limits drive no robot).
        state_keys: the `obs` keys that are joined to `observation.state`, in order.
        image_keys: `obs` key of each camera to its name with us; those of IMAGE_KEYS that the file has when None.

    Raises:
        MissingExtraError: h5py is not installed.
        DatasetError: the file is not a robomimic dataset or lacks a key (the message lists what it has), or a value does
            not fit the contract.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f"importing needs h5py ({error}); install it with: pip install 'robot_learning[convert]'"
        ) from error
    if not source.is_file():
        raise DatasetError(f"{source}: expected a robomimic HDF5 file, found no such file")
    try:
        file = h5py.File(source, "r")
    except OSError as error:
        raise DatasetError(
            f"{source}: expected an HDF5 file, found something else or a truncated one ({error})"
        ) from error
    with file:
        demos = _demos(file, source)
        first = file["data"][demos[0]]
        images = {k: v for k, v in IMAGE_KEYS.items() if k in first["obs"]} if image_keys is None else dict(image_keys)
        _require_keys(first, [*state_keys, *images], source)
        contract = contract or contract_of(file, first, state_keys, images)
        config = {"imported_from": str(source), "state_keys": list(state_keys), "image_keys": images}
        with DatasetWriter.create(output, contract, config=config) as writer, remove_on_error(output):
            for name in track(demos):
                writer.add_episode(_episode(file["data"][name], name, task, state_keys, images))
            return writer.num_episodes


def _demos(file: Any, source: Path) -> list[str]:
    group = file.get("data")
    demos = sorted((n for n in group or () if n.startswith("demo_")), key=lambda name: int(name.split("_")[1]))
    if not demos:
        raise DatasetError(f"{source}: expected groups data/demo_0, data/demo_1 ..., found {list(file)}")
    return demos


def _require_keys(demo: Any, keys: Sequence[str], source: Path) -> None:
    missing = [key for key in keys if key not in demo["obs"]]
    if missing:
        raise DatasetError(
            f"{source}: expected the obs keys {missing}, found {list(demo['obs'])}; name others with --state-keys"
        )


def _episode(demo: Any, name: str, task: str, state_keys: Sequence[str], images: Mapping[str, str]) -> Episode:
    states = [np.asarray(demo["obs"][key], dtype=np.float32).reshape(len(demo["actions"]), -1) for key in state_keys]
    rewards = np.asarray(demo["rewards"], dtype=np.float32).reshape(-1, 1)
    frames = {
        STATE: np.concatenate(states, axis=1),
        "action": np.asarray(demo["actions"], dtype=np.float32),
        "next.reward": rewards,
        "next.done": np.asarray(demo["dones"]).reshape(-1, 1).astype(bool),
        "next.success": rewards > 0,  # robomimic's reward is 1 where the task is solved
    }
    frames |= {IMAGE_PREFIX + camera: np.asarray(demo["obs"][key]) for key, camera in images.items()}
    return Episode(task, frames, bool((rewards > 0).any()), {"robomimic_demo": name})


def contract_of(file: Any, demo: Any, state_keys: Sequence[str], images: Mapping[str, str]) -> Contract:
    """A contract that describes the file's streams: names, shapes and rate are the file's, topics and limits are blank."""
    env = json.loads(file["data"].attrs.get("env_args", "{}"))
    rate = float(env.get("env_kwargs", {}).get("control_freq", DEFAULT_RATE))
    names = [f"{key}.{i}" for key in state_keys for i in range(int(np.prod(demo["obs"][key].shape[1:], dtype=int)))]
    size = demo["actions"].shape[1]
    timing: dict[str, Any] = {"rate": rate, "max_age": 2 / rate}
    streams = {STATE: Stream("", "", "float32", (len(names),), names=tuple(names), **timing)}
    for key, camera in images.items():
        streams[IMAGE_PREFIX + camera] = Stream("", "", "uint8", tuple(demo["obs"][key].shape[1:]), **timing)
    return Contract(
        name=str(env.get("env_name", "robomimic")),
        rate=rate,
        base_frame="base_link",
        tcp_frame="tcp",
        joints=Joints((), (), (), (), ()),
        gripper=Gripper("", 0.0, 1.0),
        workspace=Workspace((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)),
        observation=streams,
        action=Action("", "", tuple(f"action.{i}" for i in range(size)), ("1",) * size, (1.0,) * size),
        description="imported from a robomimic file; topics and limits are placeholders",
    )
