"""What makes the vectors of an index: encoders and bundles by their source, checked against what is recorded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.core.letters import WORST, LettersPlugin
from tests.core.runtime import serving
from tests.core.runtime.bundles import serving_host, write_bundle, write_exported
from triptych.bundle import BundleWriter, Manifest
from triptych.embedding import made_of, open_embedder, reopen
from triptych.errors import BundleError, ConfigError, DataError, MissingError, UnknownNameError
from triptych.host import Host
from triptych.retrieval.base import VectorField
from triptych.runtime.open import variant_path

HOST = Host({"letters": LettersPlugin(), "served": serving}, installed=False)
CASCADE = {"format": 1, "stages": ["tiny:3", "sure"], "thresholds": [0.9999]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return write_bundle(folder / "b", folder / "w")


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.new("RGB", (8, 8), (0, 0, 255)).save(tmp_path / "blue.png")
    return str(tmp_path / "blue.png")


def cosine(a, b) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_an_encoder_gives_the_field_of_its_modality():
    embedder = open_embedder("letters:32", host=HOST)
    (field,) = embedder.fields
    assert (field.name, field.dim, field.source) == ("text", 32, "letters:32")
    assert embedder.fingerprints == {"text": field.encoder}
    near, far, absent = embedder.encode([{"text": "red roses"}, {"text": "invoice 17"}, {"image": "a.png"}])["text"]
    assert absent is None
    (query,) = embedder.encode([{"text": "a red rose"}])["text"]
    assert query.dtype == np.float32
    assert cosine(query, near) > cosine(query, far)


def test_a_blank_text_is_absent():
    embedder = open_embedder("letters:32", host=HOST)
    assert embedder.encode([{"text": "  "}, {}, {"text": None}]) == {"text": [None, None, None]}


def test_several_sources_are_one_embedder(picture):
    embedder = open_embedder(["letters", "colours"], host=HOST)
    assert [field.name for field in embedder.fields] == ["text", "image"]
    found = embedder.encode([{"text": "sky", "image": picture}, {"image": picture}])
    assert found["text"][1] is None
    assert np.allclose(found["image"][1], [0, 0, 1])


def test_two_sources_of_one_field_are_refused():
    with pytest.raises(ConfigError, match=r"letters:32 and letters:64 both make the vectors called 'text'"):
        open_embedder(["letters:32", "letters:64"], host=HOST)


def test_an_unknown_encoder_is_answered_with_those_that_exist():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'letters'\?"):
        open_embedder("leters", host=HOST)


@pytest.mark.parametrize("source", ["compact:text", "compact:image", "features:text"])
def test_an_encoder_that_nobody_trained_is_refused(source):
    with pytest.raises(ConfigError, match="has been trained"):
        open_embedder(source, host=HOST)


def test_weights_that_are_not_there_are_missing(tmp_path):
    with pytest.raises(MissingError, match="neither"):
        open_embedder(f"sentence:{tmp_path}", host=HOST)


def test_a_content_that_cannot_be_encoded_is_named(tmp_path, picture):
    embedder = open_embedder(["letters", "colours"], host=HOST)
    with pytest.raises(DataError, match="the item 'b' cannot be encoded: words fail me"):
        embedder.encode([{"text": "fine"}, {"text": WORST}], ids=["a", "b"])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"the item '2' cannot be encoded: .*broken\.png"):
        embedder.encode([{"image": picture}, {"image": str(tmp_path / "broken.png")}])


def test_an_exported_bundle_gives_its_modalities_and_the_fused_space(bundle, picture):
    embedder = open_embedder(f"bundle:{bundle}", host=HOST)
    assert [(field.name, field.dim) for field in embedder.fields] == [
        ("text", 3),
        ("image", 3),
        ("audio", 3),
        ("fused", 3),
    ]
    assert {field.source for field in embedder.fields} == {f"bundle:{bundle}"}
    found = embedder.encode([{"text": "red"}, {"label": "none"}, {"text": "red", "image": picture}])
    assert found["audio"] == [None, None, None]
    assert found["image"][:2] == [None, None]
    assert np.allclose(found["text"][0], [1, 0, 0])
    assert found["fused"][1] is None
    assert np.allclose(found["fused"][2], [0.5, 0, 0.5])


def test_contents_of_which_a_bundle_understands_nothing_have_no_vectors(bundle):
    found = open_embedder(str(bundle), host=HOST).encode([{}])
    assert found == {"text": [None], "image": [None], "audio": [None], "fused": [None]}


def test_a_bundle_of_one_modality_has_nothing_fused(tmp_path):
    with BundleWriter(tmp_path / "b", tmp_path / "w") as writer:
        write_exported(variant_path(writer.path, "tiny"), ("text",))
        writer.commit(Manifest(vertical="served", ledger={"chosen": "tiny"}))
    assert [field.name for field in open_embedder(str(tmp_path / "b"), host=HOST).fields] == ["text"]


def test_the_torch_model_of_a_bundle_serves_as_well(tmp_path):
    from tests.core.toy import toy_host
    from triptych.config import PartConfig
    from triptych.models.build import create_encoder, create_fusion
    from triptych.models.heads import build_head
    from triptych.models.multimodal import MultimodalModel

    host = toy_host(letters=LettersPlugin())
    encoders = {
        "text": create_encoder(host, "text", PartConfig(use="letters")),
        "image": create_encoder(host, "image", PartConfig(use="colours")),
    }
    model = MultimodalModel(
        encoders,
        create_fusion(host, PartConfig(use="mean"), 2, 8),
        build_head(8, {"kind": "classification", "labels": ["a", "b"]}),
    )
    with BundleWriter(tmp_path / "b", tmp_path / "w") as writer:
        (writer.path / "model").mkdir()
        model.save(writer.path / "model")
        writer.commit(Manifest(vertical="toy", ledger={"chosen": "frozen"}))
    embedder = open_embedder(f"bundle:{tmp_path / 'b'}", host=host, device="cpu")
    assert {field.name: field.dim for field in embedder.fields} == {"text": 64, "image": 3, "fused": 8}
    found = embedder.encode([{"text": "hello"}])
    assert found["fused"][0].shape == (8,)
    assert found["image"] == [None]


def test_the_fingerprint_is_that_of_the_files_behind_the_vectors(bundle, tmp_path):
    first = open_embedder(f"bundle:{bundle}", host=HOST).fields[0].encoder
    again = open_embedder(f"bundle:{write_bundle(tmp_path / 'b', tmp_path / 'w')}", host=HOST).fields[0].encoder
    assert first == again  # the same model in another place, whatever else lies beside it
    with BundleWriter(tmp_path / "other", tmp_path / "w2") as writer:
        write_exported(variant_path(writer.path, "tiny:3"), variant="tiny:3", sharpness=9.0)
        writer.commit(Manifest(vertical="served", ledger={"chosen": "tiny:3"}))
    assert open_embedder(f"bundle:{tmp_path / 'other'}", host=HOST).fields[0].encoder != first


def test_of_a_cascade_the_last_stage_makes_the_vectors(tmp_path):
    path = write_bundle(tmp_path / "b", tmp_path / "w", variant="tiny:3>sure", cascade=CASCADE)
    embedder = open_embedder(f"bundle:{path}", host=HOST)
    alone = write_bundle(tmp_path / "c", tmp_path / "w2")
    assert embedder.fields[0].encoder != open_embedder(f"bundle:{alone}", host=HOST).fields[0].encoder
    assert np.allclose(embedder.encode([{"text": "blue"}])["fused"][0], [0, 0, 1])


def test_a_bundle_that_is_not_there_is_an_error_of_bundles():
    with pytest.raises(BundleError, match="there is no bundle 'nowhere'"):
        open_embedder("bundle:nowhere", host=HOST)


def test_an_exported_bundle_embeds_without_torch(bundle):
    code = f"""
