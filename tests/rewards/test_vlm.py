"""A local vision-language model as a reward model. It is tiny and its weights are random: this shows that the parts fit."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from safetensors.torch import load_file, save_file

from robot_learning.rewards import (
    Calibration,
    HeadTraining,
    PromptedReward,
    RewardCheckpointError,
    load_reward,
    save_reward,
    vlm_memory,
)
from robot_learning.rewards.lora import LoraTraining, add_lora, train_lora
from robot_learning.rewards.prompted import plain_book
from robot_learning.rewards.prompted_training import LabelledPictures, fit_with_lora
from robot_learning.rewards.vlm import LocalVlm, LoraConfig, VlmConfig, VlmError
from robot_learning.rewards.vlm_memory import MemoryShortError, weight_bytes
from tests.rewards.tiny_vlm import make_tiny_paligemma, make_tiny_vlm
from tests.rewards.worlds import QUESTIONS

TEXTS = tuple(question.text for question in QUESTIONS)
CPU = VlmConfig(device="cpu")
LORA = LoraConfig(rank=4, alpha=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make_tiny_vlm(tmp_path_factory.mktemp("vlm") / "tiny")


@pytest.fixture(scope="module")
def shared(folder: Path) -> LocalVlm:
    """For tests that leave it as it is."""
    return LocalVlm(str(folder), config=CPU)


@pytest.fixture
def vlm(folder: Path) -> LocalVlm:
    return LocalVlm(str(folder), config=CPU)


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy to take apart."""
    yield Path(shutil.copytree(folder, tmp_path / "broken"))


def pictures(count: int = 3, cameras: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (count, 40, 48, 3), dtype=np.uint8) for _ in range(cameras)]


def reward_of(vlm: LocalVlm) -> PromptedReward:
    calibration = Calibration((1.0, 2.0, 1.0), (0.0, 0.1, 0.0), 0.6, 0.4)
    return PromptedReward(vlm, ("front", "wrist"), plain_book(QUESTIONS), calibration, (0.9, 0.2), {"data": "x"})


def images(count: int = 3) -> dict[str, np.ndarray]:
    return dict(zip(("front", "wrist"), pictures(count), strict=True))


def test_probabilities_lie_between_0_and_1(shared: LocalVlm) -> None:
    p = reward_of(shared).probabilities(images())
    assert p.shape == (3, 3)
    assert ((p > 0) & (p < 1)).all()


