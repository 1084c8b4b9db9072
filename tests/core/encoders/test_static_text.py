"""Words and pairs of words as rows of a table, and the encoder that sums them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from triptych.encoders.static_text import StaticTextEncoder
from triptych.encoders.units import LONGEST_WORD, PADDING, SPELLINGS, Vocabulary, spelling, split_units, split_words
from triptych.errors import ConfigError, DataError
from triptych.host import Host
from triptych.models.build import load_model
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.types import Sample

TEXTS = ["I lost my card", "my card was lost", "lost my 卡 again", "卡 again", "I'll pay by card", "I'll pay 5€?"]


def small_encoder(**options: object) -> StaticTextEncoder:
    torch.manual_seed(0)
    encoder = StaticTextEncoder.create(**{"dim": 6, "table": 8, "hidden": 10, "buckets": 16, **options})
    encoder.fit(TEXTS)
    return encoder.eval()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Where's my CARD, please?", ["where's", "my", "card", "please", "?"]),
        ("I haven\u2019t, e-mail (now)...", ["i", "haven't", "e", "mail", "now"]),
        ("我的Visa卡丢了！", ["我", "的", "visa", "卡", "丢", "了", "!"]),
        ("カード", ["カ", "ー", "ド"]),
        ("카드를 잃어버렸어요", ["카드를", "잃어버렸어요"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("ok 😀👍🏽", ["ok", "😀", "👍", "🏽"]),
        ("50€ or £5", ["50", "€", "or", "£", "5"]),
        ("ＡＢＣ", ["abc"]),
        ("...", []),
        ("", []),
    ],
)
def test_texts_are_split_into_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_units_are_words_and_pairs_of_neighbours() -> None:
    assert split_units("lost my card") == ["lost", "my", "card", "lost my", "my card"]
    assert split_units("卡丢") == ["卡", "丢", "卡 丢"]


def test_spellings_are_the_same_on_every_machine_and_run() -> None:
    assert spelling("卡", 1_000) == [384]
    assert spelling("cart", 1_000) == [524, 437, 708, 853, 586, 743, 461, 865, 137]


def test_a_misspelt_word_shares_spellings_with_the_right_one() -> None:
    right, wrong, other = (set(spelling(w, 100_000)) for w in ("transfer", "tranfer", "cheque"))
    assert len(right & wrong) >= 4
    assert not right & other


def test_a_very_long_word_costs_no_more_than_a_long_one() -> None:
    assert len(spelling("x" * 10_000, 64)) == len(spelling("x" * LONGEST_WORD, 64))


def test_frequent_words_come_first_and_pairs_take_what_is_left() -> None:
    vocabulary = Vocabulary.learn(TEXTS, rows=8, buckets=4)
    assert vocabulary.words == ["card", "lost", "my", "again"]
    assert [(vocabulary.words[a], vocabulary.words[b]) for a, b in vocabulary.pairs] == [("lost", "my"), ("my", "card")]
    assert vocabulary.rows == 1 + 4 + 2 + 4


def test_known_words_and_pairs_have_a_row_each() -> None:
    vocabulary = Vocabulary(["lost", "card"], [(0, 1)], buckets=4)
    assert vocabulary.look_up("lost card") == [1, 2, 3]
    assert vocabulary.look_up("card lost") == [2, 1]


def test_unknown_words_stand_for_their_spelling_and_break_pairs() -> None:
    vocabulary = Vocabulary(["lost", "card"], [(0, 1)], buckets=4)
    rows = vocabulary.look_up("lost zzz card")
    assert rows[0] == 1
    assert rows[-1] == 2
    assert 3 not in rows
    assert all(4 <= row < vocabulary.rows for row in rows[1:-1])
    assert len(rows) == 2 + len(spelling("zzz", 4))


def test_remembered_spellings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.encoders.units.SPELLINGS", 10)
    vocabulary = Vocabulary([], [], buckets=4)
    first = vocabulary.look_up("word0")
    for i in range(50):
        vocabulary.look_up(f"word{i}")
    assert len(vocabulary._spellings) <= 10 < SPELLINGS
    assert vocabulary.look_up("word0") == first


def test_a_text_without_words_is_padding() -> None:
    vocabulary = Vocabulary(["lost"], [], buckets=4)
    assert vocabulary.look_up("") == vocabulary.look_up(" ... ") == [PADDING]
    vectors = small_encoder().encode(["", "..."])
    assert torch.isfinite(vectors).all()
    assert torch.allclose(vectors[0], vectors[1], atol=1e-6)  # sums of a batch round differently on some processors


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(DataError, match="a text is wanted, not int"):
        small_encoder().encode(["fine", 3])


def test_vectors_do_not_depend_on_the_batch() -> None:
    encoder = small_encoder()
    texts = [*TEXTS, "", "unheard words", "lost " * 50]
    together = encoder.encode(texts)
    alone = torch.cat([encoder.encode([text]) for text in texts])
    assert torch.allclose(together, alone, atol=1e-6)


def test_no_texts_give_no_vectors() -> None:
    encoder = small_encoder()
    assert encoder.encode([]).shape == (0, 6)
    assert encoder(encoder.prepare([])).shape == (0, 6)


def test_unit_length_where_asked() -> None:
    lengths = small_encoder(normalize=True).encode(TEXTS).norm(dim=1)
    assert torch.allclose(lengths, torch.ones(len(TEXTS)), atol=1e-6)


def test_padding_never_learns() -> None:
    encoder = small_encoder().train()
    encoder(encoder.prepare(TEXTS)).square().sum().backward()
    assert encoder.table.weight.grad is not None
    assert not encoder.table.weight.grad[PADDING].any()
    assert encoder.table.weight.grad.abs().sum() > 0


def test_words_are_learnt_once() -> None:
    encoder = small_encoder()
    before = encoder.vocabulary.words
    encoder.fit(["entirely other words", "entirely other words"])
    assert encoder.vocabulary.words == before


def test_a_saved_model_comes_back_the_same(tmp_path: Path) -> None:
    encoder = small_encoder(normalize=True)
    model = MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, ["a", "b"])).eval()
    model.save(tmp_path)
    again = load_model(tmp_path, Host(installed=False))
    samples = [Sample(str(i), text=text) for i, text in enumerate([*TEXTS, "unseen 词", ""])]
    assert torch.equal(model(model.prepare(samples)).logits, again(again.prepare(samples)).logits)
    assert again.encoder("text").fingerprint == encoder.fingerprint


@pytest.mark.parametrize("options", [{"dim": 0}, {"table": -1}, {"dropout": 1.0}, {"rows": 0}])
def test_sizes_that_make_no_table_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="static:text needs"):
        StaticTextEncoder.create(**options)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'buckets'"):
        StaticTextEncoder.create(bucket=5)
