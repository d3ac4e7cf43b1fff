"""EpisodeRecorder: dataset and bag of an episode, paused, discarded, overridden, interrupted; and its bag converted again."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from robot_learning.contract import IMAGE_PREFIX, Contract
from robot_learning.data import Dataset, DatasetError, DatasetWriteError, DatasetWriter, episode_recorder
from robot_learning.data.bag import Bag
from robot_learning.data.bag_conversion import bag_contract, convert_bag, find_bags
from robot_learning.data.episode_recorder import IDLE, EpisodeRecorder, RecorderError, open_recorded
from robot_learning.data.recording import SUCCESS

from . import ros_messages
from .episodes import PERIOD, T0, Run, action, events, flag
from .recordings import make_contract, make_episode

FRONT = IMAGE_PREFIX + "front"


@pytest.fixture
def contract() -> Contract:
    return make_contract()


@pytest.fixture
def run(tmp_path: Path, contract: Contract) -> Iterator[Run]:
    recorder = EpisodeRecorder(tmp_path / "drawer", contract, config={"task": "x"})
    yield Run(contract, recorder)
    recorder.close()


def converted(run: Run, tmp_path: Path) -> Dataset:
    """The recorder's bags as a dataset."""
    with open_recorded(tmp_path / "again", run.contract) as writer:
        for path in find_bags(run.recorder.root):
            bag = Bag(path)
            found = bag_contract(bag)
            assert found == run.contract
            convert_bag(bag, writer, found)
    return Dataset(tmp_path / "again")


def require_equal(one: Dataset, two: Dataset) -> None:
    """Every value of every frame, and what is said of the episodes."""
    assert (one.num_frames, one.episode_tasks, one.tasks) == (two.num_frames, two.episode_tasks, two.tasks)
    np.testing.assert_array_equal(one.episode_success, two.episode_success)
    np.testing.assert_array_equal(one.episode_ranges, two.episode_ranges)
    for key, feature in one.features.items():
        if feature.is_image:
            np.testing.assert_array_equal(one.images(key, np.arange(len(one))), two.images(key, np.arange(len(two))))
        else:
            np.testing.assert_array_equal(one.column(key), two.column(key), err_msg=key)


def test_frames_of_a_plain_episode(run: Run) -> None:
    run.start()
    sent = [run.tick() for _ in range(4)]
    run.success(True)
    sent.append(run.tick())
    saved = run.recorder.save(run.time)
    assert (saved.index, saved.frames, saved.success) == (0, 5, True)
    dataset = Dataset(run.recorder.root)
    np.testing.assert_array_equal(dataset.column("action"), sent)
    assert dataset.column("next.success").ravel().tolist() == [False] * 3 + [True] * 2
    assert dataset.column("next.reward").ravel().tolist() == [0.0] * 3 + [1.0] * 2
    assert dataset.column("next.done").ravel().tolist() == [False] * 4 + [True]
    np.testing.assert_allclose(dataset.column("observation.age"), 0.01, atol=1e-6)
    home = np.array(run.contract.joints.home)
    np.testing.assert_allclose(dataset.column("observation.state")[:, 0], home[0] + 0.01 * np.arange(5), atol=1e-6)
    assert dataset.episode_tasks == ["open the drawer"]


def test_the_bag_makes_the_same_frames(run: Run, tmp_path: Path) -> None:
    for episode in range(2):
        run.start()
        for number in range(6):
            run.tick("teleop" if number == 2 else "hold" if number == 4 else "policy", requested=np.full(5, 0.5))
            run.success(number >= 3 + episode)
            if number == 3:
                run.task("close the drawer")
        run.recorder.save(run.time)
    require_equal(Dataset(run.recorder.root), converted(run, tmp_path))


def test_human_override_is_marked_per_step(run: Run) -> None:
    run.start()
    for source in ("policy", "teleop", "teleop", "hold", "policy"):
        run.tick(source)
    run.recorder.save(run.time)
    dataset = Dataset(run.recorder.root)
    assert dataset.column("intervention").ravel().tolist() == [False, True, True, False, False]
    assert dataset.column("held").ravel().tolist() == [False, False, False, True, False]
    info = dataset.episode_info(0)
    assert (info["interventions"], info["held"], info["ended_by"]) == (2, 1, "stop")


def test_requested_actions_stand_beside_the_sent_ones(run: Run) -> None:
    run.start()
    wanted = np.full(5, 3.0)
    run.tick(requested=wanted)
    run.tick("hold", requested=np.full(5, np.nan))
    run.recorder.save(run.time)
    np.testing.assert_array_equal(Dataset(run.recorder.root).column("action.requested"), [wanted, np.zeros(5)])


def test_a_request_that_comes_after_its_answer_is_found(run: Run) -> None:
    run.start()
    at = run.time
    for topic, raw in ros_messages.messages_at(run.contract, at).items():
        run.recorder.message(topic, raw, at)
    run.recorder.message("safety_gate/action_sent", action(run.contract, at, np.full(5, 0.1)), at)
    run.recorder.message("safety_gate/action_requested", action(run.contract, at, np.full(5, 0.9)), at + 1)
    run.recorder.save(run.time)
    np.testing.assert_allclose(Dataset(run.recorder.root).column("action.requested"), 0.9)


