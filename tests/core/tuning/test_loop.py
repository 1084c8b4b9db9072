from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from triptych.config import TrainingConfig
from triptych.device import fast_bfloat16
from triptych.models.multimodal import Features, MultimodalModel
from triptych.tuning.average import WeightAverage
from triptych.tuning.base import Progress, TuningContext
from triptych.tuning.loop import batches, drop_modalities, fit, parameter_groups, schedule
from triptych.tuning.sources import FeatureSource, LowerSource, SampleSource
from triptych.types import Sample

Samples = Callable[..., list[Sample]]


def test_every_row_is_in_exactly_one_batch() -> None:
    found = batches([i % 17 for i in range(1_003)], 32, seed=3)

    assert sorted(row for batch in found for row in batch) == list(range(1_003))


def test_batches_hold_rows_of_like_cost() -> None:
    costs = torch.randint(5, 60, (2_000,), generator=torch.Generator().manual_seed(0)).tolist()

    padded = sum(max(costs[r] for r in batch) * len(batch) for batch in batches(costs, 32, seed=0))

    assert padded < 1.05 * sum(costs)


def test_batches_differ_between_seeds_and_repeat_with_one() -> None:
    costs = list(range(200))

    assert batches(costs, 8, seed=1) == batches(costs, 8, seed=1)
    assert batches(costs, 8, seed=1) != batches(costs, 8, seed=2)


def test_modality_dropout_never_drops_the_last_part_nor_adds_one() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 1, 1]], dtype=torch.bool).repeat(200, 1)

    keep = drop_modalities(mask, 0.9)

    assert bool(keep.any(dim=1).all())
    assert not bool((keep & ~mask).any())
    assert keep.sum() < mask.sum()


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [schedule(i, 100, 0.1) for i in range(100)]

    assert rates.index(max(rates)) == 9
    assert max(rates) == 1.0
    assert 0 < rates[-1] < 0.02


def test_pretrained_encoders_learn_slower_than_the_head_and_biases_do_not_decay(text_model: MultimodalModel) -> None:
    settings = TrainingConfig(learning_rate=1e-5, head_learning_rate=1e-2, weight_decay=0.1)

    groups = parameter_groups(text_model, settings)

    assert {(g["lr"], g["weight_decay"]) for g in groups} == {(1e-5, 0.1), (1e-5, 0.0), (1e-2, 0.1), (1e-2, 0.0)}
    assert sum(len(g["params"]) for g in groups) == len(list(text_model.parameters()))


def test_lower_layers_computed_once_give_the_same_logits(text_model: MultimodalModel, samples: Samples) -> None:
    encoder = text_model.encoder("text")
    encoder.freeze_lowest(2)  # type: ignore[operator]
    data = samples(20)
    rows = [3, 11, 7, 0]

    with torch.inference_mode():
        raw = text_model(SampleSource(text_model, data).batch(rows)).logits
        cached = text_model(LowerSource(text_model, data, "text", batch_size=6).batch(rows)).logits

    torch.testing.assert_close(raw, cached, atol=5e-3, rtol=0)  # kept as float16


def train(model: MultimodalModel, context: TuningContext, data: list[Sample], held: list[Sample], **options: object):  # type: ignore[no-untyped-def]
    settings = TrainingConfig.model_validate({"epochs": 6, "batch_size": 8, "learning_rate": 3e-3, **options})
    encode = model.head.encode
    return fit(
        model,
        SampleSource(model, data),
        encode([s.target for s in data]),
        SampleSource(model, held),
        encode([s.target for s in held]),
        settings,
        context,
        step="test",
    )


