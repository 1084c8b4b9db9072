"""The cheapest variant within the tolerance is chosen, and the rival is told the truth about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from triptych.compression.base import StepLog
from triptych.compression.budget import Budget
from triptych.compression.ledger import Contract, Gain, Ledger, Quality, Row, Variant
from triptych.compression.measure import measure
from triptych.compression.plot import plot_ledger
from triptych.compression.prices import Prices
from triptych.compression.row import variant_row
from triptych.errors import ConfigError


def variant(name: str, value: float, cost: float, *, half: float = 0.01, **changes: Any) -> Variant:
    metric = changes.pop("metric", "accuracy")
    higher = changes.pop("higher_is_better", True)
    quality = Quality(metric=metric, value=value, low=value - half, high=value + half, higher_is_better=higher)
    row: dict[str, Any] = {"size_mb": 10.0, "p50_ms": 5.0, "p99_ms": 9.0, "throughput_per_s": 200.0, "currency": "USD"}
    return Variant(name=name, quality=quality, cost_per_million=cost, **(row | changes))


ROWS = [
    variant("fp32", 0.937, 0.26, size_mb=90, p50_ms=14),
    variant("int8", 0.935, 0.085, size_mb=22, p50_ms=4.6),
    variant("thin", 0.906, 0.09, size_mb=52, p50_ms=7),
    variant("static", 0.923, 0.001, size_mb=2.7, p50_ms=0.3),
]


@pytest.mark.parametrize(("tolerance", "name"), [(0, "fp32"), (0.001, "fp32"), (0.002, "int8"), (0.02, "static")])
def test_the_cheapest_within_the_tolerance_is_chosen(tolerance: float, name: str) -> None:
    assert Ledger.choose(ROWS, tolerance=tolerance).chosen == name


def test_the_reason_gives_the_numbers() -> None:
    why = Ledger.choose(ROWS, tolerance=0.005).why
    assert why == (
        "int8 is chosen: 0.085 USD per million requests, 3.1 times less than fp32, and its accuracy 0.935 is within"
        " 0.005 of the best (0.937)."
    )
    assert "every cheaper one loses more than 0.001" in Ledger.choose(ROWS, tolerance=0.001).why
    assert "none is cheaper" in Ledger.choose([ROWS[3], ROWS[2]], tolerance=0).why
    assert "the only variant" in Ledger.choose(ROWS[:1], tolerance=0).why


def test_equal_costs_are_decided_by_quality() -> None:
    rows = [variant("a", 0.90, 1.0), variant("b", 0.91, 1.0), variant("c", 0.92, 2.0)]
    assert Ledger.choose(rows, tolerance=0.05).chosen == "b"


def test_an_error_is_better_when_it_is_smaller() -> None:
    rows = [
        variant("good", 0.50, 2.0, metric="MAE", higher_is_better=False),
        variant("bad", 0.60, 1.0, metric="MAE", higher_is_better=False),
    ]
    assert Ledger.choose(rows, tolerance=0.05).chosen == "good"
    rival = variant("ridge", 0.55, 0.1, metric="MAE", higher_is_better=False)
    ledger = Ledger.choose(rows, tolerance=0, rival=rival)
    assert ledger.worth_it
    assert "MAE changes by -0.05 [-0.06, -0.04]" in ledger.verdict


def test_the_front_holds_what_nothing_dominates() -> None:
    ledger = Ledger.choose(ROWS, tolerance=0)
    assert [v.name for v in ledger.pareto()] == ["static", "int8", "fp32"]


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8
    ),
    st.integers(0, 4),
)
def test_whatever_the_rows_the_choice_is_within_the_tolerance_and_on_the_front(
    rows: list[tuple[int, int, int, int]], tolerance: int
) -> None:
    variants = [variant(str(i), q, cost, p50_ms=ms, size_mb=mb) for i, (q, cost, ms, mb) in enumerate(rows)]
    ledger = Ledger.choose(variants, tolerance=tolerance)
    chosen = ledger.variant(ledger.chosen)
    best = max(v.quality.value for v in variants)
    assert chosen.quality.value >= best - tolerance
    assert all(v.cost_per_million >= chosen.cost_per_million for v in variants if v.quality.value >= best - tolerance)
    assert chosen in ledger.pareto()
    for v in variants:
        assert (v.name in ledger.front) == (not any(other.dominates(v) for other in variants))


def test_a_gain_beyond_chance_is_worth_it() -> None:
    ledger = Ledger.choose(ROWS, tolerance=0.005, rival=variant("TF-IDF", 0.91, 0.002))
    assert ledger.worth_it is True
    assert ledger.verdict.startswith("Worth it: accuracy changes by +0.025 [+0.015, +0.035] against TF-IDF.")
    assert "42 times more than TF-IDF" in ledger.verdict


def test_a_gain_within_the_interval_is_not() -> None:
    ledger = Ledger.choose(ROWS, tolerance=0.005, rival=variant("TF-IDF", 0.93, 0.002))
    assert ledger.worth_it is False
    assert ledger.verdict.startswith("Not worth it")
    assert ledger.verdict.endswith("Use TF-IDF.")


def test_a_paired_difference_decides_where_it_is_given() -> None:
    rival = variant("TF-IDF", 0.93, 0.002)
    gain = Gain(value=0.005, low=0.001, high=0.009)
    assert Ledger.choose(ROWS, tolerance=0.005, rival=rival, gain=gain).worth_it is True


def test_a_loss_and_a_lower_cost_are_named() -> None:
    ledger = Ledger.choose(ROWS, tolerance=0.02, rival=variant("forest", 0.95, 3.0))
    assert ledger.worth_it is False
    assert "which is worse" in ledger.verdict
    assert ledger.verdict.endswith("It costs 3,000 times less than forest. Only its cost speaks for it.")


def test_a_rival_of_which_little_is_known_is_compared_by_quality(tmp_path: Path) -> None:
    rival = Row(name="TF-IDF", quality=Quality(metric="accuracy", value=0.91))
    ledger = Ledger.choose(ROWS, tolerance=0.005, rival=rival)
    assert ledger.verdict == "Worth it: accuracy changes by +0.025 [+0.015, +0.035] against TF-IDF."
    assert "| TF-IDF | rival | 0.91 |  |  |  |  |  |  |  |" in ledger.markdown()
    assert plot_ledger(ledger, tmp_path / "ledger.png").exists()


def test_without_any_interval_there_is_no_verdict() -> None:
    plain = ROWS[0].model_copy(update={"quality": Quality(metric="accuracy", value=0.937)})
    ledger = Ledger.choose([plain], rival=variant("TF-IDF", 0.91, 0.002))
    assert ledger.worth_it is None
    assert "+0.027 against TF-IDF; there is no interval to judge it by." in ledger.verdict
    with pytest.raises(ValidationError, match="two ends"):
        Quality(metric="accuracy", value=0.9, low=0.8)


def test_free_variants_compare_too() -> None:
    rows = [variant("free", 0.9, 0.0), variant("dear", 0.9, 1.0)]
    assert Ledger.choose(rows, tolerance=0).chosen == "free"
    assert "less than" in Ledger.choose(rows[:1], tolerance=0, rival=rows[1]).verdict


def test_the_table_shows_every_row() -> None:
    ledger = Ledger.choose(ROWS, tolerance=0.005, rival=variant("TF-IDF", 0.91, 0.002), notes=["Assumed prices."])
    assert ledger.parent is None
    text = ledger.markdown()
    assert "| variant |  | accuracy | USD per million |" in text
    assert "| **int8** | chosen, front | 0.935 [0.925, 0.945] | 0.085 |" in text
    assert "| thin |" in text
    assert "| TF-IDF | rival |" in text
    assert ledger.why in text
    assert ledger.verdict in text
    assert "- Assumed prices." in text


def test_a_ledger_survives_json() -> None:
    ledger = Ledger.choose(ROWS, tolerance=0.005, rival=variant("TF-IDF", 0.91, 0.002))
    again = Ledger.model_validate(json.loads(json.dumps(ledger.to_json())))
    assert again == ledger
    assert again.markdown() == ledger.markdown()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"variants": []}, "at least one"),
    "one name twice": ({"variants": [ROWS[0], ROWS[0]]}, "one name"),
    "negative tolerance": ({"tolerance": -1}, "zero or more"),
    "nan tolerance": ({"tolerance": float("nan")}, "zero or more"),
    "two metrics": ({"rival": variant("x", 0.5, 1, metric="macro-F1")}, "accuracy, macro-F1"),
    "two currencies": ({"rival": variant("x", 0.5, 1, currency="EUR")}, "EUR, USD"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_that_cannot_be_compared_are_refused(name: str) -> None:
    changes, message = BAD[name]
    with pytest.raises(ConfigError, match=message):
        Ledger.choose(**({"variants": ROWS, "tolerance": 0.01} | changes))


def test_an_interval_holds_its_value() -> None:
    with pytest.raises(ValidationError, match="does not hold the value"):
        Quality(metric="accuracy", value=0.9, low=0.91, high=0.95)


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [variant("free", 0.9, 0.0), variant("dear", 0.9, 1.0)]])
def test_the_picture_is_drawn(rows: list[Variant], tmp_path: Path) -> None:
    ledger = Ledger.choose(rows, tolerance=0.005, rival=variant("TF-IDF", 0.91, 0.002))
    path = plot_ledger(ledger, tmp_path / "ledger.png", title="Intents")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000


def test_labels_stay_inside_and_clear_of_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation, Text

    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: figures.append(self))
    rows = [
        *ROWS,
        variant("packed", 0.937, 0.2, size_mb=91),
        variant("2 layers", 0.917, 0.021, size_mb=14),
        variant("static-128", 0.914, 0.0010, size_mb=1.4),
        variant("half", 0.936, 0.15, size_mb=45),
        *(variant(f"worse-{i}", 0.90 + 0.002 * i, 0.3 * 0.6**i, size_mb=95) for i in range(6)),
    ]
    budget = Budget(max_drop=0.5)
    ledger = Ledger.choose(rows, budget=budget, parent="fp32", rival=variant("TF-IDF", 0.91, 0.002))
    plot_ledger(ledger, tmp_path / "x.png")
    axes = figures[0].axes[0]
    boxes = [Text.get_window_extent(t) for t in axes.texts if isinstance(t, Annotation)]
    frame = figures[0].bbox
    names = {t.get_text().split("\n")[0] for t in axes.texts if isinstance(t, Annotation)}
    assert names == {"TF-IDF", "fp32", *ledger.front}  # nothing that is dominated
    assert len(names) >= 6
    assert all(frame.x0 <= b.x0 and b.x1 <= frame.x1 and frame.y0 <= b.y0 and b.y1 <= frame.y1 for b in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


# What was added to a ledger later


STEP = {
    "name": "int8",
    "before": 0.937,
    "converted": 0.931,
    "recovered": 0.935,
    "seconds": 3.0,
    "cpu_seconds": 5.0,
    "notes": ["128 samples | calibrated"],
}


def test_a_ledger_of_an_older_release_is_read() -> None:
    old = {
        "variants": [
            {
                "name": "frozen",
                "quality": {"metric": "accuracy", "value": 0.9, "low": 0.8, "high": 0.95, "higher_is_better": True},
                "size_mb": 90.0,
                "p50_ms": 12.0,
                "p99_ms": 14.0,
                "throughput_per_s": 100.0,
                "cost_per_million": 0.1,
                "currency": "USD",
                "resident_mb": 400.0,
                "training_cost": 0.001,
                "notes": [],
            }
        ],
        "chosen": "frozen",
        "why": "frozen is the only variant.",
        "tolerance": 0.0,
        "rival": None,
        "gain": None,
        "worth_it": None,
        "verdict": "",
        "front": ["frozen"],
        "notes": ["Assumed prices."],
    }
    ledger = Ledger.model_validate(old)
    assert ledger.variants[0].p95_ms is None
    assert "| **frozen** | chosen, front | 0.9 [0.8, 0.95] | 0.1 | 12 |  | 14 |" in ledger.markdown()


def test_the_steps_and_the_contract_have_tables_of_their_own() -> None:
    contract = Contract(ece=0.021, scope_auroc=0.97, worst_group="language: zh", worst_group_quality=0.88)
    int8 = ROWS[1].model_copy(update={"contract": contract, "steps": [STEP], "p50_low": 4.5, "p50_high": 4.9})
    text = Ledger.choose([ROWS[0], int8], budget=Budget(max_drop=0.5), parent="fp32").markdown()
    assert "| int8 | int8 | 0.937 | 0.931 | 0.935 | 3 | 5 | 128 samples \\| calibrated |" in text
    assert "| int8 | 0.021 | 0.97 | language: zh | 0.88 |" in text
    assert "| int8 | 4.5 to 4.9 | cpu |" in text
    assert "retrieval agreement" not in text  # nobody measured it
    assert "| fp32 | parent, front | 0.937 [0.927, 0.947] | 0 |" in text
    assert "**Contract**" not in Ledger.choose(ROWS).markdown()


def test_the_drop_of_an_error_is_in_percent() -> None:
    rows = [
        variant("full", 0.50, 2.0, metric="mse", higher_is_better=False),
        variant("small", 0.51, 1.0, metric="mse", higher_is_better=False, p50_ms=1.0),
    ]
    ledger = Ledger.choose(rows, budget=Budget(max_drop=3), parent="full")
    assert ledger.chosen == "small"
    assert "a drop of at most 3 %" in ledger.why
    assert "2 percent worse than that of full" in ledger.why
    assert "| drop, % |" in ledger.markdown()


def test_a_row_is_made_of_what_was_measured() -> None:
    speed = measure(lambda requests: sum(range(2000)), range(8), rounds=2, single_requests=4)
    metrics = {"accuracy": 0.9, "low": 0.85, "high": 0.95}
    step = StepLog("int8", 0.937, 0.931, 0.935, 3.0, 5.0, ("128 samples | calibrated",))
    row = variant_row(
        "int8",
        "accuracy",
        metrics,
        speed,
        size_mb=1.5,
        prices=Prices.load(),
        training_cpu_seconds=3600,
        compression_cpu_seconds=1800,
        resident_mb=33.33,
        escalation_rate=0.1,
        contract=Contract(ece=0.02),
        steps=[step],
    )
    assert row.p50_low <= row.p50_ms <= row.p50_high
    assert row.p50_ms <= row.p95_ms <= row.p99_ms
    assert row.throughput_low <= row.throughput_per_s <= row.throughput_high
    assert (row.resident_mb, row.device, row.escalation_rate) == (33.3, "cpu", 0.1)
    assert row.training_cost == 2 * row.compression_cost == Prices.load().cpu_core_hour
    assert row.steps == [STEP]
    assert row.cost_per_million == pytest.approx(row.cpu_ms * 1000 / 3600 * Prices.load().cpu_core_hour, rel=1e-2)
    assert Variant.model_validate(json.loads(row.model_dump_json())) == row
