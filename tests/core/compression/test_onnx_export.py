from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.core.encoders.values import pictures, sounds
from tests.core.models.tiny import LABELS, SIZES, tiny_model
from triptych.compression.onnx_export import export_encoder, export_fusion, export_graph, halve_weights
from triptych.compression.onnx_int8 import quantize_graph, similarity
from triptych.compression.onnx_precision import choose_precision, compare_speed
from triptych.encoders.compact_audio import CompactAudioEncoder
from triptych.encoders.compact_image import CompactImageEncoder
from triptych.encoders.features import AudioFeatures
from triptych.encoders.timm import TimmEncoder
from triptych.encoders.yamnet import YamnetEncoder
from triptych.errors import ConfigError, DataError
from triptych.models.multimodal import Features
from triptych.runtime.graphs import open_graph
from triptych.types import Waveform

# measured with and without it: where the processor lacks it, ONNX Runtime's int8 says a little less of the same
VNNI = "vnni" in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else "")


def opened(encoder):
    """A compact encoder whose network is heard, with some mean and deviation."""
    torch.nn.init.normal_(encoder.gain)
    encoder.centre.normal_(std=0.1)
    encoder.scale.uniform_(0.5, 1.5)
    return encoder


def with_statistics(encoder):
    """A random network whose batch normalisation has seen something."""
    encoder.train()
    for _ in range(3):
        encoder(encoder.prepare(pictures(8)))
    return encoder


def resnet():
    return with_statistics(TimmEncoder.create("resnet10t", pretrained=False, image_size=64, train_norm=True))


ENCODERS = {
    "mobilenet": lambda: with_statistics(
        TimmEncoder.create("mobilenetv3_small_050", pretrained=False, image_size=64, train_norm=True, framing="pad")
    ),
    "transformer": lambda: TimmEncoder.create("test_vit", pretrained=False),
    "compact pictures of odd size": lambda: opened(CompactImageEncoder.create(image_size=91, learned=8)),
    "compact sounds with a network": lambda: opened(CompactAudioEncoder.create(learned=8)),
    "yamnet with spread": lambda: YamnetEncoder.create(pretrained=False, spread=True, skip_silence=False),
}

TINY = [Waveform(np.full(n, 0.1, dtype=np.float32), 16_000) for n in (1, 399, 400, 720)]
SILENCE = Waveform(np.zeros(20_000, dtype=np.float32), 16_000)


def run(path, batch):
    return open_graph(path).run(None, {k: v.numpy() for k, v in batch.items()})[0]


@pytest.mark.parametrize("name", ENCODERS)
def test_a_graph_gives_the_vectors_of_its_encoder(name, tmp_path):
    torch.manual_seed(0)
    encoder = ENCODERS[name]().train()
    export_graph(encoder.exportable(), tmp_path / "graph.onnx")
    assert encoder.training
    assert [f.name for f in tmp_path.iterdir()] == ["graph.onnx"]
    assert b".py" not in (tmp_path / "graph.onnx").read_bytes(), "it says where it was made"
    encoder.eval()
    one = pictures(5) if encoder.modality == "image" else [*sounds(3), TINY[1], SILENCE]
    others = [[value] for value in (pictures(1) if encoder.modality == "image" else [*TINY, SILENCE, sounds(4)[3]])]
    for values in (one, *others):
        batch = encoder.prepare(values)
        with torch.inference_mode():
            wanted = encoder(batch).numpy()
        found = run(tmp_path / "graph.onnx", batch)
        assert found.shape == (len(values), encoder.dim)
        assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


HEADS = [
    {"kind": "multilabel", "labels": LABELS},
    {"kind": "regression", "names": ["price", "weight"]},
    {"kind": "embedding", "outputs": 4},
]
LABELLED = {"kind": "classification", "labels": LABELS}


