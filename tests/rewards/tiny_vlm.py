"""A vision-language model of a few thousand random weights with its processor, made on the spot: plumbing, not sight.

The architecture is Idefics3, that of SmolVLM. Its tokenizer knows whole words only.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GemmaConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

SIDE, PATCH, SCALE = 32, 8, 2
IMAGE_TOKENS = (SIDE // PATCH // SCALE) ** 2
MARKS = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")
PLAIN_WORDS = tuple(
    "is the drawer open closed red lamp lit Answer answer en with or . ? : User Assistant in a cup full".split()  # noqa: SIM905
)
ANSWERS = ("yes", "no", "Yes", "No")
TEMPLATE = (
    "{% for message in messages %}{{ message['role'].capitalize() }}:{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def make_tiny_vlm(folder: Path, answers: tuple[str, ...] = ANSWERS, template: str | None = TEMPLATE) -> Path:
    """Write model and processor, as `from_pretrained` reads them; the tokenizer has the `answers` as words."""
    processor = _processor(answers, template)
    processor.save_pretrained(folder)
    size = len(processor.tokenizer)
    vision = Idefics3VisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        vocab_size=size, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, pad_token_id=0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    config = Idefics3Config(
        vision_config=vision,
        text_config=text,
        scale_factor=SCALE,
        image_token_id=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
    _save(Idefics3ForConditionalGeneration, config, folder)
    return folder


def _processor(answers: tuple[str, ...], template: str | None) -> Idefics3Processor:
    grid = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    words = ["<pad>", "<unk>", *MARKS, *grid, *PLAIN_WORDS, *answers]
    tokenizer = _tokenizer(words)
    tokenizer.add_special_tokens({"additional_special_tokens": [*MARKS, *grid]})
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": SIDE}, max_image_size={"longest_edge": SIDE}, do_image_splitting=False
    )
    return Idefics3Processor(images, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=template)


def make_tiny_paligemma(folder: Path) -> Path:
    """The same for PaliGemma, which has no chat template."""
    images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    images.image_seq_length = (SIDE // PATCH) ** 2
    tokenizer = _tokenizer(["<pad>", "<unk>", "<bos>", "<eos>", *PLAIN_WORDS, *ANSWERS])
    tokenizer.add_special_tokens({"bos_token": "<bos>", "eos_token": "<eos>"})
    processor = PaliGemmaProcessor(images, tokenizer)
    processor.save_pretrained(folder)
    size = len(processor.tokenizer)
    vision = SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=SIDE,
        patch_size=PATCH, projection_dim=24, vision_use_head=False,
    )  # fmt: skip
    text = GemmaConfig(
        vocab_size=size, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=12, pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    config = PaliGemmaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=24,
    )
    _save(PaliGemmaForConditionalGeneration, config, folder)
    return folder


def _tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")


def _save(kind: type[PreTrainedModel], config: object, folder: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(config)
        for parameter in model.parameters():  # the usual start is so near to zero that pictures hardly count
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
