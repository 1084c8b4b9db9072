"""The kit catches what it promises to catch; that good parts pass is tested with the parts."""

from __future__ import annotations

import socket

import pytest
import torch

from tests.core.toy import Toy, ToySettings
from triptych.encoders.features import TextFeatures
from triptych.fusion.mean import Mean
from triptych.testing import FakeContext, check_encoder, check_fusion, check_vertical, no_network, prediction
from triptych.types import Document, Sample
from triptych.vertical import Request, Response

ROWS = [[1.0, 2.0], [2.0, 1.0], [0.0, 0.0]]


class Lenient(TextFeatures):
    """Takes anything for a vector."""

    def prepare(self, values):
        return super().prepare([v if isinstance(v, list) else [0.0, 0.0] for v in values])


class Online(TextFeatures):
    """Asks somebody else when it is restored."""

    @classmethod
    def restore(cls, settings, assets):
        with socket.socket() as asked:
            asked.connect(("127.0.0.1", 9))
        return super().restore(settings, assets)


class Deaf(TextFeatures):
    """Its parameter never learns."""

    def __init__(self, settings):
        super().__init__(settings)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, batch):
        return super().forward(batch).requires_grad_(self.training)


class Detached(Mean):
    """Lets no gradient through."""

    def forward(self, vectors, mask):
        fused, weights = super().forward(vectors, mask)
        return fused.detach() + 0 * vectors.sum(), weights


def test_garbage_must_be_refused(tmp_path):
    with pytest.raises(AssertionError, match="without a DataError"):
        check_encoder(Lenient.create(), ROWS, tmp_path, garbage=["garbage"])


def test_restoring_must_not_need_a_network(tmp_path):
    with pytest.raises(AssertionError, match="without a network"):
        check_encoder(Online.create(), ROWS, tmp_path)


def test_training_must_reach_the_parameters(tmp_path):
    with pytest.raises(AssertionError, match="no gradient"):
        check_encoder(Deaf.create(), ROWS, tmp_path)


def test_a_fusion_must_let_gradients_through():
    with pytest.raises(AssertionError, match="gradient"):
        check_fusion(Detached(2, 8))


def test_the_network_is_back_after_the_block():
    connect = socket.socket.connect
    with no_network():
        assert socket.socket.connect is not connect
    assert socket.socket.connect is connect


class Curt(Toy):
    """Has nothing to say when unsure."""

    def answer(self, request, prediction, context):
        response = super().answer(request, prediction, context)
        return response if prediction.confidence > 0.5 else response.model_copy(update={"answer": " "})


class Boastful(Toy):
    """More than certain."""

    def answer(self, request, prediction, context):
        return Response(answer="yes", confidence=1.5)


class Hasty(Toy):
    """Expects that something is always found."""

    def answer(self, request, prediction, context):
        return Response(answer=context.search(1)[0].id, confidence=1.0)


@pytest.fixture
def configured(monkeypatch):
    config = {"encoders": {"text": {"use": "compact:text"}}}
    for cls in (Toy, Curt, Boastful, Hasty):
        monkeypatch.setattr(cls, "defaults", lambda self: config)


@pytest.mark.usefixtures("configured")
class TestVerticals:
    def test_a_good_one_passes(self, tmp_path):
        check_vertical(Toy(), tmp_path)

    @pytest.mark.parametrize(
        ("cls", "error", "message"),
        [
            (Curt, AssertionError, "unsure prediction is empty"),
            (Boastful, AssertionError, "confidence of a sure prediction is 1.5"),
            (Hasty, IndexError, "out of range"),
        ],
    )
    def test_a_bad_answer_is_caught(self, cls, error, message, tmp_path):
        with pytest.raises(error, match=message):
            check_vertical(cls(), tmp_path)


def test_a_context_without_a_model_searches_with_filters(tmp_path):
    documents = [Document(Sample(f"d{i}"), {"even": i % 2 == 0}) for i in range(6)]
    context = FakeContext(Request(text="hello"), ToySettings(), tmp_path, documents=documents)
    assert context.text == "hello"
    assert len(context.search(4)) == 4
    assert {hit.id for hit in context.search(6, where={"even": True})} == {"d0", "d2", "d4"}
    assert context.examples(3) == []


@pytest.mark.parametrize(("labels", "confidence"), [(["a", "b", "c"], 0.7), (["a"], 1.0)])
def test_a_prediction_by_hand_is_a_distribution(labels, confidence):
    made = prediction("a", labels, confidence=confidence)
    assert made.label == "a"
    assert made.confidence == confidence
    assert sum(made.probabilities.values()) == pytest.approx(1)