def test_a_batch_answers_like_its_pictures(shared: LocalVlm) -> None:
    model = reward_of(shared)
    together = np.asarray(model.probability(images(), TEXTS[0]))
    alone = [model.probability({c: batch[row] for c, batch in images().items()}, TEXTS[0]) for row in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert len(set(together.tolist())) == 3


def test_a_batch_larger_than_a_pass_is_cut(folder: Path, shared: LocalVlm) -> None:
    small = LocalVlm(str(folder), config=VlmConfig(device="cpu", batch=2))
    np.testing.assert_allclose(small.ask(pictures(5), TEXTS).logits, shared.ask(pictures(5), TEXTS).logits, atol=1e-4)


def test_questions_have_answers_of_their_own(shared: LocalVlm) -> None:
    logits = shared.ask(pictures(1), TEXTS).logits[0]
    assert len(set(logits.tolist())) == 3


def test_the_order_of_the_cameras_counts(shared: LocalVlm) -> None:
    front, wrist = pictures(1)
    one, other = (shared.ask(order, TEXTS[:1]).logits for order in ([front, wrist], [wrist, front]))
    assert not np.array_equal(one, other)


def test_the_prompt_is_one_message_of_pictures_and_question(shared: LocalVlm) -> None:
    tokens = shared.inputs(pictures(1), TEXTS[0])["input_ids"][0]
    words = shared.processor.tokenizer.decode(tokens)
    assert words.startswith("User :")
    assert words.endswith("is the drawer open ? Answer with yes or no . <end_of_utterance> Assistant :")
    assert words.count("<global-img>") == 2


def test_all_spellings_count(shared: LocalVlm) -> None:
    tokenizer = shared.processor.tokenizer
    inputs = shared.inputs(pictures(1), TEXTS[0])
    with torch.no_grad():
        p = shared.network(**inputs).logits[0, -1].softmax(dim=-1)
    yes, no = (
        sum(float(p[tokenizer.convert_tokens_to_ids(w)]) for w in (word, word.title())) for word in ("yes", "no")
    )
    answers = shared.ask(pictures(1), TEXTS[:1])
    assert float(answers.logits[0, 0]) == pytest.approx(np.log(yes / no), abs=1e-4)
    assert float(answers.share[0, 0]) == pytest.approx(yes + no, rel=1e-4)


def test_a_model_without_a_chat_template_gets_pictures_and_prompt(tmp_path: Path) -> None:
    plain = LocalVlm(str(make_tiny_vlm(tmp_path / "plain", template=None)), "answer en {question}", CPU)
    words = plain.processor.tokenizer.decode(plain.inputs(pictures(1), TEXTS[0])["input_ids"][0])
    assert words.endswith("answer en is the drawer open ?")
    assert plain.ask(pictures(1), TEXTS).logits.shape == (1, 3)


def test_paligemma_gets_the_prompt_it_was_trained_with(tmp_path: Path) -> None:
    paligemma = LocalVlm(str(make_tiny_paligemma(tmp_path / "paligemma")), config=CPU)
    words = paligemma.processor.tokenizer.decode(paligemma.inputs(pictures(1), TEXTS[0])["input_ids"][0])
    assert words.endswith("<image> <bos> answer en is the drawer open ?")
    together = paligemma.ask(pictures(), TEXTS[:1]).logits
    alone = [paligemma.ask([camera[row : row + 1] for camera in pictures()], TEXTS[:1]).logits[0] for row in range(3)]
    np.testing.assert_allclose(together, alone, atol=1e-3)


def bright_and_dark(rows: np.ndarray) -> list[np.ndarray]:
    """Odd rows are bright."""
    levels = np.where(rows % 2, 220, 30).astype(np.uint8)
    return [np.broadcast_to(levels[:, None, None, None], (len(rows), 32, 32, 3)).copy()]


def test_lora_changes_nothing_before_it_is_trained(vlm: LocalVlm) -> None:
    before = vlm.ask(pictures(), TEXTS).logits
    add_lora(vlm, LORA)
    np.testing.assert_allclose(vlm.ask(pictures(), TEXTS).logits, before, atol=1e-5)


@pytest.fixture(scope="module")
def tuned(folder: Path) -> tuple[LocalVlm, list[float], np.ndarray]:
    """A model trained to say yes to bright pictures and no to dark ones, its losses, and its first answers."""
    vlm = LocalVlm(str(folder), config=CPU)
    before = vlm.ask(bright_and_dark(np.arange(2)), TEXTS[:1]).logits
    add_lora(vlm, LORA)
    labels = (np.arange(20) % 2)[:, None].astype(np.int8)
    training = LoraTraining(steps=60, batch=4, learning_rate=2e-2)
    losses = [loss for _, loss in train_lora(vlm, bright_and_dark, labels, np.arange(20), TEXTS[:1], training)]
    return vlm, losses, before


def test_lora_lowers_the_loss(tuned: tuple[LocalVlm, list[float], np.ndarray]) -> None:
    _, losses, _ = tuned
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


def test_lora_changes_the_answers(tuned: tuple[LocalVlm, list[float], np.ndarray]) -> None:
    vlm, _, before = tuned
    after = vlm.ask(bright_and_dark(np.arange(2)), TEXTS[:1]).logits
    assert np.abs(after - before).max() > 0.1
    assert after[1, 0] > 0 > after[0, 0]


def test_lora_leaves_the_models_own_weights_alone(
    tuned: tuple[LocalVlm, list[float], np.ndarray], shared: LocalVlm
) -> None:
    with tuned[0].network.disable_adapter():
        found = tuned[0].ask(pictures(), TEXTS).logits
    np.testing.assert_allclose(found, shared.ask(pictures(), TEXTS).logits, atol=1e-5)


def test_lora_learns_from_answered_pictures_and_does_not_calibrate_on_them(vlm: LocalVlm) -> None:
    labels = (np.arange(24) % 2)[:, None].astype(np.int8)
    episodes = np.repeat(np.arange(6), 4)
    episodes[20:] = -1
    looked: list[int] = []

    def look(rows: np.ndarray) -> list[np.ndarray]:
        looked.extend(rows.tolist())
        return bright_and_dark(rows)

    data, training = LabelledPictures(look, labels, episodes), HeadTraining(folds=2)
    fitted = fit_with_lora(vlm, data, plain_book(QUESTIONS[:1]), training, LORA, LoraTraining(steps=12, batch=8))
    assert len(fitted.labels) in (8, 12)  # a fold of the five episodes
    assert set(looked[:96]) & {20, 21, 22, 23}
    assert not set(looked[96:]) & {20, 21, 22, 23}


def test_lora_repeats_exactly(folder: Path) -> None:
    labels = (np.arange(8) % 2)[:, None].astype(np.int8)
    found = []
    for _ in range(2):
        vlm = LocalVlm(str(folder), config=CPU)
        add_lora(vlm, LORA, seed=3)
        training = LoraTraining(steps=3, batch=4, seed=3)
        found.append([loss for _, loss in train_lora(vlm, bright_and_dark, labels, np.arange(8), TEXTS[:1], training)])
    assert found[0] == found[1]


def test_lora_needs_both_answers(vlm: LocalVlm) -> None:
    add_lora(vlm, LORA)
    labels = np.ones((4, 1), np.int8)
    with pytest.raises(VlmError, match="both answers"):
        next(train_lora(vlm, bright_and_dark, labels, np.arange(4), TEXTS[:1], LoraTraining()))


def test_lora_without_such_layers(vlm: LocalVlm) -> None:
    with pytest.raises(VlmError, match="nothing_like_this"):
        add_lora(vlm, LoraConfig(rank=4, target="nothing_like_this"))


def test_a_saved_model_answers_alike(shared: LocalVlm, tmp_path: Path) -> None:
    model = reward_of(shared)
    folder = save_reward(tmp_path / "reward", model)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json"]
    loaded = load_reward(folder)
    np.testing.assert_allclose(loaded.probabilities(images()), model.probabilities(images()), rtol=1e-5)
    assert (loaded.questions, loaded.cameras, loaded.threshold, loaded.facts) == (
        TEXTS, ("front", "wrist"), 0.6, {"data": "x"}
    )  # fmt: skip


def test_a_saved_model_keeps_its_adapters(tuned: tuple[LocalVlm, list[float], np.ndarray], tmp_path: Path) -> None:
    model = reward_of(tuned[0])
    folder = save_reward(tmp_path / "reward", model)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "adapter.safetensors", "config.json"]
    np.testing.assert_allclose(load_reward(folder).probabilities(images()), model.probabilities(images()), rtol=1e-4)


