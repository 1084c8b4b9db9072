"""Answers of customer service rest on earlier turns, the clock and chance; given again, they are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import triptych_customer_service
from tests.core.runtime import serving
from tests.core.runtime.bundles import write_exported
from triptych.bundle import BundleWriter, Manifest
from triptych.host import Host
from triptych.predictor import Predictor, load
from triptych.runtime.open import variant_path
from triptych.trace import Trace
from triptych_customer_service.conversations import Conversations

REQUESTS: list[dict[str, Any]] = [
    {"text": "red", "conversation": "c-1"},
    {"text": "red or green?", "conversation": "c-2"},  # a question comes back
    {"text": "the second one", "conversation": "c-2"},  # its answer rests on the question, in the same batch
    {"text": "blue"},  # a new conversation, whose name is drawn
    {"text": "red, and let me talk to a human", "conversation": "c-1", "language": "en"},  # with the transcript
    {"text": "no colour at all", "conversation": "c-3"},
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colours for intents: no model has to be trained for it."""
    folder = tmp_path_factory.mktemp("service")
    with BundleWriter(folder / "bundle", folder / "work") as writer:
        write_exported(variant_path(writer.path, "tiny"))
        ledger = {"chosen": "tiny", "variants": []}
        writer.commit(Manifest(vertical="customer-service", config={"vertical": {}}, ledger=ledger))
    return folder / "bundle"


@pytest.fixture
def host() -> Host:
    class Runners:
        triptych_parts = staticmethod(serving.triptych_parts)

    return Host({"runners": Runners(), "customer_service": triptych_customer_service}, installed=False)


def asked(predictor: Predictor, traces: list[Trace]) -> list[dict[str, Any]]:
    requests = [predictor.request(**fields) for fields in REQUESTS]
    return [r.model_dump(mode="json", exclude={"milliseconds"}) for r in predictor.answer_each(requests, traces=traces)]  # type: ignore[union-attr]


def test_a_batch_of_conversations_is_the_same_again_and_nothing_is_written(bundle: Path, host: Host, tmp_path: Path):
    predictor = load(bundle, host=host, state=tmp_path / "state")
    traces = [Trace() for _ in REQUESTS]
    before = asked(predictor, traces)
    assert [found["status"] for found in before[1:3]] == ["clarify", "not_in_knowledge_base"]
    assert before[2]["intent"] == "green"
    assert next(turn["text"] for turn in before[4]["handoff"]["transcript"]) == "red"
    store = Conversations(tmp_path / "state")
    turns = {c: store.turns(c) for c in ("c-1", "c-2", "c-3", before[3]["conversation"])}
    recalled = [json.loads(json.dumps(trace.recalled)) for trace in traces]  # as it is kept
    for state in ("state", "empty"):  # the live state has gone on since, or is gone
        again = load(bundle, host=host, state=tmp_path / state)
        assert asked(again, [Trace(one) for one in recalled]) == before
    assert {c: store.turns(c) for c in turns} == turns
    assert not (tmp_path / "empty").exists()


def test_what_reviewers_are_told(bundle: Path, host: Host, tmp_path: Path):
    predictor = load(bundle, host=host, state=tmp_path)
    vertical = predictor.vertical
    requests = [predictor.request(**fields) for fields in REQUESTS]
    found: list[Any] = predictor.answer_each(requests)
    assert [vertical.decided(response, None) for response in found[:4]] == ["red", found[1].intent, "green", "blue"]
    assert [vertical.attention(response) for response in found[3:5]] == [None, "handed off: asked"]