def test_training_learns_and_keeps_the_best_weights(
    text_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    held = samples(30, seed=5)

    result = train(text_model, context, samples(90), held)

    logits = text_model.fuse(text_model.features(held)).logits
    accuracy = (logits.argmax(dim=1) == text_model.head.encode([s.target for s in held])).float().mean()
    assert result.best == max(row["accuracy"] for row in result.history) == pytest.approx(float(accuracy))
    assert result.best > 0.9


def test_training_stops_when_validation_no_longer_gains(
    text_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    result = train(text_model, context, samples(30), samples(9, seed=5), epochs=40, patience=2, learning_rate=1e-9,
                   head_learning_rate=1e-9)  # fmt: skip

    assert result.epochs < 40


def test_with_an_average_it_is_the_average_that_is_judged_and_kept(
    text_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    start = {k: v.clone() for k, v in text_model.state_dict().items()}
    data, held = samples(90), samples(30, seed=5)
    train(text_model, context, data, held)
    last = {k: v.clone() for k, v in text_model.state_dict().items()}
    text_model.load_state_dict(start)

    result = train(text_model, context, data, held, average=0.95)

    logits = text_model.fuse(text_model.features(held)).logits
    accuracy = (logits.argmax(dim=1) == text_model.head.encode([s.target for s in held])).float().mean()
    assert result.best == max(row["accuracy"] for row in result.history) == pytest.approx(float(accuracy))
    assert any(not torch.equal(value, last[key]) for key, value in text_model.state_dict().items())


def test_an_average_follows_the_weights_and_gives_them_back(text_model: MultimodalModel) -> None:
    average = WeightAverage(text_model, 0.5)
    weight = text_model.head.linear.weight
    first = weight.detach().clone()
    with torch.no_grad():
        weight.add_(2.0)

    average.step(text_model)  # the first step counts for nine tenths

    with average.in_place(text_model):
        torch.testing.assert_close(text_model.head.linear.weight.detach(), first + 1.8)
    assert torch.equal(text_model.head.linear.weight, first + 2.0)
    for _ in range(60):
        average.step(text_model)
    with average.in_place(text_model):
        torch.testing.assert_close(text_model.head.linear.weight.detach(), first + 2.0)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_killed_run_goes_on_and_ends_where_an_undisturbed_one_does(
    samples: Samples,
    context: TuningContext,
    text_model: MultimodalModel,
    tmp_path_factory: pytest.TempPathFactory,
    average: float,
) -> None:
    start = {k: v.clone() for k, v in text_model.state_dict().items()}
    data, held = samples(60), samples(15, seed=5)
    train(text_model, context, data, held, average=average)
    undisturbed = {k: v.clone() for k, v in text_model.state_dict().items()}

    def die(progress: Progress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    other = dataclasses.replace(context, workspace=tmp_path_factory.mktemp("other"), progress=die)
    text_model.load_state_dict(start)
    with pytest.raises(KeyboardInterrupt):
        train(text_model, other, data, held, average=average)
    text_model.load_state_dict(start)
    seen: list[int] = []
    again = dataclasses.replace(other, progress=lambda p: seen.append(p.done))
    train(text_model, again, data, held, average=average)

    assert seen == [4, 5, 6]
    for key, value in text_model.state_dict().items():
        torch.testing.assert_close(value, undisturbed[key], msg=key)


def test_a_damaged_checkpoint_only_costs_time(
    samples: Samples, context: TuningContext, text_model: MultimodalModel
) -> None:
    start = {k: v.clone() for k, v in text_model.state_dict().items()}
    train(text_model, context, samples(24), samples(9, seed=5), epochs=2)
    for file in (context.workspace / "test").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    text_model.load_state_dict(start)

    result = train(text_model, context, samples(24), samples(9, seed=5), epochs=2)

    assert result.epochs == 2


def test_other_data_does_not_take_up_an_old_checkpoint(
    samples: Samples, context: TuningContext, text_model: MultimodalModel
) -> None:
    start = {k: v.clone() for k, v in text_model.state_dict().items()}
    train(text_model, context, samples(24), samples(9, seed=5), epochs=2)
    text_model.load_state_dict(start)
    seen: list[int] = []

    context = dataclasses.replace(context, progress=lambda p: seen.append(p.done))
    train(text_model, context, samples(24, seed=9), samples(9, seed=5), epochs=2)

    assert seen == [1, 2]


def test_checkpoints_hold_no_pickle(samples: Samples, context: TuningContext, text_model: MultimodalModel) -> None:
    train(text_model, context, samples(24), samples(9, seed=5), epochs=2)

    assert {f.suffix for f in (context.workspace / "test").iterdir()} == {".safetensors", ".json"}


def test_tensorboard_scalars_are_written_when_asked_for(
    samples: Samples, context: TuningContext, text_model: MultimodalModel
) -> None:
    pytest.importorskip("tensorboard")

    train(text_model, context, samples(24), samples(9, seed=5), epochs=1, tensorboard=True)

    assert list((context.workspace / "tensorboard" / "test").glob("events.*"))


def test_cached_features_are_trained_on_as_well(text_model: MultimodalModel, context: TuningContext) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 3
    vectors = torch.randn(60, 32, generator=generator) * 0.1
    vectors[torch.arange(60), targets] += 1
    source = FeatureSource(Features({"text": vectors}, torch.ones(60, 1, dtype=torch.bool)))
    settings = TrainingConfig(epochs=15, batch_size=16, head_learning_rate=5e-2)

    result = fit(text_model, source, targets, source, targets, settings, context, step="features")

    assert result.best == 1.0


@pytest.mark.skipif(not fast_bfloat16(torch.device("cpu")), reason="this processor does not multiply bfloat16")
def test_bfloat16_rounds_products_in_training_and_leaves_weights_and_answers_float32(
    text_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    seen: list[torch.dtype] = []
    text_model.head.linear.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))

    result = train(text_model, context, samples(90), samples(30, seed=5), bfloat16=True)

    assert set(seen) == {torch.bfloat16, torch.float32}  # training and validation
    assert {p.dtype for p in text_model.parameters()} == {torch.float32}
    assert result.best > 0.9
