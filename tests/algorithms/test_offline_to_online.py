"""What the algorithms owe to Stable-Baselines3, and what the base adds: data, mixtures, normalisation, exact continuation."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict
from safetensors.torch import load_file
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from robot_learning.algorithms.cal_ql import CalQL, CalQLConfig
from robot_learning.algorithms.iql import IQL, IQLConfig
from robot_learning.algorithms.observation_policy import EncoderConfig
from robot_learning.algorithms.offline_to_online import (
    DEMONSTRATIONS,
    ONLINE,
    DivergedError,
    OfflineToOnline,
    TrainingError,
)
from robot_learning.algorithms.rlpd import RLPD, RLPDConfig
from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetWriter, Episode
from robot_learning.envs.task_observation import SeededEpisodes

from .worlds import FRONT, INSTRUCTIONS, STATE, PointGoal, PointPicture, add_walks, episode_of, stacked

KINDS: dict[str, tuple[type[OfflineToOnline], Any]] = {
    "CalQL": (CalQL, CalQLConfig(hidden=(16, 16), n_actions=2)),
    "IQL": (IQL, IQLConfig(hidden=(16, 16))),
    "RLPD": (RLPD, RLPDConfig(hidden=(16, 16), critics=3)),
}
every_algorithm = pytest.mark.parametrize("kind", KINDS)


def box(kind: str, env: Any = "Pendulum-v1", **options: Any) -> OfflineToOnline:
    """An algorithm on vector observations."""
    make, config = KINDS[kind]
    return make("MlpPolicy", env, config, **{"batch_size": 16, "seed": 0, **options})


def dictionary(kind: str, env: Any = None, **options: Any) -> OfflineToOnline:
    """An algorithm on a dictionary with a picture and a task."""
    make, config = KINDS[kind]
    encoder = EncoderConfig(channels=(4, 4), kernels=(3, 3), strides=(2, 1))
    given = {
        "batch_size": 16,
        "seed": 0,
        "encoder": encoder,
        "instructions": INSTRUCTIONS,
        "lowest_reward": 0.0,
        **options,
    }
    return make("MultiInputPolicy", env or PointPicture(), config, **given)


WORLDS: dict[str, Callable[..., OfflineToOnline]] = {"box": box, "dictionary": dictionary}
every_world = pytest.mark.parametrize("world", WORLDS)


def observations(model: OfflineToOnline, count: int = 3) -> Any:
    """A batch of observations of the model's space."""
    space = model.observation_space
    space.seed(0)
    drawn = [space.sample() for _ in range(count)]
    return {k: np.stack([d[k] for d in drawn]) for k in drawn[0]} if isinstance(drawn[0], dict) else np.stack(drawn)


def equal_weights(one: OfflineToOnline, other: OfflineToOnline) -> bool:
    first, second = one.state(), other.state()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@every_algorithm
@every_world
def test_it_learns_predicts_saves_and_loads(tmp_path: Path, kind: str, world: str) -> None:
    model = WORLDS[world](kind).learn(30)
    seen = observations(model)
    actions, _ = model.predict(seen, deterministic=True)
    assert actions.shape == (3, *model.action_space.shape)
    assert model.action_space.contains(actions[0])
    model.save(tmp_path / "model.zip")
    env: Any = "Pendulum-v1" if world == "box" else PointPicture()
    loaded = type(model).load(tmp_path / "model.zip", env=gymnasium.make(env) if isinstance(env, str) else env)
    assert np.array_equal(loaded.predict(seen, deterministic=True)[0], actions)
    for name, optimizer in loaded.own_policy.optimizers().items():
        saved = model.own_policy.optimizers()[name].state_dict()["state"]
        assert optimizer.state_dict()["state"].keys() == saved.keys() != set()
    loaded.learn(10, reset_num_timesteps=False)
    assert loaded.num_timesteps == 40
    assert not np.array_equal(loaded.predict(seen, deterministic=True)[0], actions)


@every_algorithm
def test_one_observation_without_a_batch_axis_will_do(kind: str) -> None:
    model = dictionary(kind)
    observation = PointPicture().reset(seed=0)[0]
    assert model.predict(observation)[0].shape == (2,)


