"""What reviewers are shown first, what their verdicts say of the answers, and what is learnt from them."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.apps.conftest import Call
from tests.apps.server.conftest import keep
from tests.apps.shop import WORDS, write_picture, write_table
from tests.core.runtime import serving
from tests.core.runtime.bundles import write_exported
from triptych.bundle import BundleWriter, Manifest, open_bundle, verdicts_home
from triptych.config import DataConfig
from triptych.data.reviewed import read_reviewed
from triptych.data.splits import load_splits
from triptych.errors import DataError, UnknownNameError
from triptych.hookspecs import hookimpl
from triptych.host import Host
from triptych.predictor import Predictor, load
from triptych.runtime.open import variant_path
from triptych.types import VerticalSpec
from triptych_apps.server import ranking, reviewing
from triptych_apps.server.decisions import Recorder
from triptych_apps.server.ranking import Candidate


def answers(recorder: Recorder, predictor: Predictor, *requests: dict[str, Any]) -> list[str]:
    made = [predictor.request(**fields) for fields in requests]
    return [str(name) for name in keep(recorder, predictor, made)[1]]


def candidate(name: str, confidence: float, **changes: Any) -> Candidate:
    fields = {"margin": confidence, "in_scope": True, "attention": None, "lot": random.Random(name).random(), **changes}
    return Candidate(name, confidence, **fields)


def apart(name: str) -> frozenset[str]:
    """Texts that have nothing in common."""
    return frozenset([name])


def test_the_most_valuable_come_first():
    order = [
        candidate("all of it", 0.3, in_scope=False, attention="handed off", disagrees=True),
        candidate("a person", 0.6, attention="handed off"),
        candidate("others", 0.62, disagrees=True),
        candidate("outside", 0.9, in_scope=False, margin=0.66),
        candidate("two labels", 0.9, margin=0.1),
        candidate("unsure", 0.55),
        candidate("sure", 0.99),
    ]
    places = ranking.queue(list(reversed(order)), apart, 4)
    assert [place.candidate.name for place in places] == [c.name for c in order[:4]]
    assert "two labels are near" in order[4].reasons
    assert order[0].reasons == ["out of scope", "another version disagrees", "handed off"]
    assert [c.value for c in order] == sorted((c.value for c in order), reverse=True)


def test_near_duplicates_wait():
    words = {
        "first": "where is my parcel today", "same": "where is my parcel today please", "like": "where is my parcel",
        "other": "the app shows an error", "known": "a stolen card",
    }  # fmt: skip
    candidates = [candidate("first", 0.2), candidate("same", 0.21), candidate("like", 0.22), candidate("other", 0.5),
                  candidate("known", 0.2), candidate("reviewed", 0.2, correct=True)]  # fmt: skip
    words["reviewed"] = words["known"]
    places = ranking.queue(candidates, lambda name: ranking.words_of(words[name]), 4)
    assert [place.candidate.name for place in places][:2] == ["first", "other"]
    assert "known" not in [place.candidate.name for place in places if not place.drawn]


def test_every_fifth_is_drawn_by_lot_and_nothing_comes_twice():
    candidates = [candidate(str(n), n / 200) for n in range(200)]
    places = ranking.queue(candidates, apart, 60)
    assert [place.drawn for place in places[:10]] == [False, False, False, False, True] * 2
    assert len({place.candidate.name for place in places}) == 60
    drawn = [place.candidate for place in places if place.drawn]
    for stratum in {c.stratum for c in candidates}:  # in each, the smallest lots that are not taken for their value
        valued = {place.candidate.name for place in places if not place.drawn}
        left = sorted((c for c in candidates if c.stratum == stratum and c.name not in valued), key=lambda c: c.lot)
        inside = sorted((c for c in drawn if c.stratum == stratum), key=lambda c: c.lot)
        assert inside == left[: len(inside)]
    assert len(ranking.queue(candidates, apart, 500)) == 200
    assert ranking.queue([], apart, 5) == []


def test_the_estimate_is_without_bias_where_the_reviewed_are_not():
    rng = random.Random(7)
    confidences = [rng.betavariate(4, 1.5) for _ in range(300)]
    right = [rng.random() < confidence for confidence in confidences]  # the unsure are more often wrong
    truth = sum(right) / len(right)
    estimates, naive, within = [], [], 0
    for _ in range(25):
        waiting = [candidate(str(n), c, lot=rng.random()) for n, c in enumerate(confidences)]
        chosen = {int(place.candidate.name) for place in ranking.queue(waiting, apart, 120)}
        reviewed = [
            candidate(c.name, c.confidence, lot=c.lot, correct=right[n] if n in chosen else None)
            for n, c in enumerate(waiting)
        ]
        found = ranking.estimate(reviewed)
        assert found.share is not None
        assert found.error is not None
        estimates.append(found.share)
        within += abs(found.share - truth) <= 2 * found.error
        naive.append(sum(right[n] for n in chosen) / len(chosen))
    mean = sum(estimates) / len(estimates)
    assert mean == pytest.approx(truth, abs=0.03)
    assert sum(naive) / len(naive) < truth - 0.05
    assert within >= 21


def test_without_a_reviewed_one_in_each_stratum_nothing_is_claimed():
    one = [candidate("a", 0.99, correct=True), candidate("b", 0.2)]
    assert ranking.estimate(one).share is None
    assert ranking.estimate([candidate("a", 0.99, correct=True), candidate("b", 0.2, correct=False)]).share == 0.5
    assert ranking.estimate([]).share is None


def test_verdicts_are_kept_and_take_a_decision_out_of_the_queue(recorder, predictor):
    names = answers(recorder, predictor, {"text": "red"}, {"text": "green and blue"}, {"text": "wrong"})
    queued = reviewing.queue(10)
    assert {item.id for item in queued} == set(names[:2])  # what has no answer cannot be judged
    assert queued[0].id == names[1]
    assert reviewing.accuracy("desk").share is None
    reviewing.verdict(names[0], "wrong", by="Eve")
    reviewing.verdict(names[0], "correct", by="Ann", note="looked twice")
    reviewing.verdict(names[1], "label", label=" blue ", by="Ann")
    assert reviewing.queue(10, "desk") == []
    shown = reviewing.show(names[0])
    assert (shown.verdict, shown.reviewer, shown.note) == ("correct", "Ann", "looked twice")
    assert reviewing.show(names[1]).verdict_label == "blue"
    assert reviewing.accuracy("desk").reviewed == 2
    recorder.disagreed(names[0], "v2", "It is blue")
    assert recorder.store.rows("SELECT answer FROM disagreement") == [{"answer": "It is blue"}]


@pytest.mark.parametrize(
    ("verdict", "fields", "said"),
    [("label", {}, "needs a label"), ("correct", {"label": "red"}, "needs a label"), ("maybe", {}, "not 'maybe'"),
     ("label", {"label": "x" * 201}, "at most 200"), ("correct", {"by": " "}, "name of who"),
     ("correct", {"note": "\0"}, "no zero")],
)  # fmt: skip
def test_verdicts_that_cannot_be(recorder, predictor, verdict, fields, said):
    (name,) = answers(recorder, predictor, {"text": "red"})
    with pytest.raises(DataError, match=said):
        reviewing.verdict(name, verdict, **{"by": "Ann", **fields})


def test_unknown_ones_are_told(recorder, predictor, tmp_path):
    picture = write_picture(tmp_path / "a.png", "green").read_bytes()
    name, failed = answers(recorder, predictor, {"image": picture}, {"text": "wrong"})
    assert reviewing.media(name, "image") == picture
    with pytest.raises(UnknownNameError):
        reviewing.media(name, "audio")
    with pytest.raises(UnknownNameError):
        reviewing.verdict("no id", "correct", by="Ann")
    with pytest.raises(UnknownNameError):
        reviewing.queue(5, "nobody")
    with pytest.raises(DataError, match="no answer to be judged"):
        reviewing.verdict(failed, "correct", by="Ann")


def test_the_commands(recorder, predictor, call: Call, tmp_path):
    picture = write_picture(tmp_path / "a.png", "green").read_bytes()
    red, blue, seen = answers(recorder, predictor, {"text": "red"}, {"text": "red blue"}, {"image": picture})
    listed = json.loads(call("review", "list", "--json").out)
    assert listed["items"][0]["id"] == blue
    assert blue in call("review", "list", "--vertical", "desk").out
    assert call("review", "label", blue).code == 2
    assert json.loads(call("review", "label", blue, "--label", "blue", "--by", "Ann", "--json").out)["label"] == "blue"
    assert call("review", "label", red, "--correct", "--by", "Ann").code == 0
    table = tmp_path / "reviewed.jsonl"
    done = json.loads(call("review", "export", "desk", table, "--json").out)
    assert (done["samples"], done["corrected"]) == (2, 1)
    assert {r["text"]: r["label"] for r in map(json.loads, table.read_text().splitlines())} == {
        "red": "red", "red blue": "blue",
    }  # fmt: skip
    call("review", "label", seen, "--wrong", "--by", "Ann")
    assert json.loads(call("review", "export", "desk", table, "--json").out)["left_out"] == {
        "wrong, without the right label": 1
    }
    call("review", "label", seen, "--label", "green", "--by", "Ann")
    assert call("review", "export", "desk", table).code == 3  # a picture fits into no JSONL
    assert call("review", "export", "desk", tmp_path / "r.parquet").code == 0
    rows = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert [row["image"] for row in rows if row["id"].endswith(seen)] == [picture]
    assert "Ann" in call("review", "show", seen).out
    assert json.loads(call("review", "erase", seen, "--json").out) == {"erased": 1}
    assert call("review", "show", seen).code == 2


def write_reviewed(path: Path, *rows: tuple[str, str]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number, (text, label) in enumerate(rows):
            row = {"id": f"decision:{number}", "text": text, "label": label, "verdict": "label", "version": "v1"}
            file.write(json.dumps(row) + "\n")
    return path


def test_what_measures_the_model_is_never_learnt(tmp_path):
    data = write_table(tmp_path / "data")
    config = DataConfig(path=str(data))
    splits = dict(load_splits(config, seed=1)[0].items())
    tested, trained = splits["test"][0], splits["train"][0]
    reviewed = write_reviewed(
        tmp_path / "reviewed.jsonl",
        (f"  {tested.text.upper()} ", "red"),  # the same words, though another sample
        (splits["validation"][0].text, "blue"),
        (trained.text, "red" if trained.target != "red" else "blue"),
        ("new words", "red"),
        ("new words", "green"),  # reviewed again, by somebody who knows better
    )
    found = read_reviewed(config.model_copy(update={"reviewed_path": str(reviewed)}), splits)
    assert found.counts["left_out"] == {"in validation or test": 2, "reviewed again": 1}
    assert [(s.text, s.target) for s in found.samples][-1] == ("new words", "green")
    held_out = {" ".join(s.text.casefold().split()) for name in ("validation", "test") for s in splits[name]}
    assert not held_out & {" ".join(s.text.casefold().split()) for s in found.samples}


class Colours:
    """The shop of the command line's tests, with the runners of hand-written models."""

    triptych_parts = staticmethod(serving.triptych_parts)

    @staticmethod
    @hookimpl
    def triptych_verticals() -> list[VerticalSpec]:
        return [VerticalSpec("shop", "tests.apps.shop:Shop", "Sells colours.")]