def test_a_pause_leaves_out_what_came_in_it(run: Run, tmp_path: Path) -> None:
    run.start()
    before = [run.tick() for _ in range(3)]
    run.recorder.pause(run.time)
    run.tick()
    run.success(True)
    run.recorder.resume(run.time)
    after = [run.tick() for _ in range(2)]
    run.recorder.save(run.time)
    dataset, bag = Dataset(run.recorder.root), Bag(run.recorder.root / "bags/episode_000000")
    np.testing.assert_array_equal(dataset.column("action"), before + after)
    assert dataset.column("next.success").ravel().tolist() == [False] * 3 + [True] * 2
    assert dataset.episode_info(0)["paused_before_frames"] == [3]
    assert [event["event"] for event in events(bag)] == ["start", "pause", "resume", "save"]
    assert len(list(bag.messages({"/front/image_raw"}))) == 5
    require_equal(dataset, converted(run, tmp_path))


def test_a_discarded_episode_is_in_no_dataset_but_its_bag_is_kept(run: Run) -> None:
    run.start()
    run.tick()
    kept = run.recorder.discard(run.time)
    assert run.recorder.state == IDLE
    assert Dataset(run.recorder.root).num_episodes == 0
    assert kept is not None and kept.parent == run.recorder.root / "bags/discarded"
    assert [event["event"] for event in events(Bag(kept))] == ["start", "discard"]
    assert find_bags(run.recorder.root) == [run.recorder.root]


def test_the_success_of_one_episode_is_not_that_of_the_next(run: Run) -> None:
    for _ in range(2):
        run.start()
        run.tick()
        if run.recorder.writer.num_episodes == 0:
            run.success(True)
        run.recorder.save(run.time)
    assert Dataset(run.recorder.root).episode_success.tolist() == [True, False]


def test_each_frame_has_the_instruction_of_its_moment(run: Run) -> None:
    run.start()
    run.tick()
    run.task("close the drawer")
    run.tick()
    run.recorder.save(run.time)
    dataset = Dataset(run.recorder.root)
    assert [dataset[i]["task"] for i in range(2)] == ["open the drawer", "close the drawer"]


def test_a_missing_stream_skips_the_tick_and_is_counted(run: Run, tmp_path: Path) -> None:
    run.start()
    sent = [run.tick(silent=("front/image_raw",)), run.tick(), run.tick()]
    wrong = ros_messages.image(run.time - PERIOD + 1, np.zeros((8, 8, 3), np.uint8))
    run.recorder.message("front/image_raw", wrong, run.time - PERIOD + 10**7)
    run.tick(silent=("front/image_raw",))
    sent.append(run.tick())
    run.recorder.save(run.time)
    dataset = Dataset(run.recorder.root)
    np.testing.assert_array_equal(dataset.column("action"), sent[1:])
    assert dataset.episode_info(0)["skipped_ticks"] == 1
    require_equal(dataset, converted(run, tmp_path))


def test_a_stale_stream_is_recorded_with_its_age_and_named(run: Run) -> None:
    run.start()
    run.tick()
    run.tick(silent=("front/image_raw",))
    run.recorder.save(run.time)
    dataset = Dataset(run.recorder.root)
    column = list(run.contract.observation).index(FRONT)
    np.testing.assert_allclose(dataset.column("observation.age")[:, column], [0.01, 0.11], atol=1e-6)
    assert dataset.features["observation.age"].names[column] == FRONT
    assert dataset.episode_info(0)["problems"] == {"front/image_raw": 1}


def test_an_episode_without_frames_is_discarded_with_the_reason(run: Run) -> None:
    run.start()
    run.tick(silent=("front/image_raw",))
    with pytest.raises(RecorderError, match="no frame: front/image_raw: missing"):
        run.recorder.save(run.time)
    assert run.recorder.state == IDLE


@pytest.mark.parametrize("verb", ["save", "pause", "resume", "discard"])
def test_nothing_open_nothing_done(run: Run, verb: str) -> None:
    with pytest.raises(RecorderError, match="cannot"):
        getattr(run.recorder, verb)(run.time)


def test_starting_twice_is_refused(run: Run) -> None:
    run.start()
    with pytest.raises(RecorderError, match="already"):
        run.start()


def test_a_full_disk_loses_the_open_episode_only(run: Run) -> None:
    run.start()
    run.tick()
    run.recorder.save(run.time)
    run.start()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(DatasetWriteError, match="the 1 committed ones are safe"):
            for _ in range(30):
                run.tick()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run.recorder.state == IDLE
    kept = next((run.recorder.root / "bags/discarded").iterdir())
    assert [event["event"] for event in events(Bag(kept))] == ["start"]
    run.start()
    run.tick()
    assert run.recorder.save(run.time).index == 1
    assert len(find_bags(run.recorder.root)) == 2