import sys
import tests.core.runtime.serving as plugin
from triptych.host import Host
from triptych.embedding import open_embedder
embedder = open_embedder("bundle:{bundle}", host=Host({{"served": plugin}}, installed=False))
assert embedder.encode([{{"text": "red"}}])["fused"][0].tolist() == [1, 0, 0]
heavy = {{"torch", "transformers", "scipy", "sklearn", "pyarrow", "timm", "faiss"}}
print(sorted(heavy & {{m.partition(".")[0] for m in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_recorded_fields_are_opened_again_under_their_own_names():
    (field,) = open_embedder("letters:32", host=HOST).fields
    recorded = [field.model_copy(update={"name": "title"}), VectorField(name="elsewhere", dim=7)]
    embedder = reopen(recorded, host=HOST)
    assert [f.name for f in embedder.fields] == ["title"]
    assert list(embedder.encode([{"text": "a"}])) == ["title"]


def test_another_encoder_than_the_recorded_one_is_refused_with_the_way_out():
    (field,) = open_embedder("letters:32", host=HOST).fields
    with pytest.raises(DataError, match="triptych index migrate LOCATION --encoder letters:32"):
        reopen([field.model_copy(update={"encoder": "0" * 64})], host=HOST)


def test_fields_of_a_bundle_can_be_opened_by_some_of_their_names(bundle):
    fields = {field.name: field for field in open_embedder(f"bundle:{bundle}", host=HOST).fields}
    embedder = reopen([fields["fused"]], host=HOST)
    assert list(embedder.encode([{"text": "red"}])) == ["fused"]
    with pytest.raises(DataError, match="makes no vectors called 'smell'"):
        reopen([fields["fused"].model_copy(update={"name": "smell"})], host=HOST)


def test_fields_without_a_source_cannot_be_opened():
    with pytest.raises(DataError, match="computed elsewhere"):
        reopen([VectorField(dim=3)], host=HOST)


def test_what_a_field_is_made_of_is_known_without_weights(bundle):
    def field(name: str, source: str) -> VectorField:
        return VectorField(name=name, dim=3, source=source)

    assert made_of(field("title", "letters"), HOST) == ("text",)
    assert made_of(field("image", "timm:mobilenetv2_100"), HOST) == ("image",)
    assert made_of(field("audio", "bundle:nowhere"), HOST) == ("audio",)
    assert made_of(field("fused", "bundle:nowhere"), HOST) == ("text", "image", "audio")
    assert made_of(field("vector", ""), HOST) == ()


@pytest.mark.slow
def test_minilm_finds_what_is_meant():
    embedder = open_embedder("sentence:all-MiniLM-L6-v2", host=serving_host())
    found = embedder.encode(
        [{"text": "the parcel is late"}, {"text": "bake at 200 degrees"}, {"text": "where is my order?"}]
    )
    near, far, query = found["text"]
    assert embedder.fields[0].dim == 384
    assert cosine(query, near) > cosine(query, far)
