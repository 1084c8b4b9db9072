"""The vertical: what it promises to the suite, what a run leaves, its answers, and what it says to bad input."""

from __future__ import annotations

import csv
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plugins.recommendation.conftest import host
from tests.plugins.recommendation.tastes import PER_TASTE, USERS, save_picture, taste, user, write_rows, write_shop
from triptych.errors import BundleError, DataError
from triptych.pipeline import RunResult
from triptych.predictor import Predictor, load
from triptych.testing import check_vertical
from triptych_recommendation.about import read_about
from triptych_recommendation.building import fingerprint
from triptych_recommendation.responses import RecommendationResponse
from triptych_recommendation.serving.files import Files
from triptych_recommendation.settings import RecommendationSettings
from triptych_recommendation.vertical import Recommendation

NAME, COLOUR = user(4)  # likes red
ITEMS = 2 * PER_TASTE + 4


@pytest.fixture
def ask(predictor: Predictor) -> Callable[..., RecommendationResponse]:
    def asked(**fields: Any) -> RecommendationResponse:
        found = predictor.answer(**fields)
        assert isinstance(found, RecommendationResponse)
        return found

    return asked


Ask = Callable[..., RecommendationResponse]


def ids(found: RecommendationResponse) -> list[str]:
    return [item.id for item in found.items]


def history_of(built: RunResult, name: str) -> set[str]:
    past = files_of(built).past
    return {past.items[row] for row in past.history(past.users.index(name)).items}


def files_of(built: RunResult) -> Files:
    return Files.open(load(built.bundle, host=host()).files)


# -- promises ----------------------------------------------------------------------------------------------------


def test_the_vertical_keeps_its_promises(predictor: Predictor, tmp_path: Path):
    (tmp_path / "promises").mkdir()
    check_vertical(Recommendation(), tmp_path / "promises", files=predictor.files, dim=read_about(predictor.files).dim)


def test_the_plugin_and_all_that_it_offers_can_be_loaded():
    found = host()
    assert [(info.name, info.error) for info in found.plugins() if info.name == "recommendation"] == [
        ("recommendation", None)
    ]
    assert isinstance(found.vertical("recommendation"), Recommendation)
    assert found.part("strategy", "co-consumption").load().__name__
    assert [pkgutil.resolve_name(command.target).name for command in found.commands()] == ["recommendation"]


# -- a run -------------------------------------------------------------------------------------------------------


def test_a_run_leaves_the_rivals_with_intervals_and_the_one_that_serves(built: RunResult):
    found = built.metrics["vertical"]
    names = {row["model"].removesuffix(" (chosen)") for row in found["rows"]}
    assert {"popularity", "neighbours", "content"} <= names
    assert [row["model"] for row in found["rows"] if row["model"].endswith("(chosen)")] == [
        f"{found['chosen']} (chosen)"
    ]
    for row in found["rows"]:
        assert 0 <= row["low"] <= row["ndcg@10"] <= row["high"] <= 1
        assert {"recall@20", "coverage", "novelty", "popularity", "gini", "validation"} <= set(row)
    by_name = {row["model"].removesuffix(" (chosen)"): row for row in found["rows"]}
    assert by_name["neighbours"]["ndcg@10"] > by_name["popularity"]["ndcg@10"]
    assert set(found["gaps"]["favourite category"]) <= {"warm", "cool", "other"}
    assert f"{USERS:,} users are asked for" in " ".join(found["protocol"])
    assert any("1 items have events but are not in the catalogue: ghost" in note for note in found["notes"])


def test_a_run_leaves_the_report_among_the_files_of_the_bundle(built: RunResult, predictor: Predictor):
    assert built.metrics["vertical"]["report"] in predictor.bundle.manifest.files
    page = (predictor.bundle.path / built.metrics["vertical"]["report"]).read_text(encoding="utf-8")
    assert built.metrics["vertical"]["chosen"] in page


def test_rows_are_items_and_vectors_are_there_for_what_can_be_read(built: RunResult):
    files = files_of(built)
    assert len(files.items) == len(files.past.items) == ITEMS
    with_vector = {item.id for item, vector in zip(files.items, files.vectors, strict=True) if vector.any()}
    assert {item.id for item in files.items} - with_vector == {"plain", "ghost"}
    assert files.encoder


