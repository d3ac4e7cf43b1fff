import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from robot_learning.rewards import (
    Calibration,
    EmbeddedConfig,
    EmbeddedReward,
    PictureError,
    QuestionError,
    RewardCheckpointError,
    RewardModel,
    load_reward,
    save_reward,
)
from robot_learning.rewards.embedded import new_head
from tests.rewards.worlds import QUESTIONS, book

CONFIG = EmbeddedConfig(cameras=("front", "wrist"), image_size=32, fine=False, width=16, queries=2, hidden=24)


def fake_features(images: list[np.ndarray]) -> Tensor:
    """The mean colours of each picture stand for its features."""
    maps = torch.zeros(len(images[0]), len(images), 112, 2, 2)
    for camera, batch in enumerate(images):
        maps[:, camera, :3] = torch.from_numpy(batch).float().mean(dim=(1, 2))[:, :, None, None] / 64
    return maps


@pytest.fixture
def model() -> EmbeddedReward:
    torch.manual_seed(0)
    made = EmbeddedReward(
        CONFIG,
        book(),
        [new_head(CONFIG), new_head(CONFIG)],
        Calibration((2.0,) * 3, (0.1,) * 3, 0.6, 0.45),
        {"data": "x"},
    )
    made.features = fake_features  # type: ignore[assignment]
    return made


def batch(count: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    levels = rng.integers(1, 256, (2, count, 1, 1, 3))
    return {
        c: np.broadcast_to(v, (count, 40, 48, 3)).astype(np.uint8) for c, v in zip(CONFIG.cameras, levels, strict=True)
    }


def single(pictures: dict[str, np.ndarray], row: int = 0) -> dict[str, np.ndarray]:
    return {camera: images[row] for camera, images in pictures.items()}


def test_it_is_a_reward_model(model: EmbeddedReward) -> None:
    protocol: RewardModel = model
    assert protocol.questions == tuple(question.text for question in QUESTIONS)


def test_one_picture_has_one_probability(model: EmbeddedReward) -> None:
    answer = model.probability(single(batch()), "is the drawer open?")
    assert isinstance(answer, float)
    assert 0 <= answer <= 1


def test_a_batch_answers_like_its_pictures(model: EmbeddedReward) -> None:
    together = model.probability(batch(), "has the drawer been opened?")
    alone = [model.probability(single(batch(), row), "is the drawer open?") for row in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_all_questions_at_once(model: EmbeddedReward) -> None:
    every = model.probabilities(batch())
    assert every.shape == (3, 3)
    for q, text in enumerate(model.questions):
        np.testing.assert_allclose(model.probability(batch(), text), every[:, q], rtol=1e-6)


def test_a_negated_question_has_the_rest(model: EmbeddedReward) -> None:
    plain, negated = (model.probability(batch(), f"is the drawer {w}open?") for w in ("", "not "))
    np.testing.assert_allclose(negated, 1 - np.asarray(plain), atol=1e-6)


@pytest.mark.parametrize(("question", "negated"), [("is the drawer open?", False), ("is the drawer not open?", True)])
def test_success_is_at_the_threshold(model: EmbeddedReward, question: str, negated: bool) -> None:
    p = model.probabilities(batch(40))[:, 0]
    expected = p <= model.no_threshold if negated else p >= model.threshold
    np.testing.assert_array_equal(model.success(batch(40), question), expected)


def test_full_names_of_cameras_are_understood(model: EmbeddedReward) -> None:
    named = {f"observation.images.{camera}": images for camera, images in batch().items()}
    np.testing.assert_array_equal(model.probabilities(named), model.probabilities(batch()))


def test_an_unknown_question_is_refused(model: EmbeddedReward) -> None:
    with pytest.raises(QuestionError, match="Ask one of"):
        model.probability(batch(), "is the cup full?")


def test_a_missing_camera_is_named(model: EmbeddedReward) -> None:
    with pytest.raises(PictureError, match=r"\['wrist'\] missing"):
        model.probabilities({"front": batch()["front"]})


@pytest.mark.parametrize("shape", [(40, 48), (40, 48, 4), (0, 48, 3)])
def test_a_misshapen_picture_is_refused(model: EmbeddedReward, shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match="expected uint8 RGB"):
        model.probabilities({**single(batch()), "wrist": np.zeros(shape, np.uint8)})


def test_float_pictures_are_refused(model: EmbeddedReward) -> None:
    with pytest.raises(PictureError, match="found float32"):
        model.probabilities({camera: images.astype(np.float32) for camera, images in batch().items()})


def test_batches_of_two_sizes_are_refused(model: EmbeddedReward) -> None:
    with pytest.raises(PictureError, match="one batch size"):
        model.probabilities({"front": batch(3)["front"], "wrist": batch(2)["wrist"]})


def test_a_saved_model_answers_alike(model: EmbeddedReward, tmp_path: Path) -> None:
    loaded = load_reward(save_reward(tmp_path / "reward", model))
    loaded.features = fake_features  # type: ignore[assignment]
    np.testing.assert_allclose(loaded.probabilities(batch()), model.probabilities(batch()), rtol=1e-6)
    assert (loaded.threshold, loaded.no_threshold, loaded.facts) == (0.6, 0.45, {"data": "x"})


def test_saving_again_replaces(model: EmbeddedReward, tmp_path: Path) -> None:
    save_reward(tmp_path / "reward", model)
    model.facts["data"] = "y"
    save_reward(tmp_path / "reward", model)
    assert load_reward(tmp_path / "reward").facts == {"data": "y"}
    assert [path.name for path in tmp_path.iterdir()] == ["reward"]


def test_folders_of_before_the_fine_features_have_none(model: EmbeddedReward, tmp_path: Path) -> None:
    file = save_reward(tmp_path / "reward", model) / "config.json"
    config = json.loads(file.read_text())
    del config["network"]["fine"]
    file.write_text(json.dumps(config))
    loaded = load_reward(tmp_path / "reward")
    assert isinstance(loaded, EmbeddedReward)
    assert not loaded.config.fine


def test_the_folder_holds_a_card_and_nothing_pickled(model: EmbeddedReward, tmp_path: Path) -> None:
    folder = save_reward(tmp_path / "reward", model)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "weights.safetensors"]
    assert "is the red lamp lit?" in (folder / "README.md").read_text()


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_a_missing_file_is_named(model: EmbeddedReward, tmp_path: Path, name: str) -> None:
    folder = save_reward(tmp_path / "reward", model)
    (folder / name).unlink()
    with pytest.raises(RewardCheckpointError, match=name):
        load_reward(folder)


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_a_corrupt_file_is_named(model: EmbeddedReward, tmp_path: Path, name: str) -> None:
    folder = save_reward(tmp_path / "reward", model)
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    with pytest.raises(RewardCheckpointError, match=name):
        load_reward(folder)


def test_a_policys_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "policy": "chunk"}))
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(RewardCheckpointError, match="expected a reward model"):
        load_reward(tmp_path)


