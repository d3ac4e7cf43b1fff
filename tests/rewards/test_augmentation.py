import cv2
import mujoco
import numpy as np
import pytest

from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.envs.rendering import Camera
from robot_learning.rewards import AugmentationConfig
from robot_learning.rewards.augmentation import camera_homography, moved, recoloured, relit

CONFIG = AugmentationConfig()


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    env = PlayroomEnv(cameras=("front",), image_size=160)
    image = env.reset(seed=1)[0]["observation.images.front"]
    env.close()
    return image


def seen_by_moved_camera(turn: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the front camera sees as it is, and turned and shifted in its own axes (x right, y down, z forward)."""
    env = PlayroomEnv(cameras=("front",), image_size=160, variation=0.0)
    before = env.reset(seed=1)[0]["observation.images.front"]
    model, data = env.room.model, env.room.data
    camera = model.camera("front")
    flip = np.diag([1.0, -1.0, -1.0])  # MuJoCo's cameras look along -z with y up
    axes = data.cam_xmat[camera.id].reshape(3, 3) @ flip
    rotation = axes @ cv2.Rodrigues(turn)[0] @ flip
    camera.pos[:] = data.cam_xpos[camera.id] + axes @ shift
    mujoco.mju_mat2Quat(camera.quat, rotation.ravel())
    mujoco.mj_camlight(model, data)
    lens = Camera(model, 160, 160)
    after = lens.render(data, "front")
    lens.close()
    env.close()
    return before, after


@pytest.mark.parametrize(
    ("turn", "shift"),
    [
        ((5.0, -4.0, 5.0), (0.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.05, 0.04, -0.05)),
        ((3.0, -4.0, 2.0), (-0.04, 0.03, 0.05)),
    ],
)
def test_the_homography_is_what_a_moved_camera_sees(turn: tuple[float, ...], shift: tuple[float, ...]) -> None:
    """The desk top, which is nearly all of the middle of the picture, lands where the renderer puts it."""
    angles, push = np.deg2rad(np.array(turn, np.float64)), np.array(shift, np.float64)
    before, after = seen_by_moved_camera(angles, push)
    matrix = camera_homography(angles, push, (160, 160), CONFIG, plane=0.02)
    warped = cv2.warpPerspective(before, matrix, (160, 160))
    middle = (slice(30, 130), slice(30, 130))
    error, untouched = (np.abs(i[middle].astype(float) - after[middle]).mean() for i in (warped, before))
    assert error < 0.6 * untouched


@pytest.mark.parametrize("change", [recoloured, moved, relit])
def test_changed_pictures_keep_their_form(change: object, picture: np.ndarray) -> None:
    changed = change(picture, np.random.default_rng(0), CONFIG)  # type: ignore[operator]
    assert (changed.shape, changed.dtype) == (picture.shape, np.uint8)
    assert not np.array_equal(changed, picture)


def test_the_same_seed_changes_alike(picture: np.ndarray) -> None:
    first, second = (moved(picture, np.random.default_rng(7), CONFIG) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_changed_picture_is_still_the_same_scene(picture: np.ndarray) -> None:
    """Coarse structure stays: without it the label would not hold."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(picture, (10, 10), interpolation=cv2.INTER_AREA).mean(axis=2).ravel()
    alike = [
        np.corrcoef(coarse, cv2.resize(moved(picture, rng, CONFIG), (10, 10)).mean(axis=2).ravel())[0, 1]
        for _ in range(20)
    ]
    assert np.median(alike) > 0.5


def test_the_original_is_not_touched(picture: np.ndarray) -> None:
    before = picture.copy()
    recoloured(picture, np.random.default_rng(0), AugmentationConfig(stray=1.0))
    np.testing.assert_array_equal(picture, before)
