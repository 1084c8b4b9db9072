"""Tiny models with random weights, saved as checkpoints: what is loaded, restored and computed is the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    BertConfig,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from triptych.encoders.transformer_audio import TransformerAudioEncoder
from triptych.errors import ConfigError, MissingError
from triptych.testing import check_encoder
from triptych.types import Waveform

from .values import sounds

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONVOLUTIONS = {"conv_dim": [8, 8, 8], "conv_kernel": [10, 8, 4], "conv_stride": [5, 8, 4]}
POSITIONS = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}


def wav2vec2(norm: str):
    config = Wav2Vec2Config(**SMALL, **CONVOLUTIONS, **POSITIONS, feat_extract_norm=norm)
    return Wav2Vec2Model(config), Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=norm == "layer")


def hubert():
    config = HubertConfig(**SMALL, **CONVOLUTIONS, **POSITIONS)
    return HubertModel(config), Wav2Vec2FeatureExtractor(do_normalize=True)


def whisper():
    config = WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=20,
        max_source_positions=100,
        vocab_size=50,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return WhisperModel(config), WhisperFeatureExtractor(feature_size=20, chunk_length=2)


def ast():
    config = ASTConfig(**SMALL, max_length=64, num_mel_bins=32)
    return ASTModel(config), ASTFeatureExtractor(num_mel_bins=32, max_length=64)


MODELS = {
    "wav2vec2 group": lambda: wav2vec2("group"),
    "wav2vec2 layer": lambda: wav2vec2("layer"),
    "hubert": hubert,
    "whisper": whisper,
    "ast": ast,
}


@pytest.fixture(params=MODELS)
def checkpoint(request, tmp_path):
    torch.manual_seed(0)
    model, extractor = MODELS[request.param]()
    folder = tmp_path / "tiny"
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


@pytest.fixture
def whisper_folder(tmp_path):
    torch.manual_seed(0)
    model, extractor = whisper()
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    return tmp_path


def test_promises_are_kept(checkpoint, tmp_path):
    (tmp_path / "assets").mkdir()
    check_encoder(TransformerAudioEncoder.create(str(checkpoint)), sounds(), tmp_path / "assets")


def test_the_checkpoint_is_what_is_computed(checkpoint):
    from transformers import AutoModel

    encoder = TransformerAudioEncoder.create(str(checkpoint))
    published = AutoModel.from_pretrained(checkpoint).state_dict()
    mine = encoder.model.state_dict()
    assert all(torch.equal(mine[k], published.get(k, published.get(f"encoder.{k}"))) for k in mine)


def test_a_bundle_does_not_carry_the_folder_it_was_trained_from(checkpoint):
    encoder = TransformerAudioEncoder.create(str(checkpoint))
    assert encoder.name == "transformer-audio:tiny"
    assert str(checkpoint) not in str(encoder.settings)


def test_training_mode_takes_the_shortest_sound(checkpoint):
    encoder = TransformerAudioEncoder.create(str(checkpoint)).train()
    batch = encoder.prepare([Waveform(np.full(10, 0.1, dtype=np.float32), 16_000), *sounds(2)])
    encoder(batch).sum().backward()


def test_a_shorter_whisper_window_keeps_the_first_positions(whisper_folder, tmp_path):
    encoder = TransformerAudioEncoder.create(str(whisper_folder), window_seconds=1.0)
    whole = TransformerAudioEncoder.create(str(whisper_folder))
    assert encoder.prepare(sounds())["inputs"].shape == (4, 20, 100)
    assert torch.equal(encoder.model.embed_positions.weight, whole.model.embed_positions.weight[:50])
    (tmp_path / "assets").mkdir()
    check_encoder(encoder, sounds(), tmp_path / "assets")


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_an_impossible_window_is_refused(whisper_folder, seconds):
    with pytest.raises(ConfigError, match="window_seconds"):
        TransformerAudioEncoder.create(str(whisper_folder), window_seconds=seconds)


def test_a_text_model_is_refused(tmp_path):
    BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="bert"):
        TransformerAudioEncoder.create(str(tmp_path))


def test_a_name_that_cannot_be_had_says_what_a_checkpoint_needs():
    with pytest.raises(MissingError, match=r"preprocessor_config\.json"):
        TransformerAudioEncoder.create("facebook/wav2vec2-base")


def test_a_name_is_needed():
    with pytest.raises(ConfigError, match="name a model"):
        TransformerAudioEncoder.create("")
