"""Replay buffers on the disk: parts that are only ever added, so that saving costs what is new.

    <folder>/
      manifest.json                       shapes, rules, tasks, sources with their capacities; whether returns await new rules
      part-00000012-online.safetensors    frames of one source since the part before, and labels that have changed

A part is written under another name, fsynced and renamed: it is whole or it is not there. One that the disk damaged all the same
(length, checksum) is left out with a word: its frames are gone, what led into them is no transition any more, the rest stays.
Parts whose frames have all been overwritten in the ring are removed.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from robot_learning.data.files import DamagedDatasetError, WriterLock, read_json, write_atomic, write_json
from robot_learning.data.observations import ReplayError
from robot_learning.data.replay_source import FRAME_ARRAYS, LABEL_ARRAYS, Running, Source

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
STALE = "stale_returns"
FORMAT = {"format": "robot_learning replay buffer", "version": 1}
PART_BYTES = 128 << 20  # a part of pictures is no larger, so that reading and writing need little memory


@dataclass
class Folder:
    """A folder that a buffer is saved to: its manifest as it stands, its parts, and the number of the next one.

    `parts` are paths with their source and the number after their last frame; `damaged` ones await being renamed. `tried` is a
    manifest that the disk refused, perhaps only after it was in its place.
    """

    path: Path
    manifest: dict[str, Any]
    parts: list[tuple[Path, str, int]] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    number: int = 0
    tidy: bool = False
    tried: dict[str, Any] | None = None

    def is_there(self) -> bool:
        """Whether the folder on the disk is still the one this buffer was saved to or loaded from."""
        try:
            return bool(read_json(self.path / MANIFEST, self.path).get("id") == self.manifest["id"])
        except ValueError:
            return False

    def save(self, manifest: Mapping[str, Any], sources: Iterable[Source]) -> None:
        """Commit what is new. While returns of other rules are on the disk, the manifest says `stale_returns`.

        Raises:
            ReplayError: another process has saved here. DatasetLockedError: one is saving now. OSError: the disk refuses.
        """
        lock = WriterLock(self.path)
        lock.acquire()
        try:
            self._refuse_foreign()
            self._tidy()
            wanted = json.loads(json.dumps({**manifest, "id": self.manifest["id"]}))  # as it is read back
            stale = self.manifest.get("rules", wanted["rules"]) != wanted["rules"] or STALE in self.manifest
            self._write_manifest(wanted | {STALE: True} if stale else wanted)
            for source in sources:
                self._save_source(source)
            self._write_manifest(wanted)
        finally:
            lock.release()

    def _write_manifest(self, wanted: dict[str, Any]) -> None:
        if wanted != self.manifest or self.tried is not None:
            self.tried = wanted
            write_json(self.path / MANIFEST, wanted)
            self.manifest, self.tried = wanted, None

    def _refuse_foreign(self) -> None:
        """Before anything is written: what is there must be what this process has left or loaded."""
        known = [manifest for manifest in (self.manifest, self.tried) if manifest and "sources" in manifest]
        foreign = [path.name for path in self.path.glob("part-*.safetensors") if _number(path) >= self.number]
        if (self.path / MANIFEST).exists() and read_json(self.path / MANIFEST, self.path) not in known:
            foreign.append(MANIFEST)
        if foreign:
            raise ReplayError(
                f"{self.path}: expected what this process has saved or loaded, found an unknown {min(foreign)}: another process "
                f"has saved to this folder; load it anew or save elsewhere"
            )

    def _save_source(self, source: Source) -> None:
        step = max(1, PART_BYTES // _bytes_per_frame(source))
        source.changed = {number for number in source.changed if number >= source.oldest}
        while source.saved < source.written or source.changed:
            first = max(source.saved, source.oldest)
            last = min(first + step, source.written)
            changed = np.array(sorted(source.changed), np.int64)
            self._write(source, first, last, np.concatenate([changed, np.arange(first, last)]))
            source.saved = last
            source.changed.clear()
        for part in [p for p in self.parts if p[1] == source.name and p[2] <= source.oldest]:
            part[0].unlink(missing_ok=True)
            self.parts.remove(part)

    def _write(self, source: Source, first: int, last: int, labelled: np.ndarray) -> None:
        path = self.path / f"part-{self.number:08d}-{source.name}.safetensors"
        self.number += 1  # also of a part that the disk refuses, perhaps only after it was in its place
        rows, label_rows = np.arange(first, last) % source.capacity, labelled % source.capacity
        arrays = {f"observation/{key}": values[rows] for key, values in source.observation.items()}
        arrays |= {name: getattr(source, name)[label_rows] for name in (*FRAME_ARRAYS, *LABEL_ARRAYS)}
        arrays["labelled"] = labelled
        running = [[stream, r.numbers[-1], r.task, r.success] for stream, r in source.running.items()]
        about = {"source": source.name, "first": first, "last": last, "running": running, "checksum": _checksum(arrays)}
        write_atomic(path, lambda temporary: save_file(arrays, temporary, {"part": json.dumps(about)}))
        self.parts.append((path, source.name, last))

    def _tidy(self) -> None:
        """Name damaged parts as such, so that they never count again, and remove what a killed process left half-written."""
        for path in self.damaged:
            os.replace(path, path.with_name(path.name + ".damaged"))
        self.damaged.clear()
        if not self.tidy:
            for path in self.path.glob(".part-*.tmp"):
                path.unlink()
            self.tidy = True


def new_folder(path: Path) -> Folder:
    """A folder to save a whole buffer to.

    Raises:
        ReplayError: there is another buffer.
    """
    if (path / MANIFEST).exists():
        raise ReplayError(
            f"{path} holds another replay buffer; load that one to go on with it, or choose another folder"
        )
    path.mkdir(parents=True, exist_ok=True)
    return Folder(path, {"id": uuid.uuid4().hex})


def open_folder(path: Path) -> Folder:
    """A folder to load a buffer from.

    Raises:
        ReplayError: there is no buffer, its manifest is damaged, or it has another format.
    """
    if not (path / MANIFEST).is_file():
        raise ReplayError(f"{path}: expected a replay buffer, found no {MANIFEST}")
    try:
        manifest = read_json(path / MANIFEST, path)
    except DamagedDatasetError as error:
        raise ReplayError(
            f"{str(error).splitlines()[0]}\nA replay buffer cannot be mended without its manifest: restore {MANIFEST} from a "
            f"copy, or remove the folder and fill a new buffer from the recordings."
        ) from error
    if {key: manifest.get(key) for key in FORMAT} != FORMAT:
        raise ReplayError(f"{path / MANIFEST}: expected {FORMAT}, found { {key: manifest.get(key) for key in FORMAT} }")
    return Folder(path, manifest)


def load_sources(folder: Folder, sources: Mapping[str, Source]) -> None:
    """Fill empty sources with what the folder's parts hold; damaged parts are left out with a word."""
    numbers = {name: np.full(source.capacity, -1) for name, source in sources.items()}
    running: dict[str, list[Any]] = {}
    for path in sorted(folder.path.glob("part-*.safetensors")):
        folder.number = _number(path) + 1
        try:
            about, arrays = _read(path)
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            log.warning("%s is damaged and left out: %s", path, error)
            folder.damaged.append(path)
            continue
        source = sources[about["source"]]
        _replay(source, numbers[source.name], about, arrays)
        running[source.name] = about["running"]
        folder.parts.append((path, source.name, about["last"]))
    for name, source in sources.items():
        _mend(source, numbers[name])
        _resume(source, numbers[name], running.get(name, []))
        source.saved = source.written


