"""Labels that are as certain as the annotators were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.core.tuning.conftest import tiny_encoder
from triptych.config import TrainingConfig
from triptych.device import choose_device
from triptych.errors import ConfigError
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.types import Sample, Task
from triptych_finance.graded import LEAST, MOST, Graded, graded_targets, share_of
from triptych_finance.scoring import LABELS

WORDS = {"negative": "loan credit", "neutral": "card pin", "positive": "wire send"}


def sample(label: str, agreement: object = None, number: int = 0) -> Sample:
    metadata = {} if agreement is None else {"agreement": agreement}
    return Sample(f"{label}-{number}", text=WORDS[label], target=label, metadata=metadata)


def model(labels: tuple[str, ...] = LABELS) -> MultimodalModel:
    encoder = tiny_encoder()
    torch.manual_seed(1)
    return MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, labels))


def context(place: Path) -> TuningContext:
    return TuningContext(place, choose_device("cpu"), 7, Task("classification", LABELS))


@pytest.mark.parametrize(
    ("agreement", "share"),
    [("all", 0.97), ("75", 0.85), (66, 0.7), ("50.0", 0.58), (0.8, 0.8), ("90", 0.9), (1.0, MOST), (0.1, LEAST)],
)
def test_a_level_or_a_share_is_read(agreement: object, share: float) -> None:
    assert share_of(sample("neutral", agreement)) == pytest.approx(share)


@pytest.mark.parametrize("agreement", [None, "", "unknown", "nan"])
def test_without_an_agreement_the_label_is_certain(agreement: object) -> None:
    targets = graded_targets([sample("positive", agreement)], LABELS)

    assert targets.tolist() == [[0.0, 0.0, 1.0]]


@given(st.sampled_from(LABELS), st.floats(0, 1), st.permutations(LABELS))
def test_targets_are_probabilities_and_the_label_leads(label: str, share: float, labels: list[str]) -> None:
    targets = graded_targets([sample(label, share)], labels)[0]

    assert float(targets.sum()) == pytest.approx(1.0)
    assert bool((targets >= 0).all())
    assert labels[int(targets.argmax())] == label


def test_what_is_hardly_positive_is_rather_neutral_than_negative() -> None:
    negative, neutral, positive = graded_targets([sample("positive", "50")], LABELS)[0].tolist()

    assert negative < neutral < positive


def test_doubt_makes_a_model_less_sure(tmp_path: Path) -> None:
    settings = TrainingConfig(epochs=8, batch_size=8, learning_rate=3e-3, frozen_layers=1, label_smoothing=0.0)
    sure: list[float] = []
    for agreement in ("all", "50"):
        tuned, place = model(), tmp_path / agreement
        place.mkdir()
        train = [sample(label, agreement, number) for number in range(16) for label in LABELS]
        report = Graded().tune(tuned, train, [], settings, context(place))
        output = tuned.fuse(tuned.features([sample(label) for label in LABELS]))
        sure.append(float(output.logits.softmax(dim=1).max(dim=1).values.mean().detach()))
        assert any("agreement: 48 of 48" in note for note in report.notes)
    assert sure[1] < sure[0] - 0.1


def test_other_labels_are_refused(tmp_path: Path) -> None:
    train = [Sample("1", text="card", target="a"), Sample("2", text="loan", target="b")]

    with pytest.raises(ConfigError, match="negative, neutral, positive"):
        Graded().tune(model(("a", "b")), train, [], TrainingConfig(epochs=1), context(tmp_path))


def test_a_second_training_learns_what_the_first_answers_to_sentences_without_a_label(tmp_path: Path) -> None:
    settings = TrainingConfig(epochs=8, batch_size=8, learning_rate=3e-3, frozen_layers=1, label_smoothing=0.0)
    train = [sample(label, "all", number) for number in range(16) for label in LABELS]
    pool = [Sample(f"pool-{number}", text=WORDS[label]) for number in range(8) for label in LABELS]
    tuned = model()
    again = settings.model_copy(update={"epochs": 9})
    report = Graded(unlabelled=pool, again=again).tune(tuned, train, train[:6], settings, context(tmp_path))
    output = tuned.fuse(tuned.features([sample(label) for label in LABELS]))

    assert output.logits.argmax(dim=1).tolist() == [0, 1, 2]
    assert report.epochs == 17
    assert any("24 samples without a label" in note for note in report.notes)


def test_settings_of_a_second_training_without_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="unlabelled"):
        Graded(again=TrainingConfig(epochs=1))
