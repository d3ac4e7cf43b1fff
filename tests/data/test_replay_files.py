from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_learning.data.files import DatasetLockedError, WriterLock
from robot_learning.data.observations import ReplayError
from robot_learning.data.replay import ReplayBuffer

from . import replay_writer
from .kills import Killed
from .replay_reference import action_of, frame, frames, make_buffer


def assert_equal(found: ReplayBuffer, expected: ReplayBuffer) -> None:
    """The same sources with the same content, which give the same batch from the same rng."""
    assert (found.sources, found.tasks, found.rules, found.n_step, len(found)) == (
        expected.sources, expected.tasks, expected.rules, expected.n_step, len(expected),
    )  # fmt: skip
    if not len(expected):
        return
    one, other = (buffer.sample(300, None, np.random.default_rng(5)) for buffer in (found, expected))
    for name in ("action", "reward", "discount", "mc_return", "success", "source", "task"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for key in expected.observations.keys:
        np.testing.assert_array_equal(one.observation[key], other.observation[key])
        np.testing.assert_array_equal(one.next_observation[key], other.next_observation[key])


def run_to(steps: int) -> ReplayBuffer:
    """A buffer that saw the first `steps` steps of the writer's run, never saved."""
    buffer = replay_writer.make()
    for step in range(steps):
        replay_writer.add(buffer, step)
    return buffer


def save_run(folder: Path, steps: int, every: int = 10) -> ReplayBuffer:
    """The same, saved after `every` steps."""
    buffer = replay_writer.make()
    for step in range(steps):
        replay_writer.add(buffer, step)
        if (step + 1) % every == 0:
            buffer.save(folder)
    return buffer


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.safetensors"))


@pytest.mark.parametrize("steps", [5, 90, 1000])
def test_loading_gives_the_same_buffer(tmp_path: Path, steps: int) -> None:
    buffer = save_run(tmp_path / "replay", steps)
    buffer.save(tmp_path / "replay")
    assert_equal(ReplayBuffer.load(tmp_path / "replay"), run_to(steps))


def test_a_loaded_buffer_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    save_run(tmp_path / "replay", 110, every=11)
    buffer = ReplayBuffer.load(tmp_path / "replay")
    for step in range(110, 700):
        replay_writer.add(buffer, step)
        if step % 13 == 0:
            buffer.save(tmp_path / "replay")
    assert_equal(buffer, run_to(700))
    buffer.save(tmp_path / "replay")
    assert_equal(ReplayBuffer.load(tmp_path / "replay"), run_to(700))


STEP = st.tuples(st.just("step"), st.integers(0, 2), st.sampled_from(["", "", "terminated", "truncated", "success"]))
EPISODE = st.tuples(st.just("episode"), st.integers(1, 6), st.booleans())
OPERATION = st.one_of(STEP, STEP, EPISODE, st.just(("save",)), st.just(("reload",)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(capacity=st.integers(2, 20), operations=st.lists(OPERATION, max_size=40))
def test_any_history_of_saves_and_loads_leaves_the_same_buffer(
    tmp_path_factory: pytest.TempPathFactory, capacity: int, operations: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("replay")
    plain, saved = (make_buffer(capacity=capacity, n_step=2, lowest_reward=0.0) for _ in range(2))
    number, newest = 0, dict.fromkeys(range(3), 0)
    for kind, *arguments in operations:
        if kind in ("save", "reload"):
            saved.save(folder)
            saved = ReplayBuffer.load(folder) if kind == "reload" else saved
            continue
        number += 10
        for buffer in (plain, saved):
            if kind == "step":
                stream, end = arguments
                buffer.add_step(
                    "online", stream, frame(newest[stream]), action_of(number), 1.0, frame(number),
                    end in ("terminated", "success"), end == "truncated", end == "success",
                )  # fmt: skip
            elif arguments[0] < capacity:
                length, success = arguments
                actions = np.tile(action_of(number), (length, 1))
                buffer.add_episode("play", frames(number, length + 1), actions, np.ones(length), success, success, "a")
        if kind == "step":
            newest[arguments[0]] = number
    saved.save(folder)
    assert_equal(ReplayBuffer.load(folder), plain)


def test_saving_again_writes_only_what_is_new(tmp_path: Path) -> None:
    folder = tmp_path / "replay"
    buffer = save_run(folder, 200)
    sizes = {path: path.stat().st_mtime_ns for path in parts(folder)}
    replay_writer.add(buffer, 200)
    buffer.save(folder)
    new = [path for path in parts(folder) if path not in sizes]
    assert [path.stat().st_mtime_ns for path in sizes] == list(sizes.values())
    assert len(new) == 1 and new[0].stat().st_size < 2000


def test_saving_without_news_writes_nothing(tmp_path: Path) -> None:
    buffer = save_run(tmp_path / "replay", 50)
    before = os.listdir(tmp_path / "replay")
    buffer.save(tmp_path / "replay")
    assert os.listdir(tmp_path / "replay") == before


def test_parts_that_are_wholly_overwritten_are_removed(tmp_path: Path) -> None:
    save_run(tmp_path / "replay", 3000, every=20)
    # 400 frames in parts of 20 steps, one of them perhaps half overwritten
    assert len(parts(tmp_path / "replay")) <= 400 // 20 + 1


def test_large_sources_are_cut_into_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robot_learning.data.replay_files.PART_BYTES", 3000)
    buffer = run_to(300)
    buffer.save(tmp_path / "replay")
    assert len(parts(tmp_path / "replay")) > 3
    assert_equal(ReplayBuffer.load(tmp_path / "replay"), buffer)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 255
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty])
@pytest.mark.parametrize("steps", [100, 900])
def test_a_damaged_last_part_is_left_out_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], steps: int
) -> None:
    folder = tmp_path / "replay"
    save_run(folder, steps, every=20)
    damage(parts(folder)[-1])
    buffer = ReplayBuffer.load(folder)
    assert "is damaged and left out" in caplog.text
    expected = run_to(steps - 20)
    # Where the ring is full, the frames that the lost part had overwritten may not be on the disk any more.
    assert 0 <= len(expected) - len(buffer) <= (21 if steps > replay_writer.CAPACITY else 0)
    everything = buffer.sample(5000, None, np.random.default_rng(0))
    reference = expected.sample(20000, None, np.random.default_rng(0))
    assert rows_of(everything) <= rows_of(reference)