def test_without_an_environment_a_saved_model_predicts(tmp_path: Path) -> None:
    model = box("IQL").learn(20)
    model.save(tmp_path / "model.zip")
    seen = observations(model)
    loaded = IQL.load(tmp_path / "model.zip")
    assert np.array_equal(loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0])


class Stop(BaseCallback):
    """Stops after so many calls."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def _on_step(self) -> bool:
        return self.n_calls < self.after


class Fails(BaseCallback):
    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= 5:
            raise KeyError("of the callback")

    def _on_step(self) -> bool:
        return True


def test_a_callback_stops_practice() -> None:
    assert box("IQL").learn(50, callback=Stop(7)).num_timesteps == 7


def test_a_callback_stops_pretraining() -> None:
    model = box("IQL", PointGoal())
    add_walks(model.replay, "prior", PointGoal(), 3, 0.5)
    assert model.pretrain(steps=50, callback=Stop(7)).offline_updates == 7


def test_pretraining_takes_several_callbacks_and_functions() -> None:
    """As `learn` does."""
    model, heard = box("IQL", PointGoal()), []
    add_walks(model.replay, "prior", PointGoal(), 3, 0.5)
    assert model.pretrain(steps=50, callback=[Stop(9), Stop(7)]).offline_updates == 7
    model.pretrain(steps=10, callback=lambda variables, _: heard.append(variables["steps"]) or True)
    assert heard == [10, 10, 10]


def test_a_callback_sees_the_metrics_of_every_update() -> None:
    """Also of each thousandth, after which the logger is emptied."""
    model, seen = box("IQL", PointGoal()), []
    add_walks(model.replay, "prior", PointGoal(), 3, 0.5)
    model.offline_updates = 998

    class Sees(BaseCallback):
        def _on_step(self) -> bool:
            seen.append("train/td_loss" in self.logger.name_to_value)
            return True

    model.pretrain(steps=1001, callback=Sees())
    assert seen == [True, True, True]


def test_exceptions_of_callbacks_pass_through() -> None:
    model = box("IQL")
    with pytest.raises(KeyError, match="of the callback"):
        model.learn(50, callback=Fails())
    assert model._n_updates == 5  # the updates of the last step are done


def test_stable_baselines3_s_callbacks_work(tmp_path: Path) -> None:
    box("CalQL").learn(20, callback=CallbackList([CheckpointCallback(10, str(tmp_path))]))
    assert len(list(tmp_path.glob("*_steps.zip"))) == 2


@every_algorithm
@every_world
def test_several_environments_at_once(kind: str, world: str) -> None:
    make = (lambda: gymnasium.make("Pendulum-v1")) if world == "box" else PointPicture
    model = WORLDS[world](kind, DummyVecEnv([make] * 3), gradient_steps=2).learn(60)
    assert model.num_timesteps == 60 and model._n_updates == 40
    assert model.replay is not None and model.replay.size(ONLINE) == 60


def test_make_vec_env_and_evaluate_policy() -> None:
    env = make_vec_env("Pendulum-v1", n_envs=2, seed=0)
    model = box("RLPD", env).learn(20)
    mean, _ = evaluate_policy(model, env, n_eval_episodes=2)
    assert -2000 < mean < 0


def test_a_tensorboard_file_is_written(tmp_path: Path) -> None:
    box("CalQL", PointGoal(), tensorboard_log=str(tmp_path)).learn(60, log_interval=1)
    assert list(tmp_path.rglob("events.out.tfevents.*"))


@every_algorithm
@every_world
def test_equal_seeds_give_equal_runs(kind: str, world: str) -> None:
    one, other, third = (WORLDS[world](kind, seed=seed).learn(40) for seed in (3, 3, 4))
    assert equal_weights(one, other)
    assert not equal_weights(one, third)


def test_vec_normalize_is_refused() -> None:
    with pytest.raises(TrainingError, match="normalises observations itself"):
        box("IQL", VecNormalize(make_vec_env("Pendulum-v1")))
    model = box("IQL")
    with pytest.raises(TrainingError, match="normalises observations itself"):
        model.set_env(VecNormalize(make_vec_env("Pendulum-v1")))


# --- data -----------------------------------------------------------------------------------------------------------------


def test_without_data_there_is_nothing_to_pretrain_on() -> None:
    with pytest.raises(TrainingError, match="no data"):
        box("IQL").pretrain(steps=1)


@every_algorithm
def test_it_pretrains_from_a_replay_buffer(kind: str) -> None:
    model = dictionary(kind)
    replay = model.new_replay()
    add_walks(replay, DEMONSTRATIONS, PointPicture(), 4, 0.8)
    before = {k: v.clone() for k, v in model.policy.state_dict().items() if "cameras" in k}
    model.pretrain(replay, steps=5)
    assert model.replay is replay and model.offline_updates == 5
    after = model.policy.state_dict()
    assert all(not torch.equal(after[k], v) for k, v in before.items())  # the encoder learns too


def test_pretraining_counts_what_is_done() -> None:
    model = box("IQL", PointGoal())
    add_walks(model.replay, "prior", PointGoal(), 3, 0.5)
    model.pretrain(steps=5)
    assert model.pretrain(steps=8).offline_updates == 8


@pytest.fixture
def minari_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small local Minari dataset of the point world."""
    minari = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    episodes = []
    for number in range(6):
        walk = episode_of(PointGoal(), number, 0.9)
        last = np.arange(len(walk["actions"])) == len(walk["actions"]) - 1
        episodes.append(
            EpisodeBuffer(
                id=number,
                observations=stacked(walk["observations"]),
                actions=0.2 * walk["actions"],
                rewards=walk["rewards"].astype(np.float64),
                terminations=last & walk["terminated"],
                truncations=last & (not walk["terminated"]),
                infos={"is_success": last & walk["terminated"]},
            )
        )
    world = PointGoal()
    minari.create_dataset_from_buffers(
        "point/walk-v0", episodes, observation_space=world.observation_space, action_space=world.action_space,
        data_format="hdf5", requirements=[],
    )  # fmt: skip
    return "point/walk-v0"


