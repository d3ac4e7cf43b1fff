"""What a run of reinforcement learning starts from: its environment, its algorithm and its data."""

from __future__ import annotations

from typing import Any

import gymnasium

from robot_learning.algorithms.offline_to_online import DEMONSTRATIONS, ONLINE, OfflineToOnline
from robot_learning.contract import ENVIRONMENT_STATE, IMAGE_PREFIX, STATE, Contract
from robot_learning.data import Dataset
from robot_learning.data.transitions import add_dataset, add_relabelled
from robot_learning.envs import TASKS
from robot_learning.envs.state_success import STATE_SUCCESS
from robot_learning.envs.task_observation import SeededEpisodes, TaskObservation
from robot_learning.envs.tasks import instruction_of
from robot_learning.training.practice_env import contract_of, in_turn, make_practice_env, on_robot
from robot_learning.training.rl_config import RUNS, RLConfig, name_of
from robot_learning.training.run_state import RunError

PLAY, ATTEMPTS = "play", "play_attempts"  # sources of the replay buffer


def make_env(config: RLConfig) -> SeededEpisodes:
    """The environment to practise in: tasks in turn, every episode seeded by its number.

    Raises:
        RunError: there is none of this name and kind, `inputs` is unknown, or another task is to recover.
    """
    others = [task for task in config.autonomy.schedule.recover if task not in config.tasks]
    if others:
        raise RunError(
            f"--recover {' '.join(others)}: {name_of(config)} knows no tasks but those of the run, {list(config.tasks)}; "
            "train it on these too, or practise with a clone of prior data"
        )
    cameras = config.cameras if config.inputs == "images" else ()
    env = make_practice_env(config.env, config.tasks, cameras, config.image_size, config.robot, config.autonomy)
    return in_turn(Selected(env, observed(config, contract_of(env))), config.env, config.tasks, config.seed)


def observed(config: RLConfig, contract: Contract) -> list[str]:
    """The keys that the policy reads, of those the environment offers."""
    if config.inputs == "images":
        return [STATE, *(IMAGE_PREFIX + camera for camera in config.cameras)]
    if config.inputs == "state":
        return [STATE, *([ENVIRONMENT_STATE] if ENVIRONMENT_STATE in contract.observation else [])]
    raise RunError(f"unknown inputs {config.inputs!r}; valid: ['images', 'state']")


class Selected(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Only these keys of a dictionary observation."""

    def __init__(self, env: gymnasium.Env[Any, Any], keys: list[str]) -> None:
        super().__init__(env)
        self.keys = keys
        spaces = env.observation_space.spaces  # type: ignore[attr-defined]
        self.observation_space = gymnasium.spaces.Dict({key: spaces[key] for key in keys})

    def observation(self, observation: Any) -> Any:
        """The chosen part."""
        return {key: observation[key] for key in self.keys}


def instructions_of(env: SeededEpisodes) -> list[str]:
    """The instructions of its tasks, in the order of the one-hot."""
    tasks: TaskObservation = env.env  # type: ignore[assignment]
    return tasks.instructions


def make_algorithm(config: RLConfig, env: SeededEpisodes) -> OfflineToOnline:
    """The algorithm, untrained and without data; on a robot it learns between episodes, so that no control tick waits for it."""
    kind = RUNS[name_of(config)][1]
    return kind(
        "MultiInputPolicy",
        env,
        config.settings,  # type: ignore[attr-defined]
        batch_size=config.batch_size,
        gamma=config.gamma,
        n_step=config.n_step,
        online_share=config.online_share,
        lowest_reward=0.0,
        imitate=(DEMONSTRATIONS, ONLINE),
        train_freq=(1, "episode") if on_robot(config.env) else 1,
        gradient_steps=config.updates_per_step,
        encoder=config.encoder,
        instructions=tuple(instructions_of(env)),
        seed=config.seed,
    )


def add_data(config: RLConfig, algorithm: OfflineToOnline, env: SeededEpisodes) -> None:
    """Fill the replay buffer with demonstrations and play.

    Play serves every task: what its recorded object states show to be done is relabelled (`STATE_SUCCESS`); of the other tasks
    the attempts are taken that were made at them.

    Raises:
        RunError: there are none. ReplayError, DatasetError, ContractError: they do not fit.
    """
    assert algorithm.replay is not None
    spaces = env.observation_space.spaces  # type: ignore[attr-defined]
    contract = contract_of(env).select([key for key in spaces if key != "task"])
    for folder in config.dataset:
        add_dataset(algorithm.replay, DEMONSTRATIONS, Dataset(folder), tasks=instructions_of(env), contract=contract)
    for folder in config.play:
        _add_play(config, algorithm, Dataset(folder), contract)
    if not any(algorithm.replay.size(source) for source in algorithm.replay.sources):
        raise RunError("no data to learn from: name a dataset of demonstrations (--dataset)")


def _add_play(config: RLConfig, algorithm: OfflineToOnline, dataset: Dataset, contract: Contract) -> None:
    assert algorithm.replay is not None
    shown = {name: STATE_SUCCESS[name] for name in config.tasks if name in STATE_SUCCESS}
    if shown and ENVIRONMENT_STATE in dataset.features:
        told = {TASKS[name].instruction: success for name, success in shown.items()}
        add_relabelled(algorithm.replay, PLAY, dataset, told, contract=contract)
    else:
        shown = {}
    others = {instruction_of(name) for name in config.tasks if name not in shown} & set(dataset.tasks)
    if others:
        add_dataset(algorithm.replay, ATTEMPTS, dataset, tasks=sorted(others), contract=contract)