def rows_of(batch: Any) -> set[tuple[float, ...]]:
    """What a batch says of each frame it holds."""
    columns = (
        batch.observation["observation"][:, 0], batch.action[:, 0], batch.reward, batch.discount,
        batch.next_observation["observation"][:, 0], batch.mc_return, batch.success,
    )  # fmt: skip
    return set(zip(*(column.tolist() for column in columns), strict=True))


def test_a_lost_part_stays_lost_when_saving_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "replay"
    save_run(folder, 100)
    truncate(parts(folder)[-1])
    buffer = ReplayBuffer.load(folder)
    for step in range(90, 130):
        replay_writer.add(buffer, step)
    buffer.save(folder)
    assert_equal(ReplayBuffer.load(folder), run_to(130))
    assert len(list(folder.glob("*.damaged"))) == 1


def test_a_lost_part_in_the_middle_costs_its_own_frames_only(tmp_path: Path) -> None:
    folder = tmp_path / "replay"
    save_run(folder, 300)
    parts(folder)[12].unlink()
    buffer = ReplayBuffer.load(folder)
    assert len(run_to(300)) - len(buffer) == 11
    known, found = (rows_of(b.sample(20000, None, np.random.default_rng(0))) for b in (run_to(300), buffer))
    assert {row[:2] for row in found} < {row[:2] for row in known}  # frames and actions


@pytest.mark.parametrize("moment", range(6))
def test_a_kill_before_any_rename_loses_only_what_was_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    folder, calls, replace = tmp_path / "replay", [0], os.replace

    def mortal(source: Path, target: Path) -> None:
        if calls[0] == moment:
            raise Killed
        calls[0] += 1
        replace(source, target)

    buffer, safe = replay_writer.make(), 0
    monkeypatch.setattr(os, "replace", mortal)
    with pytest.raises(Killed):
        for step in range(100):
            replay_writer.add(buffer, step)
            if step % 9 == 8:
                buffer.save(folder)
                safe = step + 1
    monkeypatch.undo()
    if moment == 0:
        assert not (folder / "manifest.json").exists()
    else:
        found, expected = ReplayBuffer.load(folder), run_to(safe)
        assert len(found) == len(expected)
        if safe:
            assert_equal(found, expected)


