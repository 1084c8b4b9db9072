from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from tests.core.compression.students import UNUSED, context_of, teacher_model
from tests.core.models.tiny import HOST
from tests.core.tuning.conftest import LABELS, make_samples, tiny_encoder
from triptych.compression.vocabulary import Vocabulary
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.errors import ConfigError
from triptych.models.build import load_model
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
OTHER = ["the weather is fine over there", "ordinary overdrafts have little to do with it", "würde ß"]


def learnt_tokenizer(kind: str) -> Tokenizer:
    """BPE over bytes, or Unigram over characters, with a vocabulary of more than the samples' texts."""
    texts = [s.text for s in make_samples(60, seed=1)] + OTHER * 5
    if kind == "BPE":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>")
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), processors.RobertaProcessing(("</s>", 2), ("<s>", 0))]
    )
    tokenizer.add_special_tokens(["<mask>"])  # the last id, outside the vocabulary of the model itself
    return tokenizer


def learnt_model(kind: str) -> MultimodalModel:
    """RoBERTa, which counts positions from the id of the padding on."""
    tokenizer = learnt_tokenizer(kind)
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    settings = {
        "model": "tiny",
        "pooling": "mean",
        "normalize": False,
        "max_length": 38,
        "pad": 1,
        "dense": [],
        "lexical": None,
    }
    torch.manual_seed(0)
    encoder = TransformerTextEncoder(RobertaModel(config), tokenizer, settings)
    encoder.name = "transformer:tiny"
    return MultimodalModel({"text": encoder}, None, ClassificationHead(16, LABELS)).eval()


def test_known_texts_have_the_very_same_vectors(tmp_path: Path) -> None:
    model = teacher_model()
    context = context_of(model, tmp_path)
    before = model.encoder("text").fingerprint
    texts = [s.text for s in context.train]

    student = Vocabulary().convert(model, context)

    old, new = model.encoder("text"), student.encoder("text")
    assert torch.equal(new.encode(texts), old.encode(texts))
    words = new.tokenizer.get_vocab()
    assert not set(UNUSED) & set(words)
    assert sorted(words.values()) == list(range(len(words)))
    assert len(words) == old.tokenizer.get_vocab_size() - len(UNUSED) == new.model_config.vocab_size
    assert new.backbone.embeddings.word_embeddings.num_embeddings == len(words)
    assert new.tokenizer.encode("over weather").tokens[1:5] == ["o", "##v", "##e", "##r"]
    assert model.encoder("text").fingerprint == before


def test_it_is_saved_and_restored(tmp_path: Path) -> None:
    model = teacher_model()
    student = Vocabulary().convert(model, context_of(model, tmp_path))

    student.save(tmp_path)

    texts = [s.text for s in make_samples(20, seed=9)] + OTHER
    again = load_model(tmp_path, HOST)
    assert torch.equal(again.encoder("text").encode(texts), student.encoder("text").encode(texts))
    saved = json.loads((tmp_path / "assets" / "text" / "config.json").read_text())
    assert saved["vocab_size"] == student.encoder("text").tokenizer.get_vocab_size()


def test_the_padding_may_have_another_id(tmp_path: Path) -> None:
    encoder = teacher_model().encoder("text")
    described = json.loads(encoder.tokenizer.to_str())
    # the padding last: behind everything that goes
    words = described["model"]["vocab"]
    last = max(words, key=words.__getitem__)
    words["[PAD]"], words[last] = words[last], words["[PAD]"]
    next(t for t in described["added_tokens"] if t["content"] == "[PAD]")["id"] = words["[PAD]"]
    torch.manual_seed(0)
    config = BertConfig(**encoder.model_config.to_dict() | {"pad_token_id": words["[PAD]"]})
    settings = encoder.settings | {"pad": words["[PAD]"]}
    other = TransformerTextEncoder(BertModel(config), Tokenizer.from_str(json.dumps(described)), settings)
    model = MultimodalModel({"text": other}, None, ClassificationHead(other.dim, LABELS)).eval()
    context = context_of(model, tmp_path)

    student = Vocabulary().convert(model, context).encoder("text")

    assert student.settings["pad"] == student.tokenizer.token_to_id("[PAD]") == words["[PAD]"] - len(UNUSED)
    assert student.model_config.pad_token_id == student.settings["pad"]
    texts = [s.text for s in context.train]
    assert torch.equal(student.encode(texts), other.encode(texts))


@pytest.mark.parametrize("kind", ["BPE", "Unigram"])
def test_merged_and_scored_tokens(kind: str, tmp_path: Path) -> None:
    model = learnt_model(kind)
    context = context_of(model, tmp_path)
    texts = [s.text for s in context.train]
    assert Vocabulary().obstacle(model) is None

    student = Vocabulary().convert(model, context)

    old, new = model.encoder("text"), student.encoder("text")
    assert new.tokenizer.get_vocab_size() < old.tokenizer.get_vocab_size()
    assert [new.tokenizer.encode(t).tokens for t in texts] == [old.tokenizer.encode(t).tokens for t in texts]
    assert torch.equal(new.encode(texts), old.encode(texts))
    assert (new.settings["pad"], new.model_config.pad_token_id, new.tokenizer.token_to_id("<pad>")) == (1, 1, 1)
    assert new.tokenizer.token_to_id("<mask>") == new.tokenizer.get_vocab_size() - 1
    assert len(new.tokenizer.encode(OTHER[0]).ids) > len(old.tokenizer.encode(OTHER[0]).ids)
    decoded = new.tokenizer.encode(OTHER[2])
    assert "<unk>" not in decoded.tokens
    student.save(tmp_path)
    assert torch.equal(load_model(tmp_path, HOST).encoder("text").encode(OTHER), new.encode(OTHER))


def test_the_most_frequent_stay_where_there_is_a_limit(tmp_path: Path) -> None:
    model = teacher_model()
    context = context_of(model, tmp_path)
    texts = ["card"] * 5 + ["card loan"] * 3 + ["pin"]
    context = replace(context, train=[replace(context.train[0], text=t) for t in texts])
    essential = 4 + 2 * 26

    student = Vocabulary(str(essential + 2)).convert(model, context)

    words = student.encoder("text").tokenizer.get_vocab()
    assert len(words) == essential + 2
    assert "card" in words
    assert "loan" in words
    assert "pin" not in words


def test_obstacles_and_wrong_arguments(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    whole_words = MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, LABELS))

    assert "WordLevel" in Vocabulary().obstacle(whole_words)
    assert "no more than" in Vocabulary("8000").obstacle(teacher_model())
    assert Vocabulary("60").obstacle(teacher_model()) is None
    assert Vocabulary("60").spelling == "vocabulary:60"
    for argument in ("0", "many", "-5"):
        with pytest.raises(ConfigError, match="number of tokens"):
            Vocabulary(argument)


def test_common_tokens_stay_even_if_no_training_text_has_them(tmp_path: Path) -> None:
    model = teacher_model()
    small = Vocabulary("common").convert(model, context_of(model, tmp_path))
    tokenizer = small.encoder("text").tokenizer
    assert all(tokenizer.token_to_id(token) is not None for token in UNUSED)  # all of a tiny vocabulary is common
    assert Vocabulary("common").spelling == "vocabulary:common"
