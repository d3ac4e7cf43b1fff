"""EpisodeRecorder: each episode into the dataset and into a bag beside it, committed together. Knows no ROS and no threads.

On the disk, below the dataset:
    bags/episode_000012/   the raw messages of episode 12
    bags/recording/        the episode in progress
    bags/discarded/        episodes that were given up, kept as bags
    bags/interrupted/      episodes that a killed recorder left, finished by the next one
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from robot_learning.contract import Contract
from robot_learning.data.bag import BagWriter, finish_bag
from robot_learning.data.files import DatasetError, DatasetWriteError, FrameError, fsync_directory
from robot_learning.data.messages import SECOND, encode, typestore
from robot_learning.data.metadata import INFO_PATH, load_info
from robot_learning.data.recording import (
    ACTION_SENT,
    ACTION_TOPICS,
    EVENT,
    LOCKSTEP,
    OWN_TOPICS,
    SMALL_TOPICS,
    STRING,
    TICK,
    TIME,
    RecordedFrame,
    Recording,
    recording_features,
)
from robot_learning.data.writer import DatasetWriter
from robot_learning.errors import UserError

IDLE, RECORDING, PAUSED = "idle", "recording", "paused"
BAGS = "bags"
NOT_OPEN = "no episode is open"
"""In the error of whoever would end an episode that has been ended already."""


class RecorderError(UserError, RuntimeError):
    """The recorder cannot do that now; the message says why and what to do."""


@dataclass(frozen=True)
class Saved:
    """A committed episode."""

    index: int
    frames: int
    success: bool


def recorded_topics(contract: Contract) -> dict[str, str]:
    """Every topic the recorder subscribes to, relative, with its type."""
    streams = {stream.topic: stream.type for stream in contract.observation.values()}
    return streams | ACTION_TOPICS | SMALL_TOPICS


def open_recorded(root: Path, contract: Contract, config: Mapping[str, Any] | None = None) -> DatasetWriter:
    """A writer for the dataset of recorded episodes at `root`, made when there is none.

    Raises:
        DatasetError: the dataset there lacks the columns of a recording, or `DatasetWriter.open_or_create` refuses it.
        DatasetLockedError: another process is writing to it.
    """
    extra = recording_features(contract)
    if (root / INFO_PATH).exists():
        missing = [key for key in extra if key not in load_info(root)["features"]]
        if missing:
            raise DatasetError(
                f"{root}: expected a dataset of recorded episodes, found one without the columns {missing}. "
                f"Record to a new folder."
            )
    return DatasetWriter.open_or_create(root, contract, extra=extra, config=config)


def add_frame(writer: DatasetWriter, recording: Recording, frame: RecordedFrame | None) -> None:
    """Give a frame to the dataset; one that does not fit counts as a skipped tick. Raises `DatasetWriteError`."""
    if frame is None:
        return
    try:
        writer.add_frame(frame.values, frame.task)
    except FrameError as error:
        recording.drop_frame(str(error))


class EpisodeRecorder:
    """Records episodes into the dataset at `root`, which is made, or mended and gone on with.

    Args:
        names: the fully qualified name of each relative topic, as the bag shall have it.
        config: the resolved configuration, kept in the dataset and in every bag.
        bags: False leaves the bags out.

    Raises:
        DatasetError, DatasetLockedError: as `DatasetWriter.open_or_create`. DatasetWriteError: the disk refused.
    """

    def __init__(
        self,
        root: Path,
        contract: Contract,
        names: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        bags: bool = True,
    ) -> None:
        self.root, self.contract, self.bags = root, contract, bags
        topics = recorded_topics(contract) | OWN_TOPICS
        self._names = {topic: (names or {}).get(topic, f"/{topic}") for topic in topics}
        self._types = {self._names[topic]: kind for topic, kind in topics.items()}
        self._config = dict(config or {})
        self.writer = open_recorded(root, contract, self._config)
        try:
            self.recovered = self._recover() if bags else []
        except OSError as error:
            self.writer.close()
            raise self.refusal(error) from error
        except BaseException:
            self.writer.close()
            raise
        self.recording = Recording(contract, lockstep=bool(self._config.get(LOCKSTEP)))
        self.state = IDLE
        self.ticks = 0
        """Ticks of all episodes so far."""
        self._ticks_before = 0
        self._bag: BagWriter | None = None
        self._last = 0

    # ---- what an operator asks for

    def start(self, time: int, latest: Mapping[str, bytes]) -> None:
        """Begin an episode at `time` [ns]. `latest` are the last messages of sensors and latched topics from before it.

        Raises:
            RecorderError: an episode is open already, or nobody has said which task it shows.
            DatasetWriteError: the disk refused.
        """
        if self.state != IDLE:
            raise RecorderError(f"an episode is open already ({self.state}); stop, discard or re_record it first")
        self._last = time
        self.recording.begin()
        with self._disk():
            if self.bags:
                self.recovered += self._recover()  # what a refusing disk did not let us put in its place
                self._bag = BagWriter(self.root / BAGS / RECORDING, self._types, self._custom())
            self.state, self._ticks_before = RECORDING, self.ticks
            for topic, raw in latest.items():
                self._take(topic, raw, time)
            self._event("start", task=self.recording.task)
            self._flush()

    def pause(self, time: int) -> None:
        """Leave out what comes now. Raises `RecorderError` unless an episode is being recorded, `DatasetWriteError`."""
        self._require(RECORDING, "pause")
        with self._disk():
            self._add(self.recording.pause())
            self._clock(time)
            self._event("pause", frames=self.writer.episode_length)
            self._flush()
        self.state = PAUSED

    def resume(self, time: int, latest: Mapping[str, bytes] | None = None) -> None:
        """Go on after a pause; `latest` as in `start`. Raises `RecorderError` when there was none, `DatasetWriteError`."""
        self._require(PAUSED, "resume")
        with self._disk():
            self._clock(time)
            self.recording.resume()
            self._event("resume", frames=self.writer.episode_length)
            for topic, raw in (latest or {}).items():
                self._take(topic, raw, time)
            self._flush()
        self.state = RECORDING

    def save(self, time: int, ended_by: str = "stop") -> Saved:
        """Commit the open episode; when this returns, no crash can lose it.

        Raises:
            RecorderError: no episode is open, or it has no frame (it is discarded; the text says what was missing).
            DatasetWriteError: the disk refused; the episode is discarded, its bag kept as far as it got.
        """
        self._require_open("stop")
        with self._disk():
            self._clock(time)
            self._add(self.recording.finish())
            if not self.writer.episode_length:
                why = "; ".join(self.recording.problems) or "the safety gate sent no action (safety_gate/action_sent)"
                kept = self.discard(time, f"no frame: {why}")
                raise RecorderError(f"the episode has no frame: {why}. Discarded{f', bag in {kept}' if kept else ''}")
            index, success = self.writer.num_episodes, self.recording.success
            info = self.recording.tally.info() | {"ended_by": ended_by, "source": "recorder"}
            self._event("save", episode_index=index, success=success, **info)
            bag = self._close_bag(f"episode_{index:06d}")
            if bag:
                info["bag"] = str(bag.relative_to(self.root))
            saved = Saved(index, self.writer.episode_length, success)
            self._commit(saved, info, bag)
        self.state = IDLE
        return saved

    def discard(self, time: int, reason: str = "discard") -> Path | None:
        """Give up the open episode; returns where its bag is kept.

        Raises:
            RecorderError: no episode is open. DatasetWriteError: the disk refused.
        """
        self._require_open("discard")
        self.state = IDLE
        self.writer.discard_episode()
        with self._disk():
            self._clock(time)
            self._event("discard", reason=reason, frames=self.recording.tally.frames)
            return self._close_bag(f"discarded/{_when()}")

    def close(self) -> None:
        """Discard an open episode and let other writers in."""
        if self.state != IDLE:
            self.discard(self._last, "the recorder was closed")
        self.writer.close()

    @property
    def is_waiting(self) -> bool:
        """Whether the open episode has not had a tick yet."""
        return self.state == RECORDING and self.ticks == self._ticks_before

    # ---- what comes in

    def message(self, topic: str, raw: bytes, received: int) -> None:
        """Take a message (relative topic) that came at `received` [ns]; does nothing while no episode is open.

        Raises:
            DatasetWriteError: the disk refused; the episode is discarded, its bag kept as far as it got.
        """
        if self.state == IDLE or (self.state == PAUSED and topic not in SMALL_TOPICS):
            return
        with self._disk():
            self._take(topic, raw, received)
            if topic == ACTION_SENT and self.recording.sent is not None:
                self._tick(self.recording.sent.stamp)

    def _take(self, topic: str, raw: bytes, received: int) -> None:
        self._clock(received)
        if self._bag:
            self._bag.write(self._names[topic], self._last, raw)
        self.recording.message(topic, raw, self._last)

    def _tick(self, at: int) -> None:
        self.ticks += 1
        if self._bag:
            self._bag.write(self._names[TICK], self._last, _time(at))
        self._add(self.recording.tick(at))
        self._flush()

    def _add(self, frame: RecordedFrame | None) -> None:
        add_frame(self.writer, self.recording, frame)

    def _clock(self, time: int) -> None:
        """Log times never go back within a bag, so that it can be read in the order it was written."""
        self._last = max(self._last, time)

    # ---- the bag

    def _event(self, event: str, **values: Any) -> None:
        if self._bag:
            text = json.dumps({"event": event, "time": self._last, **values}, ensure_ascii=False)
            self._bag.write(self._names[EVENT], self._last, encode(STRING, data=text))

    def _flush(self) -> None:
        if self._bag:
            self._bag.flush()

    def _custom(self) -> dict[str, str]:
        return {
            "contract": yaml.safe_dump(self.contract.to_dict(), sort_keys=False),
            "config": json.dumps(self._config),
            "topics": json.dumps(self._names),
        }

    def _close_bag(self, name: str) -> Path | None:
        """Finish the bag and put it at `bags/<name>`."""
        bag = self._bag
        if bag is None:
            return None
        bag.close()  # if the disk refuses this, or the move, the bag is still ours, and `fail` sets it aside
        moved = _move(bag.folder, self.root / BAGS / name)
        self._bag = None
        return moved

    def _recover(self) -> list[str]:
        """Finish the bag that a killed recorder or a full disk left, and set bags apart whose episode was not committed."""
        done, folder = [], self.root / BAGS
        open_bag = folder / RECORDING
        if open_bag.exists():
            unfinished = ""
            try:
                finish_bag(open_bag)
            except Exception as error:  # whatever is wrong with it, the next episode can be recorded
                unfinished = f", as it was left: {error}"
            kept = _move(open_bag, folder / "interrupted" / _when())
            done.append(f"an interrupted episode was found; its bag is {kept}{unfinished}")
        for bag in sorted(folder.glob("episode_*")):
            if int(bag.name.removeprefix("episode_")) >= self.writer.num_episodes:
                kept = _move(bag, folder / "interrupted" / _when())
                done.append(f"episode {bag.name} was not committed; its bag is {kept}")
        return done

    # ---- committing

    def _commit(self, saved: Saved, info: dict[str, Any], bag: Path | None) -> None:
        try:
            self.writer.save_episode(saved.success, info)
        except BaseException:
            if bag and self.writer.num_episodes == saved.index:
                _move(bag, self.root / BAGS / "discarded" / _when())
            raise

    def _disk(self) -> _DiskGuard:
        return _DiskGuard(self)

    def fail(self) -> None:
        """The disk refused: drop the episode; its bag stays as far as it got, finished if the disk lets us."""
        self.state = IDLE
        self.writer.discard_episode()
        bag, self._bag = self._bag, None
        if bag is None:
            return
        with contextlib.suppress(
            OSError, ValueError
        ):  # ValueError: closed already; its next reader makes what is missing
            bag.close()
        with contextlib.suppress(OSError):  # a new folder needs space, too: then the next episode's start sets it apart
            _move(bag.folder, self.root / BAGS / "discarded" / _when())

    def refusal(self, error: OSError) -> DatasetWriteError:
        """What the disk said, in words for the user; the episode in progress was dropped."""
        if isinstance(error, DatasetWriteError):
            return error
        free = shutil.disk_usage(self.root).free / 1e6
        return DatasetWriteError(
            f"{self.root}: the disk refused a write ({error}); {free:.0f} MB are free. The episode in progress was "
            f"discarded, the {self.writer.num_episodes} committed ones are safe. Free some space and record it again."
        )

    def _require(self, state: str, verb: str) -> None:
        if self.state != state:
            raise RecorderError(f"cannot {verb}: expected an episode that is {state}, found {self.state}")

    def _require_open(self, verb: str) -> None:
        if self.state == IDLE:
            raise RecorderError(f"cannot {verb}: {NOT_OPEN}; start one first")


class _DiskGuard:
    """Turns a refusal of the disk into a `DatasetWriteError`, after the open episode was dropped."""

    def __init__(self, recorder: EpisodeRecorder) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        self._recorder.fail()
        if not isinstance(error, DatasetWriteError):
            raise self._recorder.refusal(error) from error


def _move(source: Path, target: Path) -> Path:
    """Rename a folder to `target`, or to the first free `target_2`, `target_3` ..."""
    target.parent.mkdir(parents=True, exist_ok=True)
    free, number = target, 1
    while free.exists():
        number += 1
        free = target.with_name(f"{target.name}_{number}")
    os.rename(source, free)
    fsync_directory(free.parent)
    fsync_directory(source.parent)
    return free


def _when() -> str:
    return datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def _time(at: int) -> bytes:
    time = typestore().types[TIME](at // SECOND, at % SECOND)
    return bytes(typestore().serialize_cdr(time, TIME))