@pytest.mark.parametrize(
    ("fusion", "head"),
    [("attention", LABELLED), ("late", LABELLED), ("mean", HEADS[0]), ("concat", HEADS[1]), ("gated", HEADS[2])],
    ids=lambda v: v if isinstance(v, str) else v["kind"],
)
def test_a_fusion_answers_any_subset_as_the_model_does(fusion, head, tmp_path):
    model = tiny_model(fusion, head=head)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    export_fusion(model, tmp_path / "fusion.onnx")
    graph = open_graph(tmp_path / "fusion.onnx")
    assert [i.name for i in graph.get_inputs()] == [*SIZES, "mask"]
    assert [o.name for o in graph.get_outputs()] == ["logits", "embedding", "weights"]
    subsets = [s for s in itertools.product([False, True], repeat=3) if any(s)]
    for mask in (torch.tensor(subsets), *(torch.tensor([s]) for s in subsets), torch.tensor(subsets[:5])):
        vectors = {m: torch.randn(len(mask), size) for m, size in SIZES.items()}
        with torch.inference_mode():
            wanted = model.fuse(Features(vectors, mask))
        # whatever stands in the place of an absent part
        given = {m: v.masked_fill(~mask[:, [i]], 1e6).numpy() for i, (m, v) in enumerate(vectors.items())}
        found = graph.run(None, {**given, "mask": mask.numpy()})
        for name, values in zip(("logits", "embedding", "weights"), found, strict=True):
            np.testing.assert_allclose(values, getattr(wanted, name).numpy(), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small residual network as a graph, with batches of its inputs."""
    torch.manual_seed(0)
    encoder = resnet().eval()
    path = tmp_path_factory.mktemp("network") / "graph.onnx"
    export_graph(encoder.exportable(), path)
    batches = [{"pixels": encoder.prepare(pictures(8, seed))["pixels"].numpy()} for seed in range(4)]
    return path, batches


def results(path, batches):
    graph = open_graph(path)
    return [graph.run(None, batch)[0] for batch in batches]


def copied(network, tmp_path):
    path = tmp_path / "graph.onnx"
    path.write_bytes(network[0].read_bytes())
    return path


def test_halved_weights_halve_the_file_and_hardly_change_the_vectors(network, tmp_path):
    path = copied(network, tmp_path)
    halve_weights(path)
    assert path.stat().st_size < 0.55 * network[0].stat().st_size
    assert similarity(results(path, network[1]), results(network[0], network[1])) > 0.9999


def test_the_waves_of_a_fourier_transform_are_not_halved(tmp_path):
    encoder = CompactAudioEncoder.create()
    path = tmp_path / "graph.onnx"
    export_graph(encoder.exportable(), path)
    batch = encoder.prepare(sounds(4))
    before = run(path, batch)
    halve_weights(path)
    np.testing.assert_allclose(run(path, batch), before, atol=0.02)
    types = {len(t.dims): t.data_type for t in onnx.load(path).graph.initializer if len(t.dims) == 3}
    assert types[3] == onnx.TensorProto.FLOAT


def test_a_quantized_network_is_small_and_says_the_same(network, tmp_path):
    path = copied(network, tmp_path)
    quantize_graph(path, network[1][:2])
    assert [f.name for f in tmp_path.iterdir()] == ["graph.onnx"]
    assert path.stat().st_size < 0.4 * network[0].stat().st_size
    found, wanted = (np.concatenate(results(p, network[1][2:])) for p in (path, network[0]))
    assert similarity([found], [wanted]) > (0.98 if VNNI else 0.96)
    assert (found.argmax(axis=1) == wanted.argmax(axis=1)).mean() >= (0.9 if VNNI else 0.75)


def test_a_layer_that_eight_bits_would_spoil_stays_in_float(network, tmp_path):
    path = copied(network, tmp_path)
    model = onnx.load(path)
    weights = {t.name: t for t in model.graph.initializer}
    node = [n for n in model.graph.node if n.op_type == "Conv"][4]
    values = onnx.numpy_helper.to_array(weights[node.input[1]]).copy()
    values[:, 0] *= 3_000  # one weight of each channel drowns the others
    weights[node.input[1]].CopyFrom(onnx.numpy_helper.from_array(values, node.input[1]))
    onnx.save(model, path)
    wanted = results(path, network[1])
    quantize_graph(path, network[1])
    assert similarity(results(path, network[1]), wanted) > 0.95


def test_large_products_are_quantized_anew_in_every_call(tmp_path):
    torch.manual_seed(0)
    encoder = TimmEncoder.create("vit_tiny_patch16_224", pretrained=False, image_size=32, depth=2)
    path = tmp_path / "graph.onnx"
    export_graph(encoder.exportable(), path)
    batch = encoder.prepare(pictures(4))
    before, size = run(path, batch), path.stat().st_size
    nodes = {n.op_type for n in onnx.load(path).graph.node}
    assert "Conv" in nodes
    quantize_graph(path, [{"pixels": batch["pixels"].numpy()}])
    assert path.stat().st_size < size
    assert similarity([run(path, batch)], [before]) > (0.98 if VNNI else 0.96)


def test_choosing_a_precision_says_what_was_kept(network, tmp_path):
    path = copied(network, tmp_path)
    note = choose_precision(path, network[1])
    assert " ms in int8, " in note
    quantized = any(n.op_type == "QuantizeLinear" for n in onnx.load(path).graph.node)
    assert note.startswith("int8:") == quantized
    assert path.stat().st_size < 0.55 * network[0].stat().st_size


def test_speeds_are_those_of_each_graph_in_turn(network):
    times = compare_speed((network[0], network[0]), {"pixels": network[1][0]["pixels"][:1]}, rounds=3)
    assert len(times) == 2
    assert min(times) > 0


def test_descriptors_have_nothing_to_quantize(tmp_path):
    encoder = CompactImageEncoder.create(image_size=32)
    out = export_encoder(encoder, tmp_path, "int8", pictures(4))
    assert out["runner"] == "pictures"
    assert out["dim"] == encoder.dim
    assert out["settings"] == {"image_size": 32, "framing": "squash"}
    assert "float16" in out["notes"][0]


def test_int8_needs_calibration_data(tmp_path):
    with pytest.raises(DataError, match="calibration"):
        export_encoder(CompactImageEncoder.create(), tmp_path, "int8", [])


def test_features_need_no_graph(tmp_path):
    encoder = AudioFeatures.create(dim=3)
    out = export_encoder(encoder, tmp_path, "int8")
    assert out["runner"] == "features"
    assert [f.name for f in tmp_path.iterdir()] == ["features.safetensors"]


def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    encoder = AudioFeatures.create(dim=3)
    monkeypatch.setattr(type(encoder), "exportable", lambda self: None)
    with pytest.raises(ConfigError, match="features:audio"):
        export_encoder(encoder, tmp_path, "fp32")