def test_likeness_of_vectors_is_likeness_of_taste(built: RunResult):
    files = files_of(built)
    rows = [row for row, item in enumerate(files.items) if taste(item.id) in ("red", "blue")]
    vectors, colours = files.vectors[rows].astype(np.float32), [taste(files.items[row].id) for row in rows]
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    assert np.mean([colours[best] == own for best, own in zip(cosines.argmax(axis=1), colours, strict=True)]) > 0.9


def test_vectors_of_one_encoder_have_one_fingerprint():
    vectors = np.eye(4, dtype=np.float32)
    assert fingerprint(vectors) == fingerprint(vectors.copy())
    assert fingerprint(vectors) != fingerprint(vectors[::-1].copy())
    assert fingerprint(None) == ""


# -- answers -----------------------------------------------------------------------------------------------------


def test_a_known_user_gets_what_suits_him_and_nothing_that_he_knows(ask: Ask, built: RunResult):
    found = ask(user=NAME, k=5)
    ranked = [item for item in found.items if item.origin == "ranked"]
    assert np.mean([taste(item.id) == COLOUR for item in ranked]) > 0.7
    assert not set(ids(found)) & history_of(built, NAME)
    assert len(set(ids(found))) == 5
    assert found.exposure
    assert found.answer.startswith(f"For {NAME}: ")
    assert 0 < found.confidence <= 1


def test_a_reason_names_what_the_user_did_and_is_evidence(ask: Ask, built: RunResult):
    found = ask(user=NAME)
    cited = {name for item in found.items for name in item.cited}
    assert cited
    assert cited <= history_of(built, NAME)
    assert {evidence.id for evidence in found.evidence} == cited
    assert all(evidence.score > 0 for evidence in found.evidence)
    assert all(item.reason for item in found.items if item.cited)


def test_an_unknown_user_nobody_and_an_empty_history_are_answered(ask: Ask):
    for fields in ({"user": "who?"}, {}, {"history": []}, {"user": ""}):
        found = ask(**fields)
        assert len(found.items) == 10
        assert not found.evidence


def test_what_was_looked_at_just_now_counts_and_unknown_ids_are_told(ask: Ask):
    found = ask(history=["red-1", "red-2", "nothing"], k=5)
    ranked = [item for item in found.items if item.origin == "ranked"]
    assert np.mean([taste(item.id) == "red" for item in ranked]) > 0.7
    assert not {"red-1", "red-2"} & set(ids(found))
    assert any("nothing" in note for note in found.notes)


def test_words_and_a_picture_find_what_is_like_them(ask: Ask, tmp_path: Path):
    for query in ({"text": "clear sky and the ocean"}, {"image": save_picture(tmp_path / "sky.png", "blue")}):
        found = ask(**query, k=5)
        ranked = [item for item in found.items if item.origin == "ranked"]
        assert [taste(item.id) for item in ranked[:2]] == ["blue", "blue"], query
        assert found.answer.startswith(f"For {'these words' if 'text' in query else 'this picture'}: ")
    assert ask(user=NAME, text="clear sky").items


def test_similar_items_are_like_it_and_not_it(ask: Ask):
    found = ask(item="blue-2", k=5)
    assert "blue-2" not in ids(found)
    assert np.mean([taste(name) == "blue" for name in ids(found)]) > 0.7
    assert found.answer.startswith("Like ")


def test_an_item_without_content_is_similar_by_behaviour_or_says_why_not(ask: Ask):
    for name in ("plain", "ghost"):
        found = ask(item=name, k=5)
        assert found.items or found.answer


def test_a_filter_holds_and_one_that_leaves_nothing_says_so(ask: Ask):
    found = ask(user=NAME, where={"category": "cool", "price": {"max": 15}}, k=20)
    assert found.items
    assert all(item.category == "cool" and item.price is not None and item.price <= 15 for item in found.items)
    nothing = ask(user=NAME, where={"category": "hats"})
    assert (nothing.items, nothing.confidence) == ([], 0.0)
    assert "the filter of the request" in nothing.answer


