from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.core.tuning.conftest import LABELS, tiny_encoder
from triptych.config import TrainingConfig
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.tuning.frozen import Frozen
from triptych.types import Sample

Samples = Callable[..., list[Sample]]


@pytest.fixture
def lexical_model() -> MultimodalModel:
    encoder = tiny_encoder()
    encoder.set_lexical(None)  # wanted, not learnt yet
    return MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, LABELS))


def unseen_by_the_encoder(samples: list[Sample]) -> list[Sample]:
    """Telling words that its tokenizer does not know: only n-grams see them."""
    return [s.replace(text=f"my {'xyz'['clt'.index(s.target[0])]}ylophone") for s in samples]


def test_words_that_the_encoder_cannot_tell_apart_are_learnt_beside_it(
    lexical_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    data = unseen_by_the_encoder(samples(30))

    report = Frozen().tune(lexical_model, data, data, TrainingConfig(), context)

    assert report.best == 1.0
    assert "n-grams" in report.notes[-1]
    logits = lexical_model.fuse(lexical_model.features(data)).logits
    assert torch.equal(logits.argmax(dim=1), lexical_model.head.encode([s.target for s in data]))


def test_an_encoder_with_a_table_is_restored(
    lexical_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    data = unseen_by_the_encoder(samples(30))
    Frozen().tune(lexical_model, data, data, TrainingConfig(), context)
    encoder = lexical_model.encoder("text")
    encoder.save_assets(context.workspace)

    other = TransformerTextEncoder.restore(encoder.settings, context.workspace)
    other.load_state_dict(encoder.state_dict())

    assert other.dim == lexical_model.head.dim == encoder.dim
    texts = [s.text for s in data]
    torch.testing.assert_close(other.encode(texts), encoder.encode(texts))


def test_tuning_twice_does_not_pile_up_tables(
    lexical_model: MultimodalModel, context: TuningContext, samples: Samples
) -> None:
    data = unseen_by_the_encoder(samples(30))

    for _ in range(2):
        Frozen().tune(lexical_model, data, data, TrainingConfig(), context)

    assert lexical_model.encoder("text").dim == 32 + len(LABELS)
