"""A budget is held by what is chosen, or the nearest miss is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.compression.test_ledger import variant
from triptych.compression.budget import Budget, admissible, nearest_miss, refusal
from triptych.compression.ledger import Ledger, Variant
from triptych.compression.prices import Prices
from triptych.compression.records import Contract, Quality
from triptych.errors import ConfigError

FULL = variant("full", 0.937, 0.26, size_mb=90, p50_ms=14, p95_ms=16, p99_ms=18, throughput_per_s=90.0)
INT8 = variant("int8", 0.935, 0.085, size_mb=22, p50_ms=4.6, p95_ms=5.2, p99_ms=6, throughput_per_s=160.0)
STATIC = variant("static:256", 0.923, 0.001, size_mb=2.7, p50_ms=0.3, p95_ms=0.4, p99_ms=0.5, throughput_per_s=9000.0)
ROWS = [FULL, INT8, STATIC]


def broken(budget: Budget, row: Variant) -> list[str]:
    return [v.constraint for v in budget.check(row, FULL)]


def test_every_limit_is_checked() -> None:
    assert broken(Budget(), INT8) == []
    assert broken(Budget(max_drop=0.1, max_p95_ms=5, max_mb=20, max_cost=0.08, min_throughput=200), INT8) == [
        "drop",
        "p95",
        "size",
        "cost",
        "throughput",
    ]
    assert broken(Budget(max_drop=0.2, max_p95_ms=5.2, max_mb=22, max_cost=0.085, min_throughput=160), INT8) == []


def test_a_violation_tells_by_how_much() -> None:
    [late] = Budget(max_p95_ms=5).check(INT8, FULL)
    assert late.relative == pytest.approx(0.04)
    assert str(late) == "p95 5.2 ms where 5 was asked (4 % over)"
    [slow] = Budget(min_throughput=200).check(INT8, FULL)
    assert str(slow) == "throughput 160 requests/s where 200 was asked (20 % under)"
    [hair] = Budget(max_mb=21.999999).check(INT8, FULL)
    assert str(hair).startswith("size 22 MB where 22 was asked (4.5e-06 % over)")


def test_a_drop_is_in_points_and_of_an_error_in_percent() -> None:
    assert Quality(metric="accuracy", value=0.930).drop_from(Quality(metric="accuracy", value=0.935)) == pytest.approx(
        0.5
    )
    before = Quality(metric="mse", value=2.0, higher_is_better=False)
    after = Quality(metric="mse", value=2.1, higher_is_better=False)
    assert after.drop_from(before) == pytest.approx(5)
    assert before.drop_from(after) < 0
    perfect = Quality(metric="mse", value=0.0, higher_is_better=False)
    assert perfect.drop_from(perfect) == 0


def test_no_drop_at_all_may_be_asked_for() -> None:
    [lost] = Budget(max_drop=0).check(INT8, FULL)
    assert lost.relative == pytest.approx(0.2)  # of a point
    assert Budget(max_drop=0).check(FULL, FULL) == []


def test_p99_stands_for_a_p95_that_was_not_measured() -> None:
    old = INT8.model_copy(update={"p95_ms": None})
    assert broken(Budget(max_p95_ms=5.9), old) == ["p95"]
    assert broken(Budget(max_p95_ms=6), old) == []


@pytest.mark.parametrize("limits", [{"max_mb": 0}, {"max_drop": -1}, {"max_p95_ms": float("nan")}, {"max_gb": 1.0}])
def test_a_limit_that_makes_no_sense_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limits))):
        Budget.of(**limits)


def test_the_cheapest_within_the_budget_is_chosen_and_the_numbers_given() -> None:
    ledger = Ledger.choose(ROWS, budget=Budget(max_drop=0.5, max_p95_ms=10), parent="full")
    assert ledger.chosen == "int8"
    assert ledger.nearest_miss == ""
    assert ledger.budget == {"max_drop": 0.5, "max_p95_ms": 10}
    assert ledger.why == (
        "int8 is chosen: 0.085 USD per million requests, 3.1 times less than full, the cheapest within the budget (a"
        " drop of at most 0.5 points, p95 of at most 10 ms). Its accuracy 0.935 is 0.2 points worse than that of full"
        " (0.937)."
    )
    assert Ledger.choose(ROWS, budget=Budget(), parent="full").chosen == "static:256"


def test_the_nearest_miss_is_named_and_the_parent_stays() -> None:
    ledger = Ledger.choose(ROWS, budget=Budget(max_drop=0.5, max_p95_ms=5), parent="full")
    assert ledger.chosen == "full"
    assert ledger.nearest_miss == (
        "no variant holds all limits; nearest is int8: p95 5.2 ms where 5 was asked (4 % over)"
    )
    assert ledger.nearest_miss in ledger.why


def test_the_parent_may_be_the_cheapest_that_holds() -> None:
    ledger = Ledger.choose(ROWS, budget=Budget(max_drop=0.1), parent="full")
    assert ledger.chosen == "full"
    assert "no other variant that may be offered is cheaper within the budget" in ledger.why
    assert ledger.nearest_miss == ""


def test_a_broken_contract_is_not_offered() -> None:
    rude = INT8.model_copy(update={"contract": Contract(ece=0.2, violations=["calibration error grows to 0.2"])})
    ledger = Ledger.choose([FULL, rude, STATIC], budget=Budget(max_drop=0.5), parent="full")
    assert ledger.chosen == "full"
    assert ledger.refused == {"int8": "calibration error grows to 0.2"}
    assert "int8 is not offered: calibration error grows to 0.2" in ledger.markdown()
    assert "| int8 | 0.2 | calibration error grows to 0.2 |" in ledger.markdown()


def test_what_brings_nothing_over_its_parent_is_not_offered() -> None:
    idle = FULL.model_copy(update={"name": "idle", "p50_ms": 15.0})
    assert refusal(idle, FULL) == "dominated by full: neither faster nor cheaper"
    assert refusal(idle.model_copy(update={"size_mb": 80.0}), FULL) is not None  # a smaller file alone is no economy
    assert refusal(idle.model_copy(update={"p50_ms": 13.0}), FULL) is None
    better = idle.model_copy(update={"quality": Quality(metric="accuracy", value=0.95)})
    ledger = Ledger.choose([FULL, better], parent="full")
    assert (ledger.chosen, list(ledger.refused)) == ("full", ["idle"])


def test_a_parent_must_be_a_row() -> None:
    with pytest.raises(ConfigError, match="'fulll' is no row of the ledger; it has full, int8"):
        Ledger.choose(ROWS, parent="fulll")


def test_nothing_that_may_be_offered_is_an_error() -> None:
    rude = INT8.model_copy(update={"contract": Contract(violations=["no"])})
    with pytest.raises(ConfigError, match="no variant may be offered"):
        nearest_miss([rude], FULL, Budget())


number = st.integers(0, 5)
rows = st.lists(st.tuples(number, number, number, number, number, st.booleans()), min_size=1, max_size=8)
limit = st.none() | st.integers(1, 5)


@given(rows, st.none() | number, limit, limit, limit, limit)
def test_whatever_the_rows_the_choice_holds_the_budget_or_the_miss_is_named(
    rows: list[tuple[int, int, int, int, int, bool]],
    drop: int | None,
    p95: int | None,
    mb: int | None,
    cost: int | None,
    speed: int | None,
) -> None:
    variants = [
        variant(
            str(i),
            quality / 100,
            price,
            p50_ms=ms,
            p95_ms=ms + 1,
            size_mb=size,
            throughput_per_s=rate,
            contract=Contract(violations=["no"] if rude else []),
        )
        for i, (quality, price, ms, size, rate, rude) in enumerate(rows)
    ]
    budget = Budget(max_drop=drop, max_p95_ms=p95, max_mb=mb, max_cost=cost, min_throughput=speed)
    parent = variants[0]
    ledger = Ledger.choose(variants, budget=budget, parent="0")
    held = admissible(variants, parent, budget)
    chosen = ledger.variant(ledger.chosen)
    assert bool(ledger.nearest_miss) == (not held)
    assert bool(ledger.nearest_miss) == bool(nearest_miss(variants, parent, budget))
    assert refusal(chosen, parent) is None
    if held:
        assert budget.check(chosen, parent) == []
        assert all(v.cost_per_million >= chosen.cost_per_million for v in held)
    else:
        assert ledger.chosen == "0"
    assert not {v.name for v in held} & set(ledger.refused)
    front = ledger.pareto()
    assert front
    assert not any(a.dominates(b) for a in front for b in front)
    assert Ledger.model_validate(ledger.to_json()) == ledger


# Break-even


PRICES = Prices.load().model_copy(update={"cpu_core_hour": 0.04, "apis": {"cheap": 0.05, "dear": 50.0}})


def test_an_api_is_cheaper_for_few_requests() -> None:
    ledger = Ledger.choose(ROWS, budget=Budget(max_drop=0.5), parent="full", prices=PRICES)
    cheap, dear = ledger.break_even
    assert cheap.requests is None  # 0.05 is less than the 0.085 that a busy core costs
    assert "never pays" in cheap.sentence
    assert dear.requests == pytest.approx(730 * 0.04 / 50 * 1e6)
    assert "pays from 584,000 requests a month on: one core that is kept running costs 29.2 USD" in dear.sentence
    assert dear.sentence in ledger.markdown()
    month = dear.requests * 50 / 1e6
    assert month == pytest.approx(PRICES.cost(730 * 3600).amount)


def test_compression_is_paid_back_by_the_saving() -> None:
    made = INT8.model_copy(update={"compression_cost": 0.0035})
    prices = PRICES.model_copy(update={"apis": {}})
    [point] = Ledger.choose([FULL, made], budget=Budget(max_drop=0.5), parent="full", prices=prices).break_even
    assert point.requests == pytest.approx(0.0035 / (0.26 - 0.085) * 1e6)
    assert "paid back after 20,000 requests" in point.sentence
    dear = made.model_copy(update={"cost_per_million": 0.3})
    budget = Budget(max_mb=30)
    [never] = Ledger.choose([FULL, dear], budget=budget, parent="full", prices=prices).break_even
    assert never.requests is None


def test_a_gpu_is_rented_by_its_own_price() -> None:
    on_gpu = INT8.model_copy(update={"device": "cuda"})
    dear = Ledger.choose([on_gpu], prices=PRICES).break_even[1]
    assert dear.requests == pytest.approx(730 * PRICES.gpu_hour / 50 * 1e6)
    assert "one GPU" in dear.sentence


def test_the_drop_is_held_on_validation_data_too() -> None:
    lucky = INT8.model_copy(update={"validation_drop": 0.7})  # 0.2 points on the test split
    [lost] = Budget(max_drop=0.5).check(lucky, FULL)
    assert (lost.constraint, lost.value) == ("drop", 0.7)
    assert Budget(max_drop=0.5).check(INT8.model_copy(update={"validation_drop": -0.3}), FULL) == []
