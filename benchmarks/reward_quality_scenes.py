"""Frames that judge a reward model: what a policy in training sees; by a moved camera, in other light, with stray objects."""

from __future__ import annotations

import robot_learning.envs  # noqa: F401  # isort: skip  (before mujoco: it chooses the renderer)

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import gymnasium
import mujoco
import numpy as np

from robot_learning.algorithms.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.contract import ENVIRONMENT_STATE, STATE
from robot_learning.data import Dataset
from robot_learning.envs.playroom import Playroom
from robot_learning.envs.rendering import Camera, _in_model
from robot_learning.envs.tasks import TASKS
from robot_learning.policies import Policy, load_policy, save_checkpoint
from robot_learning.rewards import EmbeddedReward

CONDITIONS = ("nominal", "camera", "light", "distractor")
SHIFTED = CONDITIONS[1:]
EVERY = 4  # a shifted picture every so many ticks; a nominal one at every tick
CAMERA_MOVES = 4  # poses, each 5 cm and 5 degrees away
MOVE, TURN = 0.05, np.deg2rad(5)


@dataclass(frozen=True)
class Watched:
    """What a model said, P(yes) `(N, Q)`, and what was true `(N, Q)`; the episode and the number of the task of each frame."""

    probabilities: np.ndarray
    answers: np.ndarray
    episodes: np.ndarray
    tasks: np.ndarray


def half_trained(root: Path, task: str, steps: int, seed: int, folder: Path) -> Policy:
    """A clone of the demonstrations of `task` from state, trained too little to be good at it."""
    data = Demonstrations.load(Dataset(root), [STATE, ENVIRONMENT_STATE], tasks=[TASKS[task].instruction])
    config = BehaviourCloningConfig(inputs="state")
    learner = BehaviourCloning(config, data, np.arange(len(data)), steps, seed)
    for step in range(steps):
        learner.update(step, learner.batch(step))
    save_checkpoint(folder, learner.checkpoint({}, []))
    return load_policy(folder)


class Lens(Camera):
    """A camera before which things can be held that are not in the room."""

    def render_with(self, data: mujoco.MjData, camera: str, add: Callable[[mujoco.MjvScene], None]) -> np.ndarray:
        """The picture, after `add` has put its shapes into the scene."""
        self._renderer = self._renderer or self._open()
        self._renderer.update_scene(data, _in_model(camera), self._option)
        add(self._renderer.scene)
        return self._renderer.render()