def write_shop(folder: Path) -> Predictor:
    """A bundle of the shop whose model was written by hand."""
    with BundleWriter(folder / "bundle", folder / "work") as writer:
        write_exported(variant_path(writer.path, "tiny"))
        ledger = {"chosen": "tiny", "variants": []}
        writer.commit(Manifest(vertical="shop", config={"vertical": {}}, ledger=ledger))
    return load(folder / "bundle", host=Host({"colours": Colours()}, installed=False))


def test_verdicts_reach_the_next_training(call: Call, tmp_path):
    """A shop that learns what `mauve` is from reviewed decisions alone."""
    data = write_table(tmp_path / "data", rows=45)
    settings = ("--set", "training.epochs=1", "--json")
    assert call("train", "shop", "--data", data, "--verdicts", *settings).code == 6  # nothing was written down yet
    first = write_shop(tmp_path)
    picture = write_picture(tmp_path / "a.png", "blue").read_bytes()
    texts = [f"a soft mauve curtain {n}" for n in range(12)]
    recorder = Recorder()
    requests = [first.request(text=text) for text in texts] + [first.request(text="and this", image=picture)]
    names = [str(name) for name in keep(recorder, first, requests)[1]]
    recorder.close()
    assert call("train", "shop", "--data", data, "--verdicts", *settings).code == 3  # nothing was reviewed yet
    for name in names[:12]:
        reviewing.verdict(name, "label", label="mauve", by="Ann")
    reviewing.verdict(names[12], "correct", by="Ann")
    done = call("train", "shop", "--data", data, "--verdicts", *settings)
    assert done.code == 0, done.err
    assert json.loads(done.out)["metrics"]["data"]["reviewed"] == 13
    manifest = open_bundle(json.loads(done.out)["bundle"]).manifest
    assert manifest.data.details["reviewed"]["verdicts"] == {"label": 12, "correct": 1}
    assert manifest.data.details["reviewed"]["versions"] == {first.bundle.version: 13}
    assert "mauve" in manifest.data.details["labels"]
    assert set(manifest.data.details["labels"]) == {*WORDS, "mauve"}
    assert not Path(manifest.config["data"]["reviewed_path"]).is_absolute()
    assert (verdicts_home() / manifest.config["data"]["reviewed_path"]).is_file()
    with data.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 45  # the user's data is as it was
