"""The model as a whole: subsets, placeholders, trust."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.core.models.tiny import tiny_model, train, views
from triptych.errors import DataError
from triptych.models.multimodal import Features
from triptych.models.trust import fit_trust
from triptych.types import Sample

FUSIONS = ["mean", "concat", "gated", "attention", "late"]
SUBSETS = [c for n in (1, 2, 3) for c in itertools.combinations(("text", "image", "audio"), n)]


def accuracy(model, features, targets):
    with torch.inference_mode():
        return float((model.fuse(features).logits.argmax(dim=1) == targets).float().mean())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_subset_answers_and_together_they_are_better(fusion):
    model = train(tiny_model(fusion), *views(400))
    features, targets = views(600, seed=1)
    found = {parts: accuracy(model, features.only(parts), targets) for parts in SUBSETS}
    assert min(found.values()) > 0.4  # chance is a third
    assert found["text", "image", "audio"] > max(found[m,] for m in ("text", "image", "audio")) + 0.02


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("placeholder", [0.0, 1e6, float("nan")])
def test_what_stands_for_an_absent_part_changes_nothing(fusion, placeholder):
    model = tiny_model(fusion)
    features, _ = views(8)
    some = features.only(["image"])
    spoilt = Features(
        {m: v if m == "image" else torch.full_like(v, placeholder) for m, v in some.vectors.items()}, some.mask
    )
    assert torch.equal(model.fuse(some).logits, model.fuse(spoilt).logits)


def test_a_sample_with_nothing_to_encode_is_named():
    with pytest.raises(DataError, match="'lost' has none of: text, image"):
        tiny_model(parts=("text", "image")).features([Sample("lost", audio=[1.0])])


def test_a_batch_drops_what_keep_says():
    model = tiny_model()
    samples = [Sample(str(i), *(torch.randn(n).numpy() for n in (6, 4, 5))) for i in range(3)]
    keep = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    dropped = model(model.prepare(samples), keep=keep)
    alone = model(model.prepare([samples[0].only(["text"])]))
    torch.testing.assert_close(dropped.logits[:1], alone.logits)
    assert torch.equal(dropped.weights > 0, keep)


@pytest.mark.parametrize("fusion", ["gated", "attention", "late"])
def test_trust_is_taken_from_a_part_that_only_looked_good_in_training(fusion):
    noise = {"text": 1.2, "image": 0.1, "audio": 1.2}
    model = train(tiny_model(fusion), *views(300, noise=noise))
    broken = {**noise, "image": 30.0}
    held, targets = views(200, noise=broken, seed=2)
    test, wanted = views(600, noise=broken, seed=3)
    before, others = accuracy(model, test, wanted), {k: v.clone() for k, v in model.state_dict().items()}
    moved = fit_trust(model, held, targets)
    assert moved["image"] < min(moved["text"], moved["audio"])
    assert accuracy(model, test, wanted) > before
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, others[k])]
    assert changed == ["fusion.trust"]


def test_trust_is_left_alone_where_there_is_none_or_nothing_to_compare():
    features, targets = views(50)
    assert fit_trust(tiny_model("mean"), features, targets) is None
    assert fit_trust(tiny_model(parts=("text",)), features, targets) is None
    assert fit_trust(tiny_model("late"), features.only(["text"]), targets) is None


@pytest.mark.parametrize("kind", ["embedding", "regression"])
def test_trust_is_fitted_for_heads_without_a_temperature(kind):
    head = {"kind": "embedding", "outputs": 8} if kind == "embedding" else {"kind": "regression", "names": ["value"]}
    features, targets = views(60)
    model = tiny_model(head=head)
    held = targets if kind == "embedding" else model.head.encode(targets.float().tolist())
    moved = fit_trust(model, features, held)
    assert moved is None or set(moved) == {"text", "image", "audio"}
