"""OfflineToOnline: what Cal-QL, IQL and RLPD share as Stable-Baselines3 algorithms. See docs/offline_to_online.md.

`pretrain` learns from data; `learn` is Stable-Baselines3's own, whose every step adds to the replay buffer and whose updates mix
what was given with what was experienced. A subclass brings the networks and one gradient step (`make_update`).

All randomness is torch's global generator, `self.rng` and the action space's; everything else that the next step depends on is in
`state()` and the replay buffer. So training that stopped at the end of an episode goes on exactly as it would have.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, unwrap_vec_normalize
from torch import Tensor, nn

from robot_learning.algorithms.batches import (
    DEMONSTRATIONS,
    ONLINE,
    PRIOR,
    Batch,
    TrainingError,
    make_batch,
    online_mixture,
    pick,
    prior_mixture,
    require_alike,
    save_transitions,
    standardise,
    stored_space,
    without_task,
)
from robot_learning.algorithms.observation_policy import TASK, EncoderConfig, ObservationPolicy
from robot_learning.algorithms.whole_state import load_whole_state, whole_state
from robot_learning.contract import Contract
from robot_learning.data import Dataset
from robot_learning.data.minari_import import add_minari
from robot_learning.data.observations import FeatureEncoder
from robot_learning.data.replay import ReplayBuffer
from robot_learning.data.replay_batch import Transitions
from robot_learning.data.transitions import add_dataset
from robot_learning.errors import UserError
from robot_learning.policies import Checkpoint, actor_checkpoint


class DivergedError(UserError, FloatingPointError):
    """A loss is no longer finite; the message names the file with the batch that caused it."""


class OfflineToOnline(OffPolicyAlgorithm):
    """Base of the algorithms; arguments beyond Stable-Baselines3's:

    Args:
        config: the subclass's settings (`config_type`).
        online_share: share of a batch that is taken from experience, once there is any.
        prior_shares: how the rest is split among the other sources, by name; equally when empty.
        n_step: a transition spans up to so many steps.
        reward_scale, reward_bias: applied to rewards when they are learned from.
        lowest_reward: the least reward of a step, before scaling; makes returns of truncated episodes lower bounds
            (`robot_learning.data.returns`). None: such episodes have no bound.
        imitate: sources whose successful episodes the imitation term copies.
        frozen: networks by picture key whose features stand for the pictures.
        instructions: the tasks, sorted, when observations tell one (`task`); task_embeddings: `(tasks, n)`, else one-hot.
    """

    config_type: ClassVar[type[Any]]
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ObservationPolicy,
        "MultiInputPolicy": ObservationPolicy,
    }

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        config: Any = None,
        *,
        batch_size: int = 256,
        gamma: float = 0.99,
        n_step: int = 1,
        online_share: float = 0.5,
        prior_shares: Mapping[str, float] | None = None,
        reward_scale: float = 1.0,
        reward_bias: float = 0.0,
        lowest_reward: float | None = None,
        imitate: tuple[str, ...] = (DEMONSTRATIONS,),
        encoder: EncoderConfig | None = None,
        frozen: Mapping[str, FeatureEncoder] | None = None,
        instructions: tuple[str, ...] = (),
        task_embeddings: np.ndarray | None = None,
        buffer_size: int = 1_000_000,
        learning_starts: int = 0,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        device: torch.device | str = "cpu",
        seed: int | None = None,
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate=0.0,  # each network has its own, in `config`
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            batch_size=batch_size,
            gamma=gamma,
            train_freq=train_freq,
            gradient_steps=gradient_steps,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            seed=seed,
            support_multi_env=True,
            sde_support=False,
            supported_action_spaces=(Box,),
        )
        self.config = self.config_type() if config is None else config
        self.n_step, self.online_share = n_step, online_share
        self.prior_shares = dict(prior_shares or {})
        self.reward_scale, self.reward_bias, self.lowest_reward = reward_scale, reward_bias, lowest_reward
        self.imitate = tuple(imitate)
        self.encoder_config = encoder or EncoderConfig()
        self.frozen = dict(frozen or {})
        self.instructions, self.task_embeddings = tuple(instructions), task_embeddings
        self.replay: ReplayBuffer | None = None
        self.offline_updates = 0
        self.rng = np.random.default_rng(seed)
        self.normalised = False
        self.diverged_folder: str | Path = "."
        if _init_setup_model:
            self._setup_model()

    # --- what a subclass brings -----------------------------------------------------------------------------------------

    @staticmethod
    def make_update(features: int, actions: int, config: Any) -> nn.Module:
        """The networks, with `actor`, optimisers as attributes, and `step(batch) -> metrics`."""
        raise NotImplementedError

    # --- Stable-Baselines3's hooks --------------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        if self.replay is None:
            self.replay = self.new_replay()
        self.policy_kwargs = {
            "make_update": partial(type(self).make_update, config=self.config),
            "encoder": self.encoder_config,
            "frozen": self.frozen,
            "task_embeddings": self.task_embeddings,
        }
        self.policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        self.policy = self.policy.to(self.device)
        self._convert_train_freq()

    @property
    def own_policy(self) -> Any:
        """`policy`, known to be an `ObservationPolicy`."""
        return self.policy

    def new_replay(self) -> ReplayBuffer:
        """An empty replay buffer for this algorithm's observations and actions."""
        return ReplayBuffer(
            stored_space(self.observation_space, self.instructions),
            self.action_space,  # type: ignore[arg-type]
            capacity=self.buffer_size,
            gamma=self.gamma,
            n_step=self.n_step,
            reward_scale=self.reward_scale,
            reward_bias=self.reward_bias,
            lowest_reward=self.lowest_reward,
            encoders=self.frozen,
            tasks=self.instructions,
        )

    def use_replay(self, replay: ReplayBuffer) -> None:
        """Learn from `replay` from now on; it takes over this algorithm's discount, steps and treatment of rewards.

        Raises:
            TrainingError: its observations, actions or tasks are others.
        """
        expected = self.new_replay()
        require_alike(replay, expected)
        replay.set_rules(**dataclasses.asdict(expected.rules))
        replay.n_step = self.n_step
        self.replay = replay

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As Stable-Baselines3's, but pictures stay `(H, W, C)`, and `VecNormalize` is refused (`TrainingError`)."""
        if isinstance(env, VecEnv) and unwrap_vec_normalize(env) is not None:
            raise TrainingError(
                "VecNormalize: this algorithm normalises observations itself; pass the bare environment"
            )
        if isinstance(env, VecEnv):
            return env
        wrapped = Monitor(env) if monitor_wrapper else env
        return DummyVecEnv([lambda: wrapped])

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "replay", "policy_kwargs", "diverged_folder"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", *(f"policy.{name}" for name in self.own_policy.optimizers())], []

    def save_replay_buffer(self, path: Any) -> None:
        """Save the replay buffer as a folder (`ReplayBuffer.save`)."""
        assert self.replay is not None
        self.replay.save(path)

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> None:
        """Take the replay buffer of a folder; episodes that were under way end there as truncated."""
        self.use_replay(ReplayBuffer.load(path, self.frozen))
        assert self.replay is not None
        if truncate_last_traj and ONLINE in self.replay.sources:
            self.replay.cut(ONLINE)

    def _store_transition(
        self, replay_buffer: Any, buffer_action: np.ndarray, new_obs: Any, reward: Any, dones: Any, infos: Any
    ) -> None:
        assert self.replay is not None
        for index, done in enumerate(dones):
            before, after, info = pick(self._last_obs, index), pick(new_obs, index), infos[index]
            if done and info.get("terminal_observation") is not None:
                after = info["terminal_observation"]
            truncated = bool(done and info.get("TimeLimit.truncated", False))
            action = buffer_action[index]
            if info.get("lost"):  # nothing is known of what this action led to
                self.replay.cut(ONLINE, index)
                continue
            if "action_taken" in info:  # a person's, or that of a robot which held
                action = self.own_policy.scale_action(info["action_taken"])
            self.replay.add_step(
                ONLINE,
                index,
                without_task(before),
                action,
                float(reward[index]),
                without_task(after),
                terminated=bool(done) and not truncated,
                truncated=truncated,
                success=bool(info.get("is_success", info.get("success", False))),
                task=self._task(before, info),
            )
        self._last_obs = new_obs

    def _task(self, observation: Any, info: Mapping[str, Any]) -> str:
        if isinstance(observation, Mapping) and TASK in observation:
            return self.instructions[int(np.argmax(observation[TASK]))]
        return str(info.get("instruction", ""))

    # --- learning -------------------------------------------------------------------------------------------------------

    def add_prior(self, source: str, data: Any, **options: Any) -> None:
        """Add a `Dataset` (options: `add_dataset`'s) or a Minari dataset or its id to the replay buffer as `source`."""
        assert self.replay is not None
        if isinstance(data, Dataset):
            add_dataset(self.replay, source, data, **options)
        else:
            add_minari(self.replay, source, data, **options)

    def pretrain(self, data: Any = None, steps: int = 10_000, callback: MaybeCallback = None) -> OfflineToOnline:
        """Learn from data alone, until `steps` offline updates are done in all.

        Args:
            data: what to learn from, unless it is in the replay buffer already: a `Dataset`, a Minari dataset or its id, a
                `ReplayBuffer` (which becomes this algorithm's), or several of the first by the name of their source.
            callback: as `learn` takes them; `on_rollout_start` before and `on_step` after each update, which ends it by False.

        Raises:
            TrainingError: there is nothing to learn from. DivergedError: a loss is not finite.
        """
        self._take(data)
        assert self.replay is not None
        if not any(self.replay.size(source) for source in self.replay.sources if source != ONLINE):
            raise TrainingError("pretrain: there is no data to learn from; pass a dataset, or add one with add_prior")
        if not self.normalised:
            self.fit_normalisation()
        if not hasattr(self, "_logger"):
            self._logger = configure_logger(self.verbose, self.tensorboard_log, "pretrain", True)
        hook = self._init_callback(callback)
        hook.on_training_start(locals(), globals())
        self.policy.set_training_mode(True)
        self.own_policy.update.online = False
        while self.offline_updates < steps:
            hook.on_rollout_start()
            for name, value in self._update(self._prior_mixture()).items():
                self.logger.record_mean(f"train/{name}", value)
            self.offline_updates += 1
            if not hook.on_step():
                break
            if self.offline_updates % 1000 == 0:  # after the callback, as it empties the logger
                self.logger.dump(self.offline_updates)
        hook.on_training_end()
        return self

    def _take(self, data: Any) -> None:
        """Make what `pretrain` was given the content of the replay buffer."""
        if isinstance(data, ReplayBuffer):
            self.use_replay(data)
        elif data is not None:
            for source, part in data.items() if isinstance(data, Mapping) else [(PRIOR, data)]:
                self.add_prior(source, part)

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Gradient steps on batches that mix experience with prior data; called by `learn`."""
        assert self.replay is not None
        if not self.normalised and any(self.replay.size(s) for s in self.replay.sources if s != ONLINE):
            self.fit_normalisation()
        self.policy.set_training_mode(True)
        self.own_policy.update.online = True
        for _ in range(gradient_steps):
            for name, value in self._update(self._online_mixture()).items():
                self.logger.record_mean(f"train/{name}", value)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def fit_normalisation(self) -> None:
        """Standardise vectors by the mean and spread they have in what is learned from at present."""
        assert self.replay is not None
        standardise(self.own_policy.encoder, self.replay, self._prior_mixture())
        self.normalised = True

    def _prior_mixture(self) -> dict[str, float]:
        assert self.replay is not None
        return prior_mixture(self.replay, self.prior_shares)

    def _online_mixture(self) -> dict[str, float]:
        assert self.replay is not None
        return online_mixture(self.replay, self.prior_shares, self.online_share)

    def _update(self, mixture: Mapping[str, float]) -> dict[str, float]:
        """One gradient step; the subclass's `step` does it."""
        assert self.replay is not None
        transitions = self.replay.sample(self.batch_size, mixture, self.rng)
        optimizer = self.own_policy.encoder_optimizer
        if optimizer is not None:
            optimizer.zero_grad(set_to_none=True)
        metrics: dict[str, float] = self.own_policy.update.step(self.batch(transitions))
        # fused kernels may turn a NaN inside a network into 0, so that no loss shows it
        metrics["weight_norm"] = torch.stack(torch._foreach_norm(list(self.policy.parameters()))).norm().item()
        if not all(map(math.isfinite, metrics.values())):
            path = Path(self.diverged_folder) / f"diverged_{self.offline_updates}_{self.num_timesteps}.safetensors"
            save_transitions(path, transitions)
            wrong = {name: value for name, value in metrics.items() if not math.isfinite(value)}
            raise DivergedError(
                f"not finite after {self.offline_updates} offline and {self._n_updates} online updates: {wrong}; the batch is "
                f"in {path}. Go on from the last save with a lower learning rate, and look for outliers in rewards and "
                "observations."
            )
        if optimizer is not None:
            optimizer.step()
        return metrics

    def batch(self, transitions: Transitions) -> Batch:
        """Transitions as the networks see them; pictures cut at random."""
        assert self.replay is not None
        return make_batch(transitions, self.replay, self.imitate, self.own_policy, self.rng)

    def checkpoint(
        self, contract: Contract, tasks: list[str], *, sample: bool, facts: Mapping[str, Any], success: list[str]
    ) -> Checkpoint:
        """The policy so far, to be deployed; `tasks` are its instructions in the order of the one-hot."""
        training = {"algorithm": type(self).__name__, "training": dataclasses.asdict(self.config)}
        policy = self.own_policy
        return actor_checkpoint(
            policy.encoder, policy.update.actor, contract, tasks,
            sample=sample, training=training, facts=facts, success=success,
        )  # fmt: skip

    # --- the whole state ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, besides the replay buffer."""
        return whole_state(self)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned; the algorithm was made with the same arguments."""
        load_whole_state(self, tensors)


__all__ = ["DEMONSTRATIONS", "ONLINE", "PRIOR", "Batch", "DivergedError", "OfflineToOnline", "TrainingError"]