def _number(part: Path) -> int:
    return int(part.name.split("-")[1])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with safe_open(path, framework="np") as file:
        about: dict[str, Any] = json.loads((file.metadata() or {})["part"])
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator of its own)
    if _checksum(arrays) != about["checksum"]:
        raise ValueError("the checksum differs")
    return about, arrays


def _replay(source: Source, numbers: np.ndarray, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a part's frames and labels into the ring, as they once were written; `numbers` tells what each row holds."""
    new = np.arange(about["first"], about["last"])
    rows = new % source.capacity
    numbers[rows] = new
    for key, values in source.observation.items():
        values[rows] = arrays[f"observation/{key}"]
    labelled = arrays["labelled"]
    there = numbers[labelled % source.capacity] == labelled
    for name in (*FRAME_ARRAYS, *LABEL_ARRAYS):
        getattr(source, name)[labelled[there] % source.capacity] = arrays[name][there]
    source.written = max(source.written, about["last"])


def _mend(source: Source, numbers: np.ndarray) -> None:
    """Transitions from or into frames that are not there, because a part was damaged, are none."""
    there = numbers >= source.oldest
    following = source.following
    leads = there & (following >= 0) & there[following] & (numbers[following] > numbers)
    following[~leads] = -1
    source.valid[~leads] = False
    source.transitions = int(np.count_nonzero(source.valid))


def _resume(source: Source, numbers: np.ndarray, running: Iterable[tuple[int, int, int, bool]]) -> None:
    """The episodes in progress, traced back from their newest frames."""
    previous = np.full(source.capacity, -1)
    before = np.flatnonzero(source.following >= 0)
    previous[source.following[before]] = before
    for stream, newest, task, success in running:
        row = newest % source.capacity
        if numbers[row] == newest and source.following[row] < 0:
            episode: deque[int] = deque(maxlen=source.capacity)
            while row >= 0:
                episode.appendleft(int(numbers[row]))
                row = previous[row]
            source.running[int(stream)] = Running(episode, int(task), bool(success))


def _checksum(arrays: Mapping[str, np.ndarray]) -> int:
    value = 0
    for key in sorted(arrays):
        value = zlib.crc32(np.ascontiguousarray(arrays[key]).reshape(-1).view(np.uint8).data, value)
    return value


def _bytes_per_frame(source: Source) -> int:
    return sum(values[:1].nbytes for values in source.observation.values()) + 4 * source.actions + 32 * source.labels