def test_what_is_sold_out_is_not_recommended(ask: Ask):
    assert not {"red-3", "blue-3"} & set(ids(ask(user="who?", k=40)))


def test_an_answer_survives_json(ask: Ask):
    found = ask(user=NAME)
    assert RecommendationResponse.model_validate_json(found.model_dump_json()) == found


# -- bad requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"item": "blu-2"}, "blu-2"),
        ({"item": ""}, "no item"),
        ({"item": "blue-2", "user": NAME}, "two things"),
        ({"item": "blue-2", "text": "sky"}, "two things"),
        ({"user": NAME, "k": 0}, "k: "),
        ({"user": NAME, "k": 1_000_000}, "k: "),
        ({"user": NAME, "where": {"price": {"below": 3}}}, "below"),
        ({"user": NAME, "colour": "red"}, "colour"),
        ({"user": 7}, "user: "),
        ({"image": Path("no-such.png")}, "no-such.png"),
    ],
)
def test_a_request_that_cannot_be_is_named(ask: Ask, fields: dict[str, Any], said: str):
    with pytest.raises(DataError, match=said):
        ask(**fields)


# -- bad data ----------------------------------------------------------------------------------------------------


def table(folder: Path, tmp_path: Path, **data: Any) -> Path:
    """What the vertical makes of a folder, as a build asks for it."""
    settings = RecommendationSettings.model_validate({"data": data})
    (tmp_path / "made").mkdir(exist_ok=True)
    return Recommendation().training_data(settings, folder, tmp_path / "made")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "shop")


def rows_of(path: Path) -> tuple[list[str], list[list[Any]]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    return header, [list(row) for row in rows]


def test_a_missing_folder_a_file_and_missing_tables_are_named(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match="the folder does not exist"):
        table(tmp_path / "none", tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        table(folder / "events.csv", tmp_path)
    (folder / "items.csv").unlink()
    with pytest.raises(DataError, match=r"holds no items\.csv"):
        table(folder, tmp_path)


def test_two_items_of_one_id_are_refused(folder: Path, tmp_path: Path):
    header, rows = rows_of(folder / "items.csv")
    write_rows(folder / "items.csv", header, [*rows, rows[0]])
    with pytest.raises(DataError, match=r"items\.csv, row 32: the id 'red-0' was already used in row 1"):
        table(folder, tmp_path)


def test_nan_in_prices_and_weights_and_events_in_the_future_are_rows_that_cannot_be_used(folder: Path, tmp_path: Path):
    header, rows = rows_of(folder / "items.csv")
    rows[4][header.index("price")] = "NaN"
    write_rows(folder / "items.csv", header, rows)
    with pytest.raises(DataError, match="row 5: the price 'NaN' is not a number"):
        table(folder, tmp_path, on_error="fail")
    assert table(folder, tmp_path).exists()
    header, rows = rows_of(folder / "events.csv")
    weighted = [[*row, "nan" if number == 6 else "1"] for number, row in enumerate(rows)]
    write_rows(folder / "events.csv", [*header, "weight"], weighted)
    with pytest.raises(DataError, match="row 7: the weight 'nan' is not a finite number"):
        table(folder, tmp_path, on_error="fail")
    rows[2][header.index("time")] = "2999-01-01"
    write_rows(folder / "events.csv", header, rows)
    with pytest.raises(DataError, match=r"row 3: the time '2999-01-01' is in the future"):
        table(folder, tmp_path, on_error="fail")


def test_too_few_events_are_refused(folder: Path, tmp_path: Path):
    header, rows = rows_of(folder / "events.csv")
    write_rows(folder / "events.csv", header, rows[:2])
    with pytest.raises(DataError, match="no user has 3 different items"):
        table(folder, tmp_path)


def test_a_damaged_note_on_the_bundle_is_named(tmp_path: Path):
    (tmp_path / "about.json").write_text('{"modalities": 3}')
    with pytest.raises(BundleError, match=r"about\.json is missing or damaged"):
        read_about(tmp_path)
