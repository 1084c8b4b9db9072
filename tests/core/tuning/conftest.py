"""A tiny pretrained-looking text encoder and samples that can be learnt from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from triptych.device import choose_device
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.types import Sample, Task

LABELS = ("card", "loan", "transfer")
WORDS = {
    "card": ("card", "plastic", "pin", "chip"),
    "loan": ("loan", "credit", "interest", "mortgage"),
    "transfer": ("transfer", "send", "wire", "payment"),
}
FILLERS = ("please", "my", "the", "help", "with", "about", "now", "it", "is", "lost")


def tiny_encoder() -> TransformerTextEncoder:
    """Three layers of BERT with random weights and a vocabulary of these tests' words."""
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(w for ws in WORDS.values() for w in ws), *FILLERS]
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    settings = {
        "model": "tiny",
        "pooling": "mean",
        "normalize": True,
        "max_length": 64,
        "pad": 0,
        "dense": [],
        "lexical": None,
    }
    encoder = TransformerTextEncoder(BertModel(config), tokenizer, settings)
    encoder.pretrained = True
    return encoder.eval()


@pytest.fixture
def text_model() -> MultimodalModel:
    """Text alone, three labels."""
    encoder = tiny_encoder()
    torch.manual_seed(1)
    return MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, LABELS))


def make_samples(count: int, seed: int = 0) -> list[Sample]:
    """Texts with one telling word of their label among fillers, of different lengths."""
    generator = torch.Generator().manual_seed(seed)

    def pick(words: tuple[str, ...]) -> str:
        return words[int(torch.randint(len(words), (1,), generator=generator))]

    samples = []
    for i in range(count):
        label = LABELS[i % len(LABELS)]
        text = [pick(FILLERS) for _ in range(1 + i % 7)] + [pick(WORDS[label])]
        samples.append(Sample(f"s{seed}-{i}", text=" ".join(text), target=label))
    return samples


@pytest.fixture
def samples() -> Callable[..., list[Sample]]:
    """`make_samples`."""
    return make_samples


@pytest.fixture
def context(tmp_path: Path) -> TuningContext:
    """A CPU, a seed and an empty workspace."""
    return TuningContext(tmp_path, choose_device("cpu"), 7, Task("classification", LABELS))