def test_a_missing_adapter_is_named(tuned: tuple[LocalVlm, list[float], np.ndarray], tmp_path: Path) -> None:
    folder = save_reward(tmp_path / "reward", reward_of(tuned[0]))
    (folder / "adapter.safetensors").unlink()
    with pytest.raises(RewardCheckpointError, match=r"adapter\.safetensors"):
        load_reward(folder)


def test_other_adapters_do_not_fit(tuned: tuple[LocalVlm, list[float], np.ndarray], tmp_path: Path) -> None:
    folder = save_reward(tmp_path / "reward", reward_of(tuned[0]))
    config = json.loads((folder / "config.json").read_text())
    config["lora"]["rank"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RewardCheckpointError, match="adapters"):
        load_reward(folder)


def test_a_model_that_moved_away_is_named_with_the_file(shared: LocalVlm, tmp_path: Path) -> None:
    folder = save_reward(tmp_path / "reward", reward_of(shared))
    config = json.loads((folder / "config.json").read_text())
    config["model"] = str(tmp_path / "gone")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(VlmError, match=r"gone.*config\.json"):
        load_reward(folder)


@pytest.mark.parametrize("package", ["transformers", "peft"])
def test_a_missing_package_is_named(
    package: str, folder: Path, shared: LocalVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        f"robot_learning.rewards.{'vlm' if package == 'transformers' else 'lora'}.find_spec", lambda name: None
    )
    with pytest.raises(VlmError, match=rf"{package}.*pip install 'robot_learning\[vlm\]'"):
        if package == "transformers":
            LocalVlm(str(folder), config=CPU)
        else:
            add_lora(shared, LORA)


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed here")
@pytest.mark.parametrize("processor", ["SmolVLMProcessor", "Qwen2_5_VLProcessor"])
def test_a_processor_that_needs_torchvision_says_so(broken: Path, processor: str) -> None:
    for name in ("processor_config.json", "tokenizer_config.json"):
        config = json.loads((broken / name).read_text())
        (broken / name).write_text(json.dumps({**config, "processor_class": processor}))
    with pytest.raises(VlmError, match=r"needs torchvision, found none\. pip install torchvision"):
        LocalVlm(str(broken), config=CPU)


