"""Pictures of the playroom."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.envs.rendering import Camera, RenderingError


@pytest.fixture(scope="module")
def env():
    env = PlayroomEnv(cameras=("front", "wrist"), image_size=(72, 96), render_mode="rgb_array")
    env.reset(seed=0)
    yield env
    env.close()


def test_pictures_have_the_asked_size_and_show_something(env):
    observation = env.observe()
    for camera in ("front", "wrist"):
        picture = observation[f"observation.images.{camera}"]
        assert picture.shape == (72, 96, 3) and picture.dtype == np.uint8
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_an_open_drawer_looks_different_from_the_front(env):
    env.room.set_joint("drawer", 0.0)
    env.room.forward()
    closed = env.observe()["observation.images.front"].astype(int)
    env.room.set_joint("drawer", 0.14)
    env.room.forward()
    opened = env.observe()["observation.images.front"].astype(int)
    assert (np.abs(opened - closed).max(axis=-1) > 40).sum() > 40


def test_a_lit_lamp_is_seen(env):
    before = env.observe()["observation.images.front"].astype(int)
    env.room.set_joint("button_red", 0.011)
    env.room.forward()
    lit = env.observe()["observation.images.front"].astype(int)
    env.room.set_joint("button_red", 0.0)
    env.room.forward()
    assert np.abs(lit - before).max() > 60


def test_the_wrist_camera_moves_with_the_hand(env):
    before = env.observe()["observation.images.wrist"].astype(int)
    for _ in range(5):
        env.step(np.array([0.0, 1.0, 0.0, 0.0, 0.0], np.float32))
    after = env.observe()["observation.images.wrist"].astype(int)
    assert np.abs(after - before).mean() > 2


def test_pretty_picture_for_people(env):
    assert env.render().shape == (480, 640, 3)


def test_rendering_does_not_change_the_physics(env):
    env.reset(seed=1)
    before = env.room.data.qpos.copy()
    env.observe()
    env.render()
    assert np.array_equal(env.room.data.qpos, before)


def test_a_window_without_a_display_is_refused(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(RenderingError, match="rgb_array"):
        PlayroomEnv(render_mode="human")


def test_a_script_that_closes_nothing_ends_without_complaints():
    script = """
from robot_learning.envs.playroom_env import PlayroomEnv
env = PlayroomEnv(cameras=("front",), image_size=48)
env.reset(seed=0)
env.observe()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "EGLError" not in done.stderr, done.stderr


def test_triton_is_loaded_before_opengl(env, monkeypatch, tmp_path):
    """A CUDA build of PyTorch brings it, and after Mesa it would crash the process; here one stands in for it."""
    (tmp_path / "triton.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "triton", None)  # so that the stand-in is gone after the test, too
    del sys.modules["triton"]
    loaded = []

    class Refused(Exception):
        pass

    def renderer(*_):
        loaded.append("triton" in sys.modules)
        raise Refused

    monkeypatch.setattr("robot_learning.envs.rendering.mujoco.Renderer", renderer)
    with pytest.raises(RenderingError):
        Camera(env.room.model, 48, 48).render(env.room.data, "front")
    assert loaded == [True]


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="this build of PyTorch comes without triton")
def test_what_renders_can_train_afterwards():
    code = """
from robot_learning.envs.playroom_env import PlayroomEnv
PlayroomEnv(cameras=("front",)).reset(seed=0)
import torch
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
