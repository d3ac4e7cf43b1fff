from dataclasses import replace

import numpy as np
import pytest
import torch

from robot_learning.rewards import EmbeddedConfig, HeadTraining, LabelError, LabelledMaps, quality, train_heads
from robot_learning.rewards.metrics import sigmoid
from robot_learning.rewards.training import (
    ALWAYS,
    LossError,
    TrainedHeads,
    balanced_loss,
    calibrate,
    class_pools,
    fold_of,
    folds_key,
    seen_by,
)
from robot_learning.settings import SettingError
from tests.rewards.worlds import book, labelled_maps

CONFIG = EmbeddedConfig(fine=False, width=16, queries=2, hidden=24)
TRAINING = HeadTraining(steps=120, batch=24, folds=2, learning_rate=5e-3)


@pytest.fixture(scope="module")
def trained() -> TrainedHeads:
    torch.set_num_threads(1)
    return train_heads(labelled_maps(episodes=24), book(), CONFIG, TRAINING)


def test_held_out_episodes_are_answered(trained: TrainedHeads) -> None:
    data = labelled_maps(episodes=24)
    answers = trained.calibration.probability(trained.held_out[:, 0])
    assert quality(answers.ravel(), data.labels.ravel(), 0.5).auc > 0.9


def test_there_is_a_head_for_each_fold(trained: TrainedHeads) -> None:
    assert len(trained.heads) == 2


def test_the_threshold_keeps_to_the_wanted_rate(trained: TrainedHeads) -> None:
    data = labelled_maps(episodes=24)
    said = trained.calibration.probability(trained.held_out) >= trained.calibration.threshold
    assert said[:, 0][data.labels == 0].mean() <= TRAINING.false_positive_rate
    assert said[:, 1][data.labels == 0].mean() <= TRAINING.changed_false_positive_rate


def logits_of(no: tuple[float, float], yes: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Logits `(200, 2, 1)`, the pictures at random and all of their copies moved up by 2, and labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array([0, 1], np.int8), 100)[:, None]
    pictures = np.where(labels == 0, rng.normal(*no, (200, 1)), rng.normal(*yes, (200, 1)))
    return np.stack([pictures, pictures + 2], axis=1).astype(np.float32), labels


@pytest.mark.parametrize(("rate", "changed_rate"), [(0.05, 1.0), (1.0, 0.05)])
def test_pictures_and_copies_each_keep_to_their_rate(rate: float, changed_rate: float) -> None:
    logits, labels = logits_of((-1.0, 2.0), (2.0, 2.0))
    calibration = calibrate(logits, labels, rate, changed_rate)
    said = calibration.probability(logits) >= calibration.threshold
    copy = int(changed_rate < rate)
    assert said[:, copy][labels == 0].mean() == pytest.approx(0.05, abs=0.011)


def test_a_question_without_frames_is_calibrated_like_the_others() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (500, 1, 2)).astype(np.float32)
    labels = (rng.random((500, 2)) < sigmoid(0.5 * logits[:, 0] - 1)).astype(np.int8)
    labels[:, 1] = -1
    calibration = calibrate(logits, labels, 0.01)
    assert calibration.slopes[1] == pytest.approx(calibration.slopes[0], rel=0.1)
    assert calibration.no_threshold <= 0.5 <= calibration.threshold


def test_training_repeats_exactly() -> None:
    data, training = labelled_maps(episodes=4), replace(TRAINING, steps=10)
    first, second = (train_heads(data, book(), CONFIG, training) for _ in range(2))
    np.testing.assert_array_equal(first.held_out, second.held_out)


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train_heads(labelled_maps(episodes=4), book(), CONFIG, replace(TRAINING, steps=2))
    assert torch.rand(1) == expected


def test_frames_with_one_label_only_are_enough_to_learn_from() -> None:
    data = labelled_maps(episodes=18)
    for q in range(3):
        data.labels[np.isin(data.episodes % 3, [(q + 1) % 3, (q + 2) % 3]), q] = -1
    trained = train_heads(data, book(), CONFIG, replace(TRAINING, steps=200))
    truth = labelled_maps(episodes=18).labels
    assert quality(trained.held_out[:, 0].ravel(), truth.ravel(), 0.0).auc > 0.9


def test_a_question_with_one_answer_is_refused() -> None:
    data = labelled_maps()
    data.labels[:, 2] = 0
    with pytest.raises(LabelError, match=r"'is the red lamp lit\?' \(yes 0, no 120\)"):
        train_heads(data, book(), CONFIG, TRAINING)