@contextmanager
def refused_beyond(size: int) -> Iterator[None]:
    """The kernel refuses bytes beyond `size` in a file, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_start_on_a_full_disk_is_no_obstacle_to_the_next(run: Run, size: int) -> None:
    with refused_beyond(size), pytest.raises(DatasetWriteError, match="the disk refused a write"):
        run.start()
    assert run.recorder.state == IDLE
    run.start()
    run.tick()
    assert run.recorder.save(run.time).index == 0


def test_a_bag_that_cannot_be_finished_is_no_obstacle_to_the_next(run: Run) -> None:
    run.start()
    run.tick()
    size = next((run.recorder.root / "bags/recording").iterdir()).stat().st_size
    with refused_beyond(size), pytest.raises(DatasetWriteError, match="the 0 committed ones are safe"):
        run.recorder.save(run.time)
    assert (run.recorder.state, run.recorder.writer.num_episodes) == (IDLE, 0)
    run.start()
    run.tick()
    assert run.recorder.save(run.time).index == 0
    assert [path.name for path in find_bags(run.recorder.root)] == ["episode_000000"]


def test_what_a_kill_left_of_a_bag_that_never_began_is_no_obstacle(run: Run, contract: Contract) -> None:
    root = run.recorder.root
    run.recorder.close()
    (root / "bags/recording").mkdir(parents=True)
    EpisodeRecorder(root, contract).close()
    assert not (root / "bags/recording").exists()


@pytest.mark.parametrize("zeros", ["tail", "page"])
def test_what_a_power_cut_left_of_a_bag_is_no_obstacle_and_is_kept(run: Run, contract: Contract, zeros: str) -> None:
    run.start()
    for _ in range(4):
        run.tick()
    root = run.recorder.root
    raw = (root / "bags/recording/recording_0.mcap").read_bytes()
    run.recorder.close()
    (root / "bags/recording").mkdir()
    middle = raw[: len(raw) * 3 // 4 // 4096 * 4096]
    torn = middle + bytes(4096) + raw[len(middle) + 4096 :] if zeros == "page" else middle.ljust(len(raw), b"\0")
    (root / "bags/recording/recording_0.mcap").write_bytes(torn)
    again = EpisodeRecorder(root, contract)
    again.close()
    (kept,) = (root / "bags/interrupted").iterdir()
    assert str(kept) in again.recovered[0]
    bag = Bag(kept)
    assert [event["event"] for event in events(bag)] == ["start"]
    assert len(list(bag.messages({"/recorder/tick"}))) >= 2


def test_a_bag_that_nobody_can_finish_is_set_apart_as_it_is(
    run: Run, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = run.recorder.root
    run.recorder.close()
    (root / "bags/recording").mkdir(parents=True)
    (root / "bags/recording/recording_0.mcap").write_bytes(b"something")
    monkeypatch.setattr(episode_recorder, "finish_bag", lambda _: {}["what nobody thought of"])
    again = EpisodeRecorder(root, contract)
    again.close()
    assert "as it was left: 'what nobody thought of'" in again.recovered[0]
    (kept,) = (root / "bags/interrupted").iterdir()
    assert (kept / "recording_0.mcap").read_bytes() == b"something"


def test_an_uncommitted_bag_is_set_apart_by_the_next_recorder(run: Run, contract: Contract) -> None:
    run.start()
    run.tick()
    run.recorder.save(run.time)
    root = run.recorder.root
    run.recorder.close()
    (root / "bags/episode_000000").rename(root / "bags/episode_000001")  # a crash between the bag and the dataset
    again = EpisodeRecorder(root, contract)
    again.close()
    assert "was not committed" in again.recovered[0]
    assert len(list((root / "bags/interrupted").iterdir())) == 1


def test_a_dataset_without_the_columns_is_refused(tmp_path: Path, contract: Contract) -> None:
    with DatasetWriter.create(tmp_path / "plain", contract) as writer:
        writer.add_episode(make_episode(contract))
    with pytest.raises(DatasetError, match="without the columns"):
        EpisodeRecorder(tmp_path / "plain", contract)


def test_an_episode_begins_with_what_was_there_before_it(run: Run, tmp_path: Path) -> None:
    run.small |= ros_messages.messages_at(run.contract, run.time)
    streams = tuple(stream.topic for stream in run.contract.observation.values())
    run.start()
    run.tick(silent=streams)
    run.recorder.pause(run.time)
    run.recorder.resume(run.time, ros_messages.messages_at(run.contract, run.time, 1))
    run.tick(silent=streams)
    run.recorder.save(run.time)
    dataset = Dataset(run.recorder.root)
    np.testing.assert_allclose(dataset.column("observation.age"), np.full((2, 3), 0.01), atol=1e-6)
    require_equal(dataset, converted(run, tmp_path))


def test_log_times_never_go_back(run: Run) -> None:
    run.start()
    run.recorder.message(SUCCESS, flag(True), T0 + 1000)
    run.recorder.message(SUCCESS, flag(False), T0 + 500)
    run.tick()
    run.recorder.save(0)
    times = [message.time for message in Bag(run.recorder.root / "bags/episode_000000").messages()]
    assert times == sorted(times)
    assert min(times) == T0
