"""An exported model says what the torch model says, loads only what it needs, and refuses what does not fit."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from tests.core.runtime import serving
from tests.core.runtime.bundles import serving_host, write_exported
from triptych.compression.onnx_export import export_fusion
from triptych.config import PartConfig
from triptych.device import choose_device
from triptych.errors import BundleError, ConfigError, DataError
from triptych.host import Host
from triptych.models.build import create_encoder, create_fusion
from triptych.models.heads import build_head
from triptych.models.multimodal import MultimodalModel
from triptych.runtime.exported import ExportedModel
from triptych.runtime.open import open_session, variant_directory
from triptych.runtime.torch_session import TorchSession
from triptych.types import MODALITIES, Sample

DIMS = {"text": 5, "image": 4, "audio": 3}
HEADS = [
    {"kind": "classification", "labels": ["a", "b", "c"]},
    {"kind": "multilabel", "labels": ["a", "b"]},
    {"kind": "regression", "names": ["price", "days"]},
    {"kind": "embedding", "outputs": 6},
]


def torch_model(modalities, head):
    """A model over feature vectors with weights and temperatures that nobody trained."""
    host = Host(installed=False)
    torch.manual_seed(0)
    encoders = {m: create_encoder(host, m, PartConfig(use=f"features:{m}", dim=DIMS[m])) for m in modalities}
    fusion = create_fusion(host, PartConfig(use="gated"), len(modalities), 8) if len(modalities) > 1 else None
    model = MultimodalModel(encoders, fusion, build_head(8 if fusion else DIMS[modalities[0]], dict(head)))
    for encoder in encoders.values():
        encoder.centre.normal_()
        encoder.scale.uniform_(0.5, 2.0)
    model.temperatures.uniform_(0.5, 2.0)
    if head["kind"] == "regression":
        model.head.fit(torch.randn(30, 2) * 5 + 3)
    return model.eval()


def exported(model, directory):
    """The directory of the contract, by hand."""
    directory.mkdir()
    described = {}
    for m in model.modalities:
        (directory / m).mkdir()
        tensors = {name: getattr(model.encoder(m), name).numpy() for name in ("centre", "scale")}
        save_file(tensors, directory / m / "features.safetensors")
        described[m] = {"runner": "features", "dim": DIMS[m], "settings": {"modality": m}}
    head, regression = model.head, None
    if head.kind == "regression":
        regression = {"mean": head.mean.tolist(), "scale": head.scale.tolist()}
    if model.fusion is None:
        linear = {"weight": head.linear.weight.detach().numpy(), "bias": head.linear.bias.detach().numpy()}
        save_file(linear, directory / "head.safetensors")
    else:
        export_fusion(model, directory / "fusion.onnx")
    runtime = {
        "format": 1, "variant": "fp32", "precision": "fp32", "devices": ["cpu"], "head": head.settings,
        "regression": regression, "modalities": described, "temperatures": model.temperatures.tolist(),
        "fusion": None if model.fusion is None else "fusion.onnx",
    }  # fmt: skip
    (directory / "runtime.json").write_text(json.dumps(runtime))
    return ExportedModel.load(directory, Host(installed=False))


def samples(modalities):
    """One for each subset of the modalities."""
    generator = np.random.default_rng(0)
    found = []
    for pattern in range(1, 2 ** len(modalities)):
        parts = {m: generator.normal(size=DIMS[m]) for i, m in enumerate(modalities) if pattern >> i & 1}
        found.append(Sample(str(pattern), **parts))
    return found


@pytest.mark.parametrize(
    ("modalities", "head"),
    [*((("image",), head) for head in HEADS), (MODALITIES, HEADS[0]), (MODALITIES, HEADS[2])],
    ids=lambda v: v["kind"] if isinstance(v, dict) else "+".join(v),
)
def test_it_says_what_the_torch_model_says(modalities, head, tmp_path):
    model = torch_model(modalities, head)
    ours, theirs = exported(model, tmp_path / "fp32"), TorchSession(model, None, choose_device("cpu"))
    assert (ours.modalities, ours.kind, ours.labels) == (theirs.modalities, theirs.kind, theirs.labels)
    for a, b in zip(ours.run(samples(modalities)), theirs.run(samples(modalities)), strict=True):
        assert list(a.prediction.probabilities) == list(b.prediction.probabilities)
        assert a.prediction.probabilities == pytest.approx(b.prediction.probabilities, abs=1e-5)
        assert a.prediction.values == pytest.approx(b.prediction.values, abs=1e-4)
        assert a.prediction.attribution == pytest.approx(b.prediction.attribution, abs=1e-5)
        assert a.prediction.embedding == pytest.approx(b.prediction.embedding, abs=1e-5)
        assert a.vectors.keys() == b.vectors.keys()
    mine, other = (s.seen(s.encode(samples(modalities))) for s in (ours, theirs))
    for a, b in zip(mine, other, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_words_alone_bring_no_other_runner_into_memory(tmp_path, monkeypatch):
    for runner in (serving.Words, serving.Pictures, serving.Sounds):
        monkeypatch.setattr(runner, "loads", 0)
    model = ExportedModel.load(write_exported(tmp_path / "tiny"), serving_host())
    assert serving.Words.loads == 0
    outcomes = model.run([Sample("1", text="a red one"), Sample("2", text="green")])
    assert [o.prediction.label for o in outcomes] == ["red", "green"]
    assert (serving.Words.loads, serving.Pictures.loads, serving.Sounds.loads) == (1, 0, 0)
    model.run([Sample("3", image=Image.new("RGB", (4, 4), "blue"))])
    assert (serving.Words.loads, serving.Pictures.loads, serving.Sounds.loads) == (1, 1, 0)


def test_many_threads_load_a_runner_once_and_get_the_same_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(serving.Words, "loads", 0)
    model = ExportedModel.load(write_exported(tmp_path / "tiny"), serving_host())
    asked = [Sample(str(i), text=serving.COLOURS[i % 3]) for i in range(60)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda s: model.run([s])[0].prediction.label, asked))
    assert found == [s.text for s in asked]
    assert serving.Words.loads == 1


def test_an_outcome_names_its_variant_home_and_vectors(tmp_path):
    directory = write_exported(tmp_path / "tiny", ("text",))
    (outcome,) = ExportedModel.load(directory, serving_host()).run([Sample("1", text="blue", image=None)])
    assert (outcome.variant, outcome.home) == ("tiny", directory)
    assert outcome.vectors["text"].tolist() == [0, 0, 1]
    assert outcome.prediction.attribution == {"text": 1.0}


def test_a_sample_with_nothing_to_encode_is_refused_by_name(tmp_path):
    model = ExportedModel.load(write_exported(tmp_path / "tiny", ("text",)), serving_host())
    with pytest.raises(DataError, match="'7' has none of: text"):
        model.run([Sample("7", image="a.png")])
    assert model.run([]) == []


def test_a_device_that_is_not_served_is_named_with_those_that_are(tmp_path):
    directory = write_exported(tmp_path / "tiny")
    assert ExportedModel.load(directory, serving_host(), device="cpu").variant == "tiny"
    with pytest.raises(ConfigError, match=r"'cuda:0'.*'tiny'.*cpu only.*auto"):
        ExportedModel.load(directory, serving_host(), device="cuda:0")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2.*upgrade"),
        ({"surprise": 1}, "surprise"),
        ({"temperatures": [1.0, 1.0]}, "8 positive temperatures"),
        ({"temperatures": [0.0] * 8}, "positive temperatures"),
        ({"fusion": None}, "need a fusion"),
        ({"fusion": "../fusion.onnx"}, "not the name of a file"),
        ({"head": {"kind": "guess"}}, "head.kind"),
        ({"head": {"kind": "classification", "labels": []}}, "needs labels"),
        ({"head": {"kind": "regression", "names": ["a"]}}, "mean and the scale"),
        ({"modalities": {"text": {"runner": "test-wordz", "dim": 3}}, "temperatures": [1, 1]}, "test-wordz"),
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_refused(changes, message, tmp_path):
    directory = write_exported(tmp_path / "tiny", **changes)
    with pytest.raises(BundleError, match=message):
        ExportedModel.load(directory, serving_host())


@pytest.mark.parametrize("name", ["runtime.json", "fusion.onnx", "head.safetensors", "text/runner.json"])
@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_file_that_is_missing_or_damaged_is_named(name, damage, tmp_path):
    modalities = ("text",) if name.startswith("head") else MODALITIES
    directory = write_exported(tmp_path / "tiny", modalities)
    (directory / name).unlink()
    if damage == "damaged":
        (directory / name).write_bytes(b"nonsense")
    if name.startswith("text"):  # a runner's own business, and it is not loaded before it is needed
        with pytest.raises((OSError, ValueError)):
            ExportedModel.load(directory, serving_host()).run([Sample("1", text="red")])
        return
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        ExportedModel.load(directory, serving_host())


def test_a_graph_or_a_head_of_another_model_is_refused(tmp_path):
    directory = write_exported(tmp_path / "two", ("text", "image"))
    other = write_exported(tmp_path / "three")
    (other / "fusion.onnx").write_bytes((directory / "fusion.onnx").read_bytes())
    with pytest.raises(BundleError, match="takes image, mask, text"):
        ExportedModel.load(other, serving_host())
    alone = write_exported(tmp_path / "one", ("text",))
    save_file({"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)}, alone / "head.safetensors")
    with pytest.raises(BundleError, match=r"\[2, 3\] weights where \[3, 3\]"):
        ExportedModel.load(alone, serving_host())


def test_a_variant_of_a_bundle_is_found_by_its_name(tmp_path):
    assert variant_directory("static:256") == "static-256"
    assert variant_directory("layers:3+int8") == "layers-3+int8"
    assert variant_directory("..") == "--"
    write_exported(tmp_path / "variants" / "static-256", variant="static:256")
    session = open_session(tmp_path, "static:256", serving_host())
    assert (session.variant, type(session)) == ("static:256", ExportedModel)


def test_without_an_exported_variant_the_torch_model_answers(tmp_path):
    model = torch_model(("text",), HEADS[0])
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    for chosen in ("frozen", ""):
        session = open_session(tmp_path, chosen, Host(installed=False), "cpu")
        (outcome,) = session.run([Sample("1", text=np.ones(5))])
        assert (type(session), outcome.variant, outcome.home) == (TorchSession, chosen, tmp_path)


def test_opening_and_answering_import_no_torch(tmp_path):
    write_exported(tmp_path / "variants" / "tiny")
    code = f"""
import sys
from pathlib import Path
import tests.core.runtime.serving as plugin
from triptych.host import Host
from triptych.runtime.open import open_session
from triptych.types import Sample
session = open_session(Path({str(tmp_path)!r}), "tiny", Host({{"served": plugin}}, installed=False))
assert session.run([Sample("1", text="red")])[0].prediction.label == "red"
heavy = {{"torch", "transformers", "scipy", "sklearn", "pyarrow", "matplotlib", "timm", "onnx"}}
print(sorted(heavy & {{m.partition(".")[0] for m in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
