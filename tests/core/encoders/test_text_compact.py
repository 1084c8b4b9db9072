from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from triptych.config import TrainingConfig
from triptych.device import choose_device
from triptych.encoders.compact_text import CompactTextEncoder
from triptych.encoders.hashing import grams_of, hashed_grams, padded_grams
from triptych.errors import ConfigError, DataError
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.tuning.frozen import Frozen
from triptych.types import Sample, Task

CHINESE = {
    "card": ["我的银行卡丢了", "银行卡被吞了", "怎么挂失银行卡", "卡片丢失怎么办", "我要补办银行卡", "信用卡丢了"],
    "loan": ["我想申请贷款", "贷款利率是多少", "房屋贷款怎么还", "提前还贷款", "贷款需要什么材料", "贷款多久批准"],
}

PINNED = [95, 212, 271, 361, 405, 408, 458, 531, 541, 557, 732, 746, 766, 776, 786, 788, 833, 971]


def test_hashes_are_the_same_on_every_machine_and_run() -> None:
    buckets, counts = hashed_grams("aa 卡", 1_000)

    assert buckets.tolist() == PINNED
    assert counts.min() == 1


def test_case_blanks_and_width_do_not_matter() -> None:
    assert hashed_grams("Lost  CARD", 5_000)[0].tolist() == hashed_grams("lost card ", 5_000)[0].tolist()
    assert hashed_grams("ＡＢＣ", 5_000)[0].tolist() == hashed_grams("abc", 5_000)[0].tolist()


def test_order_matters_to_pairs_of_words() -> None:
    one, other = set(hashed_grams("not good", 2**20)[0]), set(hashed_grams("good not", 2**20)[0])

    assert one & other
    assert one - other


ODD = ["", "aa 卡", "  ", "x", "ﷺ" * 40, "not good, not bad", "a" * 5_000, "卡 卡\tİ"]


def test_texts_hashed_together_have_the_grams_that_each_has_alone() -> None:
    together = grams_of(ODD, 1_000)
    indices, counts = padded_grams(ODD, 1_000)

    for row, (text, start, end) in enumerate(zip(ODD, together.starts, together.ends, strict=True)):
        buckets, alone = hashed_grams(text, 1_000)
        assert together.buckets[start:end].tolist() == buckets.tolist()
        assert together.counts[start:end].tolist() == alone.tolist()
        assert set(together.rows[start:end].tolist()) == {row}
        assert indices[row, : len(buckets)].tolist() == buckets.tolist()
        assert counts[row].sum() == pytest.approx(alone.sum())


def test_hashes_of_neighbours_do_not_run_into_each_other() -> None:
    apart = set(hashed_grams("ab", 2**40)[0]) | set(hashed_grams("cd", 2**40)[0])

    assert set(grams_of(["ab", "cd"], 2**40).buckets.tolist()) == {int(bucket) for bucket in apart}


@pytest.mark.parametrize("text", ["", " ", "x", "卡", "🙂", "\u0301"])
def test_the_shortest_texts_have_a_vector(text: str) -> None:
    assert bool(torch.isfinite(CompactTextEncoder.create(dim=8, buckets=64).encode([text, "a longer text"])).all())


def test_chinese_is_learnt_from_scratch(tmp_path: Path) -> None:
    data = [Sample(t, text=t, target=label) for label, texts in CHINESE.items() for t in texts]
    unseen = [Sample("a", text="银行卡在哪里补办", target="card"), Sample("b", text="贷款怎么申请", target="loan")]
    torch.manual_seed(0)
    encoder = CompactTextEncoder.create(dim=32, buckets=4_096)
    model = MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, tuple(CHINESE)))
    encoder.fit([s.text for s in data])

    Frozen().tune(model, data, data, TrainingConfig(epochs=10, batch_size=4),
                  TuningContext(tmp_path, choose_device("cpu"), 0, Task("classification")))  # fmt: skip

    logits = model.fuse(model.features(unseen)).logits
    assert logits.argmax(dim=1).tolist() == [0, 1]


def test_restored_encoder_gives_the_same_vectors(tmp_path: Path) -> None:
    encoder = CompactTextEncoder.create(dim=16, buckets=256)
    encoder.fit(["one text", "another text"])

    other = CompactTextEncoder.restore(json.loads(json.dumps(encoder.settings)), tmp_path)
    other.load_state_dict(encoder.state_dict())

    texts = ["one", "some other 文本"]
    torch.testing.assert_close(other.encode(texts), encoder.encode(texts))
    assert other.fingerprint == encoder.fingerprint


def test_rare_words_weigh_more_after_fit() -> None:
    encoder = CompactTextEncoder.create(dim=8, buckets=2**14)
    encoder.fit(["the card", "the loan", "the transfer"])

    the, card = (encoder.rarity[torch.from_numpy(hashed_grams(w, 2**14)[0])].max() for w in ("the", "card"))

    assert card > the


def test_bad_sizes_options_and_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="buckets >= 2"):
        CompactTextEncoder.create(buckets=1)
    with pytest.raises(ConfigError, match="Did you mean 'dim'"):
        CompactTextEncoder.create(dimm=3)
    with pytest.raises(DataError, match="a text is wanted"):
        CompactTextEncoder.create().encode([b"bytes"])