minari_warnings = pytest.mark.filterwarnings("ignore::UserWarning:minari")  # author, permalink: of no use here


@every_algorithm
@minari_warnings
def test_it_pretrains_on_a_minari_dataset(minari_id: str, kind: str) -> None:
    model = box(kind, PointGoal(), lowest_reward=0.0)
    model.pretrain(minari_id, steps=10).learn(20)
    assert model.replay is not None and model.replay.statistics()["prior"].successes == 6
    assert (model.offline_updates, model._n_updates) == (10, 20)
    assert model.normalised


@minari_warnings
def test_the_ten_lines_of_the_page_run(minari_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "offline_to_online.md").read_text()
    lines = re.search(r"```python\n(.*?)```", page, re.S)
    assert lines is not None and len(lines[1].splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gymnasium, "make", lambda name: PointGoal() if name == "YourPoint-v0" else None)
    short = re.sub(r"\b\d+_000\b", "20", lines[1])
    assert short != lines[1]
    found: dict[str, Any] = {}
    exec(short, found)
    assert found["model"].num_timesteps == 20
    assert (tmp_path / "point.zip").is_file()


@minari_warnings
def test_several_sets_of_data_by_name(minari_id: str) -> None:
    model = box("IQL", PointGoal(), imitate=("good",)).pretrain({"good": minari_id, "again": minari_id}, steps=1)
    assert model.replay is not None and model.replay.sources == ["good", "again"]