def test_a_folder_without_weights(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    with pytest.raises(VlmError, match=r"safetensors"):
        LocalVlm(str(broken), config=CPU)


def cut(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def reshape(weights: Path) -> None:
    save_file({k: v[:3] if "q_proj" in k else v for k, v in load_file(weights).items()}, weights, {"format": "pt"})


def lose(weights: Path) -> None:
    save_file({k: v for k, v in load_file(weights).items() if "q_proj" not in k}, weights, {"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [(cut, "found SafetensorError"), (reshape, "found RuntimeError"), (lose, r"found none for \d+ of")],
)
def test_damaged_weights_are_named(broken: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(broken / "model.safetensors")
    with pytest.raises(VlmError, match=message):
        LocalVlm(str(broken), config=CPU)


def test_answers_that_are_no_numbers_are_none(vlm: LocalVlm) -> None:
    """As of float16 that runs over."""
    with torch.no_grad():
        next(vlm.network.parameters()).fill_(float("nan"))
    with pytest.raises(VlmError, match=r"--vlm\.dtype float32; now torch\.float32"):
        vlm.ask(pictures(1), TEXTS)


def test_a_model_that_sees_nothing_is_refused(broken: Path) -> None:
    (broken / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(VlmError, match="image-text-to-text"):
        LocalVlm(str(broken), config=CPU)


def test_a_tokenizer_without_the_words_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_vlm(tmp_path / "dumb", answers=("yes",))
    with pytest.raises(VlmError, match="token for 'no'"):
        LocalVlm(str(folder), config=CPU)


def test_an_unknown_device_is_refused(folder: Path) -> None:
    with pytest.raises(VlmError, match="'abacus'"):
        LocalVlm(str(folder), config=VlmConfig(device="abacus"))


def test_weights_that_do_not_fit_into_the_memory_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_memory, "free_bytes", lambda device: 10_000)
    with pytest.raises(MemoryShortError, match=r"GB are free on cpu.*--vlm\.dtype bfloat16"):
        LocalVlm(str(folder), config=CPU)


@pytest.mark.parametrize(("dtype", "size"), [("auto", 4), ("float32", 4), ("bfloat16", 2)])
def test_the_size_of_the_weights_is_known_before_they_are_loaded(shared: LocalVlm, dtype: str, size: int) -> None:
    numbers = sum(parameter.numel() for parameter in shared.network.parameters())
    assert weight_bytes(Path(shared.model) / "model.safetensors", dtype) == size * numbers


def test_out_of_memory_is_told_plainly(vlm: LocalVlm, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pictures: object, question: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(vlm, "inputs", fail)
    with pytest.raises(VlmError, match=r"out of memory.*--vlm\.batch 1"):
        vlm.ask(pictures(1), TEXTS)


def test_the_package_does_not_import_transformers_by_itself() -> None:
    code = (
        "import sys, robot_learning.rewards, robot_learning.commands.reward_train; print('transformers' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