def test_a_killed_process_loses_at_most_what_came_since_the_last_save(tmp_path: Path) -> None:
    """SIGKILL at random moments, each time going on from what the one before left."""
    folder, rng = tmp_path / "replay", np.random.default_rng()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, replay_writer.__file__, str(folder)]
    done = 0
    for _ in range(4):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, env=environment, cwd=Path(__file__).parents[2]
        ) as writer:
            assert writer.stdout is not None
            # The kill falls into the work after a random line; what the pipe still holds was said before it.
            for _ in range(int(rng.integers(1, 40))):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
            told = [int(line) for line in writer.stdout.read().split() if line.strip()]
        buffer = ReplayBuffer.load(folder)
        found = replay_writer.steps_in(buffer)
        assert found >= max(told, default=done)
        assert found % replay_writer.STEPS_A_SAVE == 0
        assert_equal(buffer, run_to(found))
        done = found
    assert done > 4 * replay_writer.STEPS_A_SAVE


def test_half_a_part_of_a_killed_process_is_removed_at_the_next_save(tmp_path: Path) -> None:
    save_run(tmp_path / "replay", 20)
    half = tmp_path / "replay" / ".part-00000099-online.safetensors.tmp"
    half.write_bytes(b"half")
    buffer = ReplayBuffer.load(tmp_path / "replay")
    buffer.save(tmp_path / "replay")
    assert not half.exists()


def test_the_folder_of_another_buffer_is_refused(tmp_path: Path) -> None:
    save_run(tmp_path / "replay", 20)
    with pytest.raises(ReplayError, match="holds another replay buffer"):
        run_to(5).save(tmp_path / "replay")


def test_a_second_process_that_saves_there_is_noticed(tmp_path: Path) -> None:
    first = save_run(tmp_path / "replay", 20)
    second = ReplayBuffer.load(tmp_path / "replay")
    for buffer in (first, second):
        replay_writer.add(buffer, 20)
    second.save(tmp_path / "replay")
    with pytest.raises(ReplayError, match="another process has saved"):
        first.save(tmp_path / "replay")


def test_a_save_beside_a_save_is_refused(tmp_path: Path) -> None:
    buffer = save_run(tmp_path / "replay", 20)
    lock = WriterLock(tmp_path / "replay")
    lock.acquire()
    with pytest.raises(DatasetLockedError):
        buffer.save(tmp_path / "replay")
    lock.release()


def test_a_folder_that_was_deleted_is_written_whole(tmp_path: Path) -> None:
    buffer = save_run(tmp_path / "replay", 60)
    for path in (tmp_path / "replay").iterdir():
        path.unlink()
    buffer.save(tmp_path / "replay")
    assert_equal(ReplayBuffer.load(tmp_path / "replay"), buffer)


def test_new_tasks_rules_and_sources_are_saved(tmp_path: Path) -> None:
    buffer = save_run(tmp_path / "replay", 30)
    buffer = ReplayBuffer.load(tmp_path / "replay")
    buffer.add_source("demonstrations", 100)
    episode = np.ones((4, 3), np.float32)
    buffer.add_episode("demonstrations", episode, np.zeros((3, 2)), np.ones(3), True, task="open the drawer")
    buffer.set_rules(gamma=0.5)
    buffer.save(tmp_path / "replay")
    assert_equal(ReplayBuffer.load(tmp_path / "replay"), buffer)


def test_what_is_no_buffer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"found no manifest\.json"):
        ReplayBuffer.load(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    save_run(tmp_path / "replay", 20)
    manifest = tmp_path / "replay" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 2}))
    with pytest.raises(ReplayError, match="version"):
        ReplayBuffer.load(tmp_path / "replay")


def test_a_source_that_grew_after_saving_is_loaded_at_its_new_size(tmp_path: Path) -> None:
    buffer = make_buffer(capacity={"a": 8})
    for number in range(4):
        buffer.reserve("a", 6)
        actions = np.array([action_of(n) for n in range(5)])
        buffer.add_episode("a", frames(10 * number, 6), actions, np.ones(5), True)
        buffer.save(tmp_path / "replay")
    assert_equal(ReplayBuffer.load(tmp_path / "replay"), buffer)
