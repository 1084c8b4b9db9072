"""A small tuned text classifier as a teacher, and what a compressor gets to see of it."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from tests.core.tuning.conftest import FILLERS, LABELS, WORDS, make_samples
from triptych.compression.base import CompressionContext, Teacher
from triptych.device import choose_device
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel

UNUSED = ("overdraft", "##draft", "over", "weather")
"""Words of the vocabulary that no training text has."""


def word_pieces() -> Tokenizer:
    """Special tokens, letters alone and inside words, and words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [w for ws in WORDS.values() for w in ws]
    tokens = ["[PAD]", "[UNK]", *UNUSED, "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters), *words, *FILLERS]
    tokenizer = Tokenizer(WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.pre_tokenizer = Whitespace()
    ids = [(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return tokenizer


def piece_encoder(layers: int = 4) -> TransformerTextEncoder:
    """BERT with random weights: 4 heads of 8, 64 neurons."""
    torch.manual_seed(0)
    tokenizer = word_pieces()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
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
    encoder.name = "transformer:tiny"
    encoder.pretrained = True
    return encoder.eval()


def trained(model: MultimodalModel, steps: int = 60) -> MultimodalModel:
    """A text model taught its labels, all parameters together."""
    samples = make_samples(120, seed=5)
    batch, targets = model.prepare(samples), model.head.encode([s.target for s in samples])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = model.head.loss(model(batch).logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


_TEACHERS: list[MultimodalModel] = []


def teacher_model() -> MultimodalModel:
    """A trained text classifier; trained once, a fresh copy each time."""
    if not _TEACHERS:
        encoder = piece_encoder()
        torch.manual_seed(1)
        _TEACHERS.append(trained(MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, LABELS))))
    return copy.deepcopy(_TEACHERS[0])


def context_of(model: MultimodalModel, workspace: Path, *, effort: float = 1.0) -> CompressionContext:
    """200 training and 60 validation texts, with what the model makes of them."""
    train, validation = make_samples(200, seed=1), make_samples(60, seed=2)
    return CompressionContext(
        teacher=Teacher(model, model.features(train), model.features(validation)),
        train=train,
        validation=validation,
        train_targets=model.head.encode([s.target for s in train]),
        validation_targets=model.head.encode([s.target for s in validation]),
        workspace=workspace,
        plan=choose_device("cpu"),
        seed=3,
        effort=effort,
    )
