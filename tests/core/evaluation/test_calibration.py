"""Temperatures make confidence honest and never change the answer."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from tests.core.models.tiny import tiny_model, train, views
from triptych.encoders.features import AudioFeatures, TextFeatures
from triptych.evaluation.calibration import HIGHEST, LOWEST, fit_temperature, fit_temperatures
from triptych.evaluation.metrics import expected_calibration_error
from triptych.fusion.mean import Mean
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import Features, MultimodalModel


def likelihood(logits, targets, temperature):
    return float(torch.nn.functional.cross_entropy(logits / temperature, targets))


@given(st.integers(2, 6), st.integers(1, 80), st.floats(0.01, 100), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_any_logits_give_a_sane_temperature_that_keeps_the_order(labels, samples, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(samples, labels, generator=generator, dtype=torch.float64)
    targets = torch.randint(labels, (samples,), generator=generator)
    temperature = fit_temperature(logits, targets)
    assert LOWEST * 0.999 <= temperature <= HIGHEST * 1.001
    assert torch.equal((logits / temperature).argmax(dim=1), logits.argmax(dim=1))


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(true):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 5, generator=generator, dtype=torch.float64)
    targets = torch.multinomial((logits / true).softmax(dim=1), 1, generator=generator).flatten()
    found = fit_temperature(logits, targets)
    assert found == pytest.approx(true, rel=0.1)
    assert likelihood(logits, targets, found) <= likelihood(logits, targets, 1.0) + 1e-4


def test_several_labels_have_a_temperature_as_well():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3000, 4, generator=generator, dtype=torch.float64)
    targets = torch.bernoulli((logits / 2).sigmoid(), generator=generator)
    assert fit_temperature(logits, targets) == pytest.approx(2.0, rel=0.1)


def test_a_handful_of_right_answers_is_not_certainty():
    logits = torch.tensor([[3.0, 0.0]] * 5)
    temperature = fit_temperature(logits, torch.zeros(5, dtype=torch.int64))
    assert float((logits / temperature).softmax(dim=1).max()) == pytest.approx(1 - 1 / 7, abs=1e-3)


@pytest.mark.parametrize("fusion", ["mean", "concat", "gated", "attention", "late"])
def test_fewer_parts_mean_less_confidence_and_confidence_means_accuracy(fusion):
    model = train(tiny_model(fusion), *views(300))
    held, targets = views(400, seed=1)
    test, wanted = views(600, seed=2)
    report = fit_temperatures(model, held, targets)
    assert set(report["rows"].values()) == {400}
    assert report["from_pooled"] == []
    confidence = {}
    with torch.inference_mode():
        for parts in (("text", "image", "audio"), ("text",), ("image",), ("audio",)):
            some = test.only(parts)
            output = model.fuse(some)
            probabilities = model.probabilities(output, some.mask)
            assert torch.equal(probabilities.argmax(dim=1), output.logits.argmax(dim=1))
            assert expected_calibration_error(probabilities, wanted) < 0.1
            confidence[parts] = float(probabilities.max(dim=1).values.mean())
    whole = confidence.pop(("text", "image", "audio"))
    assert whole > max(confidence.values())


def test_a_rare_pattern_takes_the_pooled_temperature():
    model = train(tiny_model("late"), *views(200))
    held, targets = views(120, seed=1)
    held.mask[10:, 2] = False  # sound is rare
    report = fit_temperatures(model, held, targets)
    assert set(report["from_pooled"]) == {"audio", "text+audio", "image+audio", "text+image+audio"}
    assert report["temperatures"]["audio"] == pytest.approx(report["pooled"])
    assert report["rows"]["text+image"] == 120
    never = Features(held.vectors, held.mask & torch.tensor([True, True, False]))
    assert fit_temperatures(model, never, targets)["rows"]["audio"] == 0


def test_what_cannot_be_calibrated():
    features, targets = views(10)
    with pytest.raises(ValueError, match="no probabilities"):
        fit_temperatures(tiny_model(head={"kind": "regression", "names": ["x"]}), features, targets.float())
    with pytest.raises(ValueError, match="no samples"):
        fit_temperatures(tiny_model(), features.rows(torch.zeros(10, dtype=torch.bool)), targets[:0])


def test_less_is_never_surer_than_more_on_the_same_samples():
    torch.manual_seed(0)
    encoders = {"text": TextFeatures.create("", dim=4), "audio": AudioFeatures.create("", dim=4)}
    model = MultimodalModel(encoders, Mean(2, 8), ClassificationHead(8, ["a", "b"])).eval()
    with torch.no_grad():
        model.head.linear.weight.mul_(20)
    vectors = {"text": torch.randn(60, 4), "audio": torch.randn(60, 4)}
    features = Features(vectors, torch.ones(60, 2, dtype=torch.bool))
    fit_temperatures(model, features, torch.randint(0, 2, (60,)))
    sure = {}
    with torch.inference_mode():
        for parts in (("text",), ("audio",), ("text", "audio")):
            some = features.only(parts)
            sure[parts] = float(model.probabilities(model.fuse(some), some.mask).max(dim=1).values.mean())
    assert sure["text",] < sure["text", "audio"]
    assert sure["audio",] < sure["text", "audio"]