def test_a_training_that_diverges_says_what_to_change() -> None:
    data = labelled_maps(episodes=6)
    data.maps[:, 0, 0, 0, 0, 0] = np.inf  # as float16 that runs over
    with pytest.raises(LossError, match=r"found nan in step \d+; lower --learning-rate \(0\.005\)"):
        train_heads(data, book(), CONFIG, replace(TRAINING, clean=1.0))


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("batch", 0), ("false_positive_rate", 5.0), ("changed_false_positive_rate", -0.1),
     ("false_positive_rate", float("nan")), ("learning_rate", 0.0),
     ("learning_rate", float("inf"))],
)  # fmt: skip
def test_settings_that_cannot_work_are_named(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{name}: expected .*found {value}"):
        replace(TRAINING, **{name: value})  # type: ignore[arg-type]


def test_more_folds_than_episodes_are_refused() -> None:
    with pytest.raises(LabelError, match="5 folds and 3 episodes"):
        train_heads(labelled_maps(episodes=3), book(), CONFIG, replace(TRAINING, folds=5))


def test_folds_keep_episodes_whole_and_even() -> None:
    data = labelled_maps(episodes=12)
    fold = fold_of(data, 3, np.random.default_rng(0))
    per_episode = fold.reshape(12, 10)
    assert (per_episode == per_episode[:, :1]).all()
    assert np.bincount(per_episode[:, 0]).tolist() == [4, 4, 4]


def with_answered_pictures(count: int = 4) -> LabelledMaps:
    """Episodes, and as many frames of none, whose labels are those of the first frames turned round."""
    data = labelled_maps()
    labels = np.concatenate([data.labels, 1 - data.labels[:count]])
    maps = np.concatenate([data.maps, data.maps[:count]])
    return LabelledMaps(maps, labels, np.concatenate([data.episodes, np.full(count, ALWAYS)]))


def test_pictures_answered_by_themselves_are_in_no_fold() -> None:
    data = with_answered_pictures()
    parts = fold_of(data, 3, np.random.default_rng(0))
    assert (parts[-4:] == ALWAYS).all()
    np.testing.assert_array_equal(parts[:-4], fold_of(labelled_maps(), 3, np.random.default_rng(0)))


def test_heads_go_on_from_where_they_were(trained: TrainedHeads) -> None:
    data, still = labelled_maps(episodes=24), replace(TRAINING, steps=1, learning_rate=1e-9)
    again = train_heads(data, book(), CONFIG, still, start=trained.heads)
    np.testing.assert_allclose(again.held_out, trained.held_out, atol=1e-3)


def test_going_on_leaves_the_first_heads_alone(trained: TrainedHeads) -> None:
    before = [head.out.weight.clone() for head in trained.heads]
    train_heads(labelled_maps(episodes=24), book(), CONFIG, replace(TRAINING, steps=3), start=trained.heads)
    assert all(torch.equal(a, head.out.weight) for a, head in zip(before, trained.heads, strict=True))


def test_answered_pictures_do_not_change_the_folds() -> None:
    assert folds_key(with_answered_pictures(), TRAINING) == folds_key(labelled_maps(), TRAINING)


@pytest.mark.parametrize("change", ["folds", "label"])
def test_other_folds_have_another_key(change: str) -> None:
    data, training = labelled_maps(), replace(TRAINING, folds=3 if change == "folds" else 2)
    data.labels[0, 0] = 1 if change == "label" else data.labels[0, 0]
    assert folds_key(data, training) != folds_key(labelled_maps(), TRAINING)


def test_every_head_learns_from_them_many_times() -> None:
    parts = np.array([0, 1, 0, ALWAYS])
    assert seen_by(parts, 0, weight=3).tolist() == [1, 3, 3, 3]


def test_they_are_judged_by_no_head_and_calibrate_nothing() -> None:
    training = HeadTraining(steps=3, folds=2, batch=8, answered_weight=0)
    without = train_heads(labelled_maps(), book(), CONFIG, training)
    trained = train_heads(with_answered_pictures(), book(), CONFIG, training)
    assert trained.calibration == without.calibration
    assert not trained.held_out[-4:].any()


def test_every_answer_has_a_pool() -> None:
    labels = np.array([[1, -1], [0, 0], [0, 1], [1, 1]])
    pools = class_pools(labels, np.array([0, 1, 2]))
    assert [pool.tolist() for pool in pools] == [[1, 2], [0], [1], [2]]


def test_yes_and_no_weigh_the_same() -> None:
    labels = torch.tensor([[1]] * 10 + [[0]] * 30)
    logits = torch.zeros(40, 1, requires_grad=True)
    balanced_loss(logits, labels, 0.0).backward()
    assert logits.grad is not None
    torch.testing.assert_close(-logits.grad[:10].sum(), logits.grad[10:].sum())


def test_unknown_labels_do_not_count() -> None:
    logits = torch.zeros(4, 1, requires_grad=True)
    balanced_loss(logits, torch.tensor([[1], [0], [-1], [-1]]), 0.0).backward()
    assert logits.grad is not None
    assert not logits.grad[2:].any()
