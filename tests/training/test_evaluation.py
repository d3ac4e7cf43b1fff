import dataclasses
from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np
import pytest

from robot_learning.contract import Contract, ContractError
from robot_learning.envs.observation import observed_contract
from robot_learning.training.evaluation import EpisodeResult, EvaluationResult, evaluate, make_playroom

from . import point_world


class Chaser:
    """Finds the yellow square in the picture and goes there, whatever the task; blind beyond the first `sight` ticks."""

    def __init__(self, sight: int = 1000) -> None:
        self.contract, self.tasks, self.sight = point_world.contract(), list(point_world.TASKS.values()), sight
        self.ticks = 0

    def reset(self) -> None:
        self.ticks = 0

    def predict(self, observation: Mapping[str, np.ndarray], task: str) -> np.ndarray:
        self.ticks += 1
        image = observation["observation.images.front"].astype(int)
        rows, columns = np.nonzero(image[..., 0] > 200)
        if not len(rows) or self.ticks > self.sight:
            return np.zeros(5, np.float32)
        corner = np.array([columns.min(), rows.min()])
        way = corner / (point_world.SIZE - 5) * 2.4 - 1.2 - observation["observation.state"][13:15]
        return np.append(np.clip(way * 3, -1, 1), [0, 0, 0]).astype(np.float32)


class ShortSighted(Chaser):
    """Reaches only squares that are near."""

    def __init__(self) -> None:
        super().__init__(sight=4)


class StrangersPolicy(Chaser):
    """Made for a faster robot."""

    def __init__(self) -> None:
        super().__init__()
        self.contract = dataclasses.replace(self.contract, rate=20.0)


def run(policy: type[Chaser], episodes: int = 6, processes: int = 0, folder: Path | None = None) -> EvaluationResult:
    return evaluate(
        policy,
        ["reach", "flee"],
        episodes=episodes,
        seed=50,
        processes=processes,
        make_env=point_world.make_env,
        video_dir=folder,
        videos=1,
    )


def test_successes_are_counted_per_task() -> None:
    result = run(Chaser)
    assert (result.tasks["reach"].successes, result.tasks["flee"].successes) == (6, 0)
    assert (result.rate, result.episodes) == (0.5, 12)


def test_a_task_that_is_named_twice_counts_once() -> None:
    result = evaluate(Chaser, ["reach", "reach"], episodes=2, seed=50, processes=0, make_env=point_world.make_env)
    assert result.tasks["reach"].episodes == result.episodes == 2


def test_each_task_has_its_wilson_interval() -> None:
    low, high = run(Chaser).tasks["reach"].interval
    assert low == pytest.approx(0.6097, abs=1e-4)
    assert high == pytest.approx(1.0)


def test_failures_run_to_the_time_limit() -> None:
    assert run(Chaser).tasks["flee"].mean_length == 25


def test_worker_processes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # the workers import this module by the name pytest gave it
    monkeypatch.syspath_prepend(str(Path(__file__).parents[Chaser.__module__.count(".")]))
    assert run(ShortSighted, processes=2).to_dict() == run(ShortSighted).to_dict()


def test_an_episode_depends_on_its_seed_only() -> None:
    few, many = run(ShortSighted, episodes=3), run(ShortSighted, episodes=9)
    expected = tuple(seed for seed in many.tasks["reach"].failed_seeds if seed < 53)
    assert few.tasks["reach"].failed_seeds == expected
    assert many.tasks["reach"].failed_seeds  # or the test above says nothing


def test_videos_of_the_first_success_and_failure_are_saved(tmp_path: Path) -> None:
    names = [path.name for path in run(Chaser, folder=tmp_path).videos]
    assert names == ["reach_success_seed_50.mp4", "flee_failure_seed_50.mp4"]


def test_a_video_shows_every_tick(tmp_path: Path) -> None:
    run(Chaser, folder=tmp_path)
    with av.open(str(tmp_path / "flee_failure_seed_50.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "h264"
    assert (len(frames), frames[0].shape) == (25, (288, 288, 3))


def test_an_environment_of_another_robot_is_refused() -> None:
    with pytest.raises(ContractError, match=r"rate: 10\.0 here, 20\.0 there"):
        run(StrangersPolicy)


def test_the_default_environment_has_the_cameras_of_the_policy() -> None:
    from robot_learning.training.evaluation import make_playroom

    wanted = (
        Contract.load("ur5e_2f85").select(["observation.state", "observation.images.wrist"]).with_image_size(64, 64)
    )
    env = make_playroom("open_drawer", wanted)
    env.unwrapped.contract.require(wanted, "the policy")  # type: ignore[attr-defined]
    env.close()


def test_evaluation_at_one_desk_moves_no_furniture() -> None:
    from robot_learning.training.evaluation import make_playroom

    env = make_playroom("open_drawer", Contract.load("ur5e_2f85").select(["observation.state"]), furniture=3)
    room, desks = env.unwrapped.room, []  # type: ignore[attr-defined]
    for seed in (1, 2):
        env.reset(seed=seed)
        desks.append(room.pose("desk")[0])
    env.close()
    np.testing.assert_array_equal(*desks)


def test_known_episodes_are_not_run_again() -> None:
    known = [EpisodeResult("reach", 50 + index, False, 999) for index in range(6)]
    ran: list[EpisodeResult] = []
    result = evaluate(
        Chaser,
        ["reach", "flee"],
        episodes=6,
        seed=50,
        processes=0,
        make_env=point_world.make_env,
        known=known,
        on_result=ran.append,
    )
    assert [(r.task, r.seed) for r in ran] == [("flee", 50 + index) for index in range(6)]
    assert result.tasks["reach"].failed_seeds == tuple(range(50, 56))


def test_interrupted_and_continued_equals_uninterrupted() -> None:
    episodes: list[EpisodeResult] = []
    whole = evaluate(
        ShortSighted,
        ["reach"],
        episodes=6,
        seed=50,
        processes=0,
        make_env=point_world.make_env,
        on_result=episodes.append,
    )
    known = [episodes[4], episodes[0]]
    again = evaluate(
        ShortSighted, ["reach"], episodes=6, seed=50, processes=0, make_env=point_world.make_env, known=known
    )
    assert again == whole


def test_the_playroom_is_built_for_the_policy_s_robot_cameras_and_picture_size() -> None:
    contract = observed_contract(Contract.load("ur5e_2f85"), ("wrist",), 48, 64)
    env = make_playroom("open_drawer", contract)
    assert env.unwrapped.contract.differences(contract) == []  # type: ignore[attr-defined]
    env.close()