def test_a_dataset_of_ours_becomes_a_source(tmp_path: Path) -> None:
    contract = Contract.load("ur5e_2f85").select([STATE])
    steps, rng = 6, np.random.default_rng(0)
    frames = {
        STATE: rng.normal(size=(steps, 18)).astype(np.float32),
        "action": rng.uniform(-1, 1, (steps, 5)).astype(np.float32),
        "next.reward": np.eye(steps, dtype=np.float32)[:, -1:],
        "next.done": np.eye(steps, dtype=bool)[:, -1:],
        "next.success": np.eye(steps, dtype=bool)[:, -1:],
    }
    with DatasetWriter.create(tmp_path / "set", contract) as writer:
        writer.add_episode(Episode(task="open the drawer", frames=frames, success=True, info={}))
    robot = gymnasium.Env()  # never stepped
    robot.observation_space = Dict({STATE: Box(-9, 9, (18,), np.float32)})
    robot.action_space = Box(-1, 1, (5,), np.float32)
    model = IQL("MultiInputPolicy", robot, IQLConfig(hidden=(16, 16)), batch_size=8)
    model.add_prior(DEMONSTRATIONS, Dataset(tmp_path / "set"), only_success=True)
    assert model.replay is not None and model.replay.statistics()[DEMONSTRATIONS].successes == 1
    assert model.pretrain(steps=2).offline_updates == 2


def test_the_share_of_practice_in_a_batch_is_as_set() -> None:
    model = box("IQL", PointGoal(), batch_size=20, online_share=0.25, prior_shares={"good": 2.0, "bad": 1.0})
    for source in ("good", "bad", "unused"):
        add_walks(model.replay, source, PointGoal(), 4, 0.5)
    seen: list[list[int]] = []
    model.batch = _watch(model.batch, lambda t: seen.append(np.bincount(t.source, minlength=4).tolist()))  # type: ignore[method-assign]
    model.learn(40)
    assert model.replay is not None and model.replay.sources == ["good", "bad", "unused", ONLINE]
    assert [row[2:] for row in seen] == [[0, 5]] * 40
    assert all(row[:2] == [10, 5] for row in seen)


def _watch(method: Callable[..., Any], see: Callable[[Any], None]) -> Callable[..., Any]:
    def watched(transitions: Any) -> Any:
        see(transitions)
        return method(transitions)

    return watched


def test_without_practice_yet_batches_are_of_data_and_without_data_of_practice() -> None:
    model = box("IQL", PointGoal())
    assert model._online_mixture() == {ONLINE: 1.0}
    add_walks(model.replay, "prior", PointGoal(), 1, 0.5)
    assert model._online_mixture() == {"prior": 1.0}


def test_shares_that_leave_nothing_are_refused() -> None:
    model = box("IQL", PointGoal(), prior_shares={"other": 1.0})
    add_walks(model.replay, "prior", PointGoal(), 1, 0.5)
    with pytest.raises(TrainingError, match="leave nothing"):
        model.pretrain(steps=1)


def test_vectors_are_standardised_by_the_data() -> None:
    model = box("IQL", PointGoal())
    replay: Any = model.replay
    add_walks(replay, "prior", PointGoal(), 30, 0.3)
    model.pretrain(steps=1)
    drawn = replay.sample(2000, {"prior": 1.0}, np.random.default_rng(1))
    features = model.batch(drawn).features
    assert features.mean(0).abs().max() < 0.1
    assert features.std(0).numpy() == pytest.approx(np.ones(4), abs=0.1)


def test_the_batch_says_what_is_to_be_imitated_and_what_was_experienced() -> None:
    model = box("IQL", PointGoal())
    replay: Any = model.replay
    add_walks(replay, DEMONSTRATIONS, PointGoal(horizon=5), 8, 0.3)
    add_walks(replay, "play", PointGoal(horizon=5), 8, 0.3)
    model.learn(40)
    drawn = replay.sample(300, None, np.random.default_rng(0))
    batch = model.batch(drawn)
    assert 0 < drawn.success[drawn.source == 0].mean() < 1
    assert np.array_equal(batch.imitate.numpy(), (drawn.source == 0) & drawn.success)
    assert np.array_equal(batch.online.numpy(), drawn.source == 2)


