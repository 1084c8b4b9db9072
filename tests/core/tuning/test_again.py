"""Training from the same start again, on the first model's answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from triptych.config import TrainingConfig
from triptych.models.multimodal import MultimodalModel
from triptych.tuning import again
from triptych.tuning.base import TuningContext
from triptych.tuning.deep import freeze_lowest, sources
from triptych.tuning.loop import fit
from triptych.tuning.sources import Source
from triptych.types import Sample

Samples = Callable[..., list[Sample]]


def test_the_second_training_starts_where_the_first_did_and_is_taught_its_answers(
    text_model: MultimodalModel, samples: Samples, context: TuningContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingConfig(epochs=2, batch_size=8, learning_rate=3e-3, label_smoothing=0.0)
    train, pool = samples(24), [Sample(f"pool-{s.id}", text=s.text) for s in samples(10, seed=3)]
    hard = torch.eye(3)[text_model.head.encode([s.target for s in train])]
    seen: list[tuple[dict[str, Tensor], int, Tensor]] = []
    answers: list[Tensor] = []

    def watched(model: MultimodalModel, source: Source, targets: Tensor, *rest: object, step: str) -> object:
        seen.append(({k: v.clone() for k, v in model.state_dict().items()}, len(source.costs), targets.clone()))
        result = fit(model, source, targets, *rest, step=step)  # type: ignore[arg-type]
        if step == "test-first":
            everything, _ = sources(model, [*train, *pool], [], settings, context, [], step="x")
            with torch.inference_mode():
                batch = everything.batch(range(34))
                answers.append(model(batch, keep=batch.mask).logits.softmax(dim=1))
        return result

    monkeypatch.setattr(again, "fit", watched)
    result = again.tune_again(text_model, train, pool, [], settings, context, [], step="test", targets=hard)

    (before, rows, _), (start, all_rows, taught) = seen
    assert (rows, all_rows, result.epochs) == (24, 34, 4)
    assert all(torch.equal(before[name], start[name]) for name in before)
    torch.testing.assert_close(taught[24:], answers[0][24:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(taught[:24], (answers[0][:24] + hard) / 2, atol=1e-5, rtol=1e-4)


def test_the_second_training_can_have_settings_of_its_own(
    text_model: MultimodalModel, samples: Samples, context: TuningContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingConfig(epochs=1, batch_size=8, learning_rate=3e-3, label_smoothing=0.0, frozen_layers=1)
    train, pool = samples(24), [Sample(f"pool-{s.id}", text=s.text) for s in samples(10, seed=3)]
    hard = torch.eye(3)[text_model.head.encode([s.target for s in train])]
    again_settings = settings.model_copy(update={"frozen_layers": 0, "epochs": 3})
    freeze_lowest(text_model, settings.frozen_layers)
    lowest = text_model.encoder("text").stack[0].state_dict
    start = {name: tensor.clone() for name, tensor in lowest().items()}
    after: list[dict[str, Tensor]] = []
    cached: list[bool] = []

    def watched(*arguments: object, step: str) -> object:
        cached.append("hidden" in arguments[1].batch([0]).parts["text"][1])  # type: ignore[attr-defined]
        result = fit(*arguments, step=step)  # type: ignore[arg-type]
        after.append({name: tensor.clone() for name, tensor in lowest().items()})
        return result

    monkeypatch.setattr(again, "fit", watched)
    notes: list[str] = []
    result = again.tune_again(
        text_model, train, pool, [], settings, context, notes, step="test", targets=hard, again=again_settings
    )

    assert result.epochs == 4
    assert cached == [True, False]
    first, second = after
    assert all(torch.equal(first[name], start[name]) for name in start)
    assert not all(torch.equal(second[name], start[name]) for name in start)
    assert any("embeddings stay fixed" in note for note in notes)
