"""Frames that judge a reward model: what a policy in training sees; by a moved camera, in other light, with stray objects."""

from __future__ import annotations

import robot_learning.envs  # noqa: F401  # isort: skip  (before mujoco: it chooses the renderer)

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import gymnasium
import mujoco
import numpy as np

from robot_learning.algorithms.behaviour_cloning import BehaviourCloning
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.contract import ENVIRONMENT_STATE, STATE
from robot_learning.data import Dataset
from robot_learning.envs.playroom import Playroom
from robot_learning.envs.recorded_room import RecordedRoom
from robot_learning.envs.rendering import Camera, _in_model
from robot_learning.envs.tasks import TASKS
from robot_learning.policies import Policy, load_policy, save_checkpoint

CONDITIONS = ("nominal", "camera", "light", "distractor")
SHIFTED = CONDITIONS[1:]
EVERY = 3  # a shifted picture every so many ticks; a nominal one at every tick
CENTIMETRE = 0.01  # what a person could not tell either [m]
CAMERA_MOVES = 4  # poses, each 5 cm and 5 degrees away
MOVE, TURN = 0.05, np.deg2rad(5)


@dataclass(frozen=True)
class Stills:
    """Pictures of one condition and what is true in them.

    Attributes:
        pictures: `(N, cameras, H, W, 3)` uint8. truth: `(N, Q)` bool, of the questions asked.
        near: `(N, Q)` bool: things a centimetre elsewhere would turn that answer.
        episodes: `(N,)`. tasks: `(N,)` the question of the episode's own task. ticks: `(N,)` of the episode.
    """

    pictures: np.ndarray
    truth: np.ndarray
    near: np.ndarray
    episodes: np.ndarray
    tasks: np.ndarray
    ticks: np.ndarray

    @staticmethod
    def join(parts: Sequence[Stills]) -> Stills:
        """Several as one."""
        return Stills(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Stills)))


def half_trained(root: Path, task: str, steps: int, seed: int, folder: Path) -> Policy:
    """A clone of the demonstrations of `task` from state, trained too little to be good at it; once, into `folder`."""
    if folder.is_dir():
        return load_policy(folder)
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


def record(
    root: Path,
    policies: dict[str, Policy],
    cameras: tuple[str, ...],
    episodes: int,
    ticks: int,
    size: int,
    seed: int,
    conditions: tuple[str, ...] = CONDITIONS,
) -> dict[str, Stills]:
    """Pictures of `episodes` episodes of each task's policy, which go on after success; by condition.

    Kept in `root`, a file for each task and condition, so that an interrupted recording goes on with the next task; recordings
    of another length or size are apart.
    """
    root = root / f"{episodes}_episodes_{ticks}_ticks_{size}"
    for number, (task, policy) in enumerate(policies.items()):
        files = {condition: root / f"{number}_{condition}.npz" for condition in conditions}
        if all(file.is_file() for file in files.values()):
            continue
        seen = _record_task(task, policy, list(policies), cameras, episodes, ticks, size, seed, conditions)
        root.mkdir(parents=True, exist_ok=True)
        for condition, stills in seen.items():
            partial = files[condition].with_suffix(".partial.npz")
            np.savez(partial, **{f.name: getattr(stills, f.name) for f in fields(stills)})
            partial.replace(files[condition])
    return {c: Stills.join([_load(root / f"{n}_{c}.npz") for n in range(len(policies))]) for c in conditions}


def _load(file: Path) -> Stills:
    with np.load(file) as data:
        return Stills(**{f.name: data[f.name] for f in fields(Stills)})


def _record_task(
    task: str,
    policy: Policy,
    asked: list[str],
    cameras: tuple[str, ...],
    episodes: int,
    ticks: int,
    size: int,
    seed: int,
    conditions: tuple[str, ...],
) -> dict[str, Stills]:
    env = gymnasium.make("robot_learning/Playroom-v0", task=task, max_episode_steps=10**6, disable_env_checker=True)
    room: Playroom = env.unwrapped.room  # type: ignore[attr-defined]
    number = asked.index(task)
    photographer = Photographer(room, cameras, size, seed + number)
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in conditions}
    states: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in conditions}
    for episode in range(episodes):
        observation, info = env.reset(seed=seed + 100 * number + episode, options={"task": task})
        policy.reset()
        for tick in range(ticks):
            truth = [TASKS[name].success(room) for name in asked]
            for condition in conditions:
                if condition != "nominal" and tick % EVERY:
                    continue
                pictures = np.stack(list(getattr(photographer, condition)().values()))
                rows[condition].append((pictures, truth, number * episodes + episode, number, tick))
                states[condition].append((observation[STATE], observation[ENVIRONMENT_STATE]))
            observation = env.step(policy.predict(observation, info["instruction"]))[0]
    photographer.close()
    recorded = RecordedRoom(env.unwrapped.contract)  # type: ignore[attr-defined]
    env.close()
    found = {}
    for condition in conditions:
        pictures, truth, *rest = (np.array(column) for column in zip(*rows[condition], strict=True))
        joints, objects = (np.array(column) for column in zip(*states[condition], strict=True))
        near = recorded.answers(joints, objects, asked, CENTIMETRE) < 0
        found[condition] = Stills(pictures, truth, near, *rest)
    return found