def test_the_replay_buffer_follows_the_model_s_rules() -> None:
    """Rewards, returns and steps are as docs/replay.md says for these options."""
    model = box("IQL", PointGoal(), gamma=0.9, n_step=3, reward_scale=10.0, reward_bias=-5.0, lowest_reward=0.0)
    replay: Any = model.replay
    zeros = np.zeros((5, 4), np.float32)
    replay.add_episode("failures", zeros, np.zeros((4, 2)), np.zeros(4), terminated=False)
    replay.add_episode("successes", zeros, np.zeros((4, 2)), np.array([0, 0, 0, 1.0]), terminated=True, success=True)
    failed = replay.sample(50, {"failures": 1.0}, np.random.default_rng(0))
    assert failed.mc_return == pytest.approx(np.full(50, -50.0))
    done = replay.sample(50, {"successes": 1.0}, np.random.default_rng(0))
    sums = [sum(r * 0.9**k for k, r in enumerate(rewards)) for rewards in ([-5, -5, -5, 5], [-5, -5, 5], [-5, 5], [5])]
    assert {round(float(r), 3) for r in done.mc_return} == {round(s, 3) for s in sums}
    assert {round(float(r), 3) for r in done.reward} == {round(s, 3) for s in [-5 - 4.5 - 4.05, *sums[1:]]}
    assert set(done.discount.tolist()) == {0.0, np.float32(0.9**3)}


def test_practice_ends_as_the_environment_says() -> None:
    """Truncated episodes have no return without a lowest reward; terminated ones have theirs."""
    model = box("IQL", PointGoal(horizon=3, radius=0.3), gamma=0.5).learn(90)
    practised: Any = model.replay.statistics()[ONLINE]  # type: ignore[union-attr]
    drawn = model.replay.sample(500, {ONLINE: 1.0}, np.random.default_rng(0))  # type: ignore[union-attr]
    assert 0 < practised.successes < practised.episodes
    assert np.array_equal(np.isfinite(drawn.mc_return), drawn.success)
    assert set(drawn.mc_return[drawn.success].tolist()) <= {1.0, 0.5, 0.25}
    assert set(drawn.discount[~drawn.success].tolist()) == {0.5}


def test_a_given_buffer_takes_over_the_model_s_rules() -> None:
    model = box("IQL", PointGoal(), gamma=0.5, n_step=2, lowest_reward=0.0)
    replay = box("IQL", PointGoal(), gamma=0.9).new_replay()
    add_walks(replay, "prior", PointGoal(), 5, 0.5)
    model.pretrain(replay, steps=1)
    assert (replay.n_step, replay.rules.gamma, replay.rules.lowest_reward) == (2, 0.5, 0.0)


def test_a_buffer_for_other_tasks_is_refused() -> None:
    model = dictionary("IQL")
    replay = dictionary("IQL", instructions=tuple(reversed(INSTRUCTIONS))).new_replay()
    with pytest.raises(TrainingError, match="go left"):
        model.pretrain(replay, steps=1)


def test_a_buffer_of_other_observations_is_refused() -> None:
    with pytest.raises(TrainingError, match="observations"):
        dictionary("IQL").pretrain(box("IQL", PointGoal()).new_replay(), steps=1)


def test_scaled_actions_are_stored_and_the_environment_s_are_done() -> None:
    model = box("IQL", PointGoal()).learn(30)
    drawn = model.replay.sample(100, None, np.random.default_rng(0))  # type: ignore[union-attr]
    moved = drawn.next_observation["observation"][:, :2] - drawn.observation["observation"][:, :2]
    inside = np.abs(drawn.next_observation["observation"][:, :2] - 0.5) < 0.49
    assert np.abs(moved - 0.2 * drawn.action)[inside].max() < 1e-5
    assert np.abs(drawn.action).max() > 0.5


def test_the_task_is_told_by_the_instruction() -> None:
    model = dictionary("IQL").learn(60)
    replay: Any = model.replay
    assert replay.tasks == list(INSTRUCTIONS)
    drawn = replay.sample(200, None, np.random.default_rng(0))
    column = drawn.observation[FRONT].max(axis=(1, 3)).argmax(axis=1)  # the goal is at the left or at the right
    assert np.array_equal(column > 5, drawn.task == 1) and 0 < drawn.task.mean() < 1
    at = model.own_policy.encoder.spec.vectors[STATE]
    batch = model.batch(drawn)
    assert np.array_equal(batch.features[:, at : at + 2].detach().numpy(), np.eye(2, dtype=np.float32)[drawn.task])