def test_other_shapes_do_not_fit(model: EmbeddedReward, tmp_path: Path) -> None:
    folder = save_reward(tmp_path / "reward", model)
    config = json.loads((folder / "config.json").read_text())
    config["network"]["width"] = 20
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RewardCheckpointError, match="do not fit together"):
        load_reward(folder)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("heads", 0),
        ("network", None),
        ("calibration", {"slopes": [1.0], "offsets": [0.0]}),
        ("calibration", {"slopes": [1.0] * 3, "offsets": [0.0] * 3, "threshold": float("nan")}),
        ("calibration", {"slopes": [float("nan")] * 3, "offsets": [0.0] * 3}),
        ("calibration", {"slopes": ["1"] * 3, "offsets": [0.0] * 3}),
    ],
    ids=["no heads", "no network", "of one question", "threshold", "slopes", "words"],
)
def test_a_configuration_that_cannot_answer_is_refused(
    model: EmbeddedReward, tmp_path: Path, part: str, value: object
) -> None:
    folder = save_reward(tmp_path / "reward", model)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, part: value}))
    with pytest.raises(RewardCheckpointError, match="do not fit together"):
        load_reward(folder)


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("wordings", lambda t: t[:, :5]),
        ("wordings", lambda t: t * float("nan")),
        ("heads.0", lambda t: t * float("inf")),
    ],
    ids=["narrow", "NaN", "infinite"],
)
def test_weights_that_cannot_answer_are_refused(
    model: EmbeddedReward, tmp_path: Path, name: str, damaged: Callable[[Tensor], Tensor]
) -> None:
    file = save_reward(tmp_path / "reward", model) / "weights.safetensors"
    weights = load_file(file)
    key = next(key for key in weights if key.startswith(name))
    save_file({**weights, key: damaged(weights[key]).contiguous()}, file)
    with pytest.raises(RewardCheckpointError, match="do not fit together"):
        load_reward(tmp_path / "reward")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(RewardCheckpointError, match="does not exist"):
        load_reward(tmp_path / "nowhere")
