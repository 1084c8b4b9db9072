"""The synthetic sample: counts, groups, media that decode, nothing twice, no real names."""

from __future__ import annotations

import csv
import difflib
import hashlib
import itertools
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from triptych.data.media import load_audio, load_image
from triptych_customer_service.intents import SAMPLE, sample_intents
from triptych_customer_service.knowledge import read_articles
from triptych_customer_service.urgency import judge_urgency

OUTSIDE = "out_of_scope"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (SAMPLE / "messages.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def media() -> list[Path]:
    return sorted(path for folder in ("pictures", "voices") for path in (SAMPLE / folder).iterdir())


def test_there_are_enough_messages_of_every_kind(rows):
    inside = [row for row in rows if row["label"] != OUTSIDE]
    labels = Counter(row["label"] for row in inside)
    assert len(labels) >= 16
    assert min(labels.values()) >= 30
    assert len(inside) >= 720
    assert len(rows) - len(inside) >= 100
    assert sum(bool(row["text"] and row["image"] and row["audio"]) for row in rows) >= 200
    with_media = sum(bool(row["image"] or row["audio"]) for row in rows)
    assert 0.35 <= with_media / len(rows) <= 0.7
    assert any(re.search(r"[\u4e00-\u9fff]", row["text"]) for row in rows)


def test_every_row_has_something_and_known_values(rows):
    for row in rows:
        assert row["text"] or row["image"] or row["audio"]
        assert row["label"] in sample_intents() or row["label"] == OUTSIDE
        assert row["urgency"] in ("low", "normal", "high")
        assert row["group"].startswith(row["label"])


def test_no_id_text_or_medium_stands_twice(rows):
    assert len({row["id"] for row in rows}) == len(rows)
    texts = [row["text"] for row in rows if row["text"]]
    assert len(set(texts)) == len(texts)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in media()]
    assert len(set(digests)) == len(digests)


def test_paraphrases_share_a_group(rows):
    """A typing error or a greeting must not carry a training message into the test split."""
    by_label: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        if row["text"] and "-vague-" not in row["group"]:
            by_label[row["label"]].append(row)
    for label, known in by_label.items():
        for one, other in itertools.combinations(known, 2):
            if one["group"] != other["group"]:
                matcher = difflib.SequenceMatcher(None, one["text"].lower(), other["text"].lower(), autojunk=False)
                near = matcher.real_quick_ratio() > 0.85 and matcher.quick_ratio() > 0.85 and matcher.ratio() > 0.85
                assert not near, f"{label}: {one['text']!r} and {other['text']!r} stand in two groups"


def test_the_files_are_those_that_the_rows_name_and_all_decode(rows):
    named = {row[key] for row in rows for key in ("image", "audio") if row[key]}
    assert named == {path.relative_to(SAMPLE).as_posix() for path in media()}
    for path in media():
        if path.parent.name == "pictures":
            assert min(load_image(path).size) >= 140
        else:
            assert 0.5 < len(load_audio(path, 16_000)) / 16_000 < 6


def test_the_sample_is_small():
    sizes = [path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in media()) < 5_000_000
    assert max(sizes) <= 1 << 20


def test_nothing_looks_like_a_real_person_company_or_number(rows):
    written = ("messages.csv", "knowledge_base.jsonl", "intents.toml")
    text = "\n".join((SAMPLE / name).read_text(encoding="utf-8") for name in written)
    assert not re.search(r"[\w.]+@[\w.]+\.\w+", text)
    assert not re.search(r"https?://|www\.", text)
    everything = "\n".join(row["text"] for row in rows)
    assert not re.search(r"\+?\d[\d ()-]{8,}\d", everything), "a telephone number"
    brands = (
        r"\b(amazon|ikea|ebay|walmart|paypal|visa|mastercard|klarna|dhl|ups|fedex|apple|google|samsung|zara|nike)\b"
    )
    assert not re.search(brands, text.lower())


def test_the_transcripts_are_those_of_the_media_by_a_named_reader():
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in media()}
    transcripts = [json.loads(line) for line in (SAMPLE / "transcripts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["digest"] for row in transcripts} == digests
    assert {row["reader"] for row in transcripts} == {"rapidocr", "pocketsphinx"}
    assert all(row["fingerprint"] for row in transcripts)
    readable = sum(bool(row["text"]) for row in transcripts)
    assert readable > 0.6 * len(transcripts)


def test_the_knowledge_base_serves_every_intent():
    articles = read_articles(SAMPLE / "knowledge_base.jsonl")
    assert len(articles) >= 40
    assert all(60 <= len(article.body.split()) <= 150 for article in articles)
    served = {intent for article in articles for intent in article.intents}
    assert served == set(sample_intents())
    assert all(text.title and text.description for text in sample_intents().values())


def test_the_urgency_rules_agree_with_the_labels_of_the_sample(rows):
    """The same hand wrote rules and labels: this guards the rules against damage, it says nothing of other shops."""
    agreed: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        inside = row["label"] != OUTSIDE
        prior = sample_intents()[row["label"]].urgency if inside else 0.0
        found = judge_urgency(row["text"], prior=prior, in_scope=inside).level
        agreed[row["urgency"]].append(found == row["urgency"])
    assert {level: sum(a) / len(a) >= 0.9 for level, a in agreed.items()} == {"low": True, "normal": True, "high": True}


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("where is my parcel", "normal"),
        ("no hurry, where is my parcel?", "low"),
        ("THERE IS SMOKE COMING OUT OF IT", "high"),
        ("my account was hacked", "high"),
        ("please cancel today, I need the money", "high"),
        ("thank you for the quick delivery", "normal"),
        ("mon grille-pain a pris feu, c'est dangereux", "high"),
        ("插头冒烟了", "high"),
        (None, "normal"),
    ],
)
def test_urgency_by_example(text, level):
    assert judge_urgency(text).level == level