# --- what goes wrong ------------------------------------------------------------------------------------------------------


@every_algorithm
def test_a_loss_that_is_not_finite_stops_and_leaves_the_batch(tmp_path: Path, kind: str) -> None:
    model = box(kind, PointGoal())
    add_walks(model.replay, "prior", PointGoal(), 3, 0.5)
    model.pretrain(steps=3)
    model.diverged_folder = tmp_path
    with torch.no_grad():
        model.own_policy.update.critics.biases[-1][0, 0] = math.nan
    with pytest.raises(DivergedError, match=r"diverged_3_0\.safetensors") as error:
        model.pretrain(steps=10)
    (path,) = tmp_path.iterdir()
    assert str(path) in str(error.value) and "td_loss" in str(error.value)
    batch = load_file(path)
    assert batch["observation/observation"].shape == (16, 4) and batch["reward"].shape == (16,)


@every_algorithm
def test_a_weight_that_is_not_finite_is_noticed_at_once(tmp_path: Path, kind: str) -> None:
    model = box(kind, PointGoal())
    add_walks(model.replay, "prior", PointGoal(), 3, 0.5)
    model.diverged_folder = tmp_path
    with torch.no_grad():
        model.own_policy.update.critics.weights[0][0, 0, 0] = math.nan
    with pytest.raises(DivergedError, match="weight_norm"):
        model.pretrain(steps=1)


# --- going on exactly -----------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


class SaveAt(BaseCallback):
    """Keeps everything at the first end of an episode after so many steps, and interrupts."""

    def __init__(self, steps: int, folder: Path, episodes: SeededEpisodes) -> None:
        super().__init__()
        self.steps, self.folder, self.episodes = steps, folder, episodes
        self.over = True

    def _on_rollout_start(self) -> None:
        if self.over and self.num_timesteps >= self.steps:
            model: Any = self.model
            self.kept = {k: v.clone() for k, v in model.state().items()}
            self.episode = self.episodes.episode - 1  # the one that a vector environment has begun already
            model.save_replay_buffer(self.folder)
            raise Interrupted

    def _on_step(self) -> bool:
        self.over = bool(self.locals["dones"][0])
        return True


@every_algorithm
@every_world
def test_interrupted_and_resumed_is_uninterrupted_to_the_bit(tmp_path: Path, kind: str, world: str) -> None:
    plain: Any = PointGoal if world == "box" else PointPicture

    def start(episode: int = 0) -> tuple[OfflineToOnline, SeededEpisodes]:
        env = SeededEpisodes(plain(horizon=7), seed=5)
        model = WORLDS[world](kind, env, learning_starts=5)
        env.episode = episode
        return model, env

    straight, _ = start()
    add_walks(straight.replay, DEMONSTRATIONS, plain(), 4, 0.7)
    straight.pretrain(steps=6)
    straight.learn(60)

    first, _ = start()
    add_walks(first.replay, DEMONSTRATIONS, plain(), 4, 0.7)
    first.pretrain(steps=3)
    first.save_replay_buffer(tmp_path / "offline")
    kept = {k: v.clone() for k, v in first.state().items()}

    second, episodes = start()
    second.load_state(kept)
    second.load_replay_buffer(tmp_path / "offline")
    second.pretrain(steps=6)
    save = SaveAt(20, tmp_path / "online", episodes)
    with pytest.raises(Interrupted):
        second.learn(60, callback=save, reset_num_timesteps=False)

    third, _ = start(save.episode)
    third.load_state(save.kept)
    third.load_replay_buffer(tmp_path / "online")
    third.pretrain(steps=6)
    third.learn(60 - third.num_timesteps, reset_num_timesteps=False)
    assert third.num_timesteps == 60 and third.offline_updates == 6
    assert equal_weights(third, straight)


def test_a_state_survives_plain_tensors() -> None:
    """What `state` returns are tensors only, that safetensors can keep."""
    model = dictionary("RLPD").learn(10)
    assert all(isinstance(value, torch.Tensor) for value in model.state().values())