class Photographer:
    """Takes pictures of a playroom with some cameras under every condition."""

    def __init__(self, room: Playroom, cameras: tuple[str, ...], size: int, seed: int) -> None:
        self.room, self.model, self.cameras = room, room.model, cameras
        self.lens = Lens(self.model, size, size)
        self.rng = np.random.default_rng(seed)
        camera = self.model.camera("front")
        self._pose = camera.pos.copy(), camera.quat.copy()
        self._lights = self.model.light_diffuse.copy(), self.model.vis.headlight.ambient.copy()
        moves = np.random.default_rng(12345)
        directions = moves.standard_normal((2, CAMERA_MOVES, 3))
        self._moves = directions / np.linalg.norm(directions, axis=2, keepdims=True)

    def nominal(self) -> dict[str, np.ndarray]:
        """As in the data."""
        mujoco.mj_camlight(self.model, self.room.data)
        return {camera: self.lens.render(self.room.data, camera) for camera in self.cameras}

    def camera(self) -> dict[str, np.ndarray]:
        """The front camera 5 cm and 5 degrees away, in one of four directions."""
        number = self.rng.integers(CAMERA_MOVES)
        camera, axes = self.model.camera("front"), np.zeros(9)
        mujoco.mju_quat2Mat(axes, self._pose[1])
        rotation = axes.reshape(3, 3) @ cv2.Rodrigues(self._moves[1, number] * TURN)[0]
        camera.pos[:] = self._pose[0] + MOVE * self._moves[0, number]
        mujoco.mju_mat2Quat(camera.quat, rotation.ravel())
        images = self.nominal()
        camera.pos[:], camera.quat[:] = self._pose
        mujoco.mj_camlight(self.model, self.room.data)
        return images

    def light(self) -> dict[str, np.ndarray]:
        """Dim, bright and warm, or from one side."""
        diffuse, ambient = self._lights
        kind = self.rng.integers(3)
        tint = np.array([(0.45, 0.45, 0.45), (1.5, 1.35, 1.1), (1.0, 1.0, 1.0)][kind])
        self.model.light_diffuse[:] = diffuse * tint
        self.model.vis.headlight.ambient[:] = ambient * tint
        if kind == 2:
            self.model.light_diffuse[0], self.model.light_diffuse[1] = 0.3 * diffuse[0], 2.2 * diffuse[1]
        images = self.nominal()
        self.model.light_diffuse[:], self.model.vis.headlight.ambient[:] = diffuse, ambient
        return images

    def distractor(self) -> dict[str, np.ndarray]:
        """One or two boxes on the desk that belong to nothing; one in three has the colour of the block."""
        seed = int(self.rng.integers(2**31))
        return {
            camera: self.lens.render_with(self.room.data, camera, partial(self._boxes, np.random.default_rng(seed)))
            for camera in self.cameras
        }

    def close(self) -> None:
        """Free the GL context."""
        self.lens.close()

    def _boxes(self, rng: np.random.Generator, scene: mujoco.MjvScene) -> None:
        palette = [
            (0.2, 0.3, 0.8),
            (0.7, 0.1, 0.5),
            (0.1, 0.6, 0.6),
            (0.95, 0.9, 0.2),
            (0.95, 0.55, 0.12),
            (0.95, 0.55, 0.12),
        ]
        for _ in range(rng.integers(1, 3)):
            place = self.room.to_world("desk", (rng.uniform(0.03, 0.16), rng.uniform(-0.38, 0.38), 0.02))
            turn = rng.uniform(-np.pi, np.pi)
            rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
            colour = np.array([*palette[rng.integers(len(palette))], 1.0], np.float32)
            size = rng.uniform((0.015, 0.015, 0.018), (0.035, 0.035, 0.022))
            geom = scene.geoms[scene.ngeom]
            mujoco.mjv_initGeom(geom, mujoco.mjtGeom.mjGEOM_BOX, size, place, rotation.ravel(), colour)
            scene.ngeom += 1


def watch(
    model: EmbeddedReward, policies: dict[str, Policy], episodes: int, ticks: int, size: int, seed: int
) -> dict[str, Watched]:
    """Let a model look at `episodes` episodes of each task's policy, which go on after success; by condition.

    Columns are the questions of the tasks of `policies`.
    """
    asked = list(policies)
    columns = [model.questions.index(TASKS[name].question) for name in asked]
    env = gymnasium.make("robot_learning/Playroom-v0", task=asked[0], max_episode_steps=10**6, disable_env_checker=True)
    room: Playroom = env.unwrapped.room  # type: ignore[attr-defined]
    photographer = Photographer(room, model.cameras, size, seed)
    seen: dict[str, list[tuple[np.ndarray, list[bool], int, int]]] = {name: [] for name in CONDITIONS}
    for number, (task, policy) in enumerate(policies.items()):
        for episode in range(episodes):
            observation, info = env.reset(seed=seed + episode, options={"task": task})
            policy.reset()
            for tick in range(ticks):
                answers = [TASKS[name].success(room) for name in asked]
                for condition in CONDITIONS if tick % EVERY == 0 else CONDITIONS[:1]:
                    p = model.probabilities(getattr(photographer, condition)())[columns]
                    seen[condition].append((p, answers, number * episodes + episode, number))
                observation = env.step(policy.predict(observation, info["instruction"]))[0]
    photographer.close()
    env.close()
    return {name: Watched(*(np.array(column) for column in zip(*rows, strict=True))) for name, rows in seen.items()}
