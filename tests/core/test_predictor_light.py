"""A predictor over an exported bundle: answers, indexes of the variant that answered, metrics, any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from tests.core.runtime import serving
from tests.core.runtime.bundles import serving_host, write_bundle
from triptych.errors import BundleError, ConfigError, DataError
from triptych.predictor import Predictor, load
from triptych.runtime.cascade import Cascade
from triptych.types import Sample

CASCADE = {"format": 1, "stages": ["tiny:3", "sure"], "thresholds": [0.9999]}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("exported")
    return load(write_bundle(folder / "b", folder / "w"), host=serving_host(), state=folder / "state")


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("cascade")
    bundle = write_bundle(folder / "b", folder / "w", variant="tiny:3>sure", cascade=CASCADE)
    return load(bundle, host=serving_host(), state=folder / "state")


def test_words_are_answered_with_evidence(predictor):
    response = predictor.answer(text="is it red?")
    assert (response.answer, response.variant) == ("It is red", "tiny:3")
    assert [e.kind for e in response.evidence] == ["document", "example"]
    assert response.evidence[0].id == "doc-red"


def test_a_picture_alone_searches_the_fused_space(predictor, tmp_path):
    Image.new("RGB", (8, 8), (0, 0, 255)).save(tmp_path / "a.png")
    response = predictor.answer(image=tmp_path / "a.png")
    assert response.answer == "It is blue"
    assert response.evidence[0].id == "doc-blue"
    assert response.attribution == {"image": 1.0}


def test_the_index_is_the_one_beside_the_model_that_answered(predictor, cascade):
    assert predictor.index("index/examples") is None  # the bundle has no torch model and so no space of its own
    response = cascade.answer(text="green")
    assert (response.variant, response.evidence[0].id) == ("sure", "doc-green")
    assert isinstance(cascade.session, Cascade)
    assert cascade.session.escalation_rate == 1.0
    home = cascade.session.run([Sample("1", text="red")])[0].home
    assert cascade.index("index/examples", home) is cascade.index("index/examples", home)


@pytest.mark.parametrize("name", ["predictor", "cascade"])
def test_metrics_of_any_session(name, request):
    loaded = request.getfixturevalue(name)
    inside = [Sample(f"{i}", text=f"a {c} one", target=c) for i in range(5) for c in serving.COLOURS]
    outside = [Sample(f"o{i}", text="neither", target="other") for i in range(4)]
    metrics = loaded.evaluate(inside + outside)
    assert (metrics["accuracy"], metrics["samples"]) == (1.0, 15)
    assert metrics["out_of_scope"]["out_of_scope"] == 4
    assert metrics["out_of_scope"]["recall_at_rate"] == 1.0
    if name == "cascade":
        assert metrics["answered_by"] == {"sure": 15}
    assert [p.label for p in loaded.predict(inside)] == [s.target for s in inside]
    with pytest.raises(DataError, match="'purple' was not among"):
        loaded.evaluate([Sample("1", text="red", target="purple")])


def test_many_threads_get_the_same_answers(predictor):
    texts = [f"{c} {i}" for i in range(20) for c in serving.COLOURS]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: predictor.answer(text=text).answer, texts))
    assert found == [f"It is {text.split()[0]}" for text in texts]


def test_cores_for_a_call_reach_every_model_of_the_bundle(tmp_path, monkeypatch):
    told = []
    bundle = write_bundle(tmp_path / "b", tmp_path / "w", variant="tiny:3>sure", cascade=CASCADE)
    real = serving.Words.load.__func__

    def watched(cls, directory, settings, *, threads=0):
        told.append((directory.parent.name, threads))
        return real(cls, directory, settings, threads=threads)

    monkeypatch.setattr(serving.Words, "load", classmethod(watched))
    loaded = load(bundle, host=serving_host(), state=tmp_path / "state", threads=2)
    loaded.answer(text="green")
    loaded.with_variant("tiny:3").answer(text="green")
    loaded.embed([Sample("1", text="red")])
    assert told == [("tiny-3", 2), ("sure", 2), ("tiny-3", 2), ("sure", 2)]


def test_a_device_that_the_bundle_does_not_serve_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="exported for cpu only"):
        load(write_bundle(tmp_path / "b", tmp_path / "w"), host=serving_host(), device="cuda")


def test_requests_that_have_nothing_to_do_with_each_other_fail_alone_and_are_answered_once(predictor, monkeypatch):
    asked = []
    answer = serving.Served.answer

    def answering(self, request, prediction, context):
        asked.append(request.text)
        if request.text == "a bug":
            raise KeyError("bug")
        return answer(self, request, prediction, context)

    monkeypatch.setattr(serving.Served, "answer", answering)
    texts = ["red", "a bug", None, "blue"]
    requests = [predictor.request(text=text) for text in texts]
    requests.insert(1, predictor.request(image=b"no picture"))
    found = predictor.answer_each(requests)
    assert [f.answer if not isinstance(f, Exception) else type(f) for f in found] == [
        "It is red", DataError, KeyError, DataError, "It is blue",
    ]  # fmt: skip
    assert asked == ["red", "a bug", "blue"]
    assert all(f.milliseconds > 0 for f in (found[0], found[-1]))
    with pytest.raises(DataError):
        predictor.answer_batch(requests)


def test_another_variant_answers_with_the_same_state(cascade):
    small = cascade.with_variant("tiny:3")
    assert small.answer(text="green").variant == "tiny:3"
    assert small.state == cascade.state
    assert cascade.answer(text="green").variant == "sure"
    assert cascade.holds("tiny:3")
    assert not cascade.holds("huge")
    assert (small.embed([Sample("1", text="red")]) == cascade.embed([Sample("1", text="red")])).all()
    with pytest.raises(BundleError, match="huge"):
        cascade.with_variant("huge")
