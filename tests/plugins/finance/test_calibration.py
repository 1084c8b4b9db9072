"""The budget holds in every window of time, whatever the surprises and verdicts are."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from triptych_finance.signal.calibration import FLOOR, RESERVE, Account, Budget
from triptych_finance.signal.detector import Detector
from triptych_finance.signal.settings import SignalSettings

MOST = Detector(SignalSettings()).most_bits()
bits = st.one_of(st.just(0.0), st.just(MOST), st.floats(0, MOST, allow_nan=False))


def step(budget: Budget, account: Account, bucket: int, surprise: float, direction: int = 0) -> bool:
    return budget.judge(account, bucket, surprise, direction, budget.threshold(account))


def run(surprises: list[float], setting: SignalSettings) -> tuple[list[bool], Account]:
    """The buckets in which an alarm opens for one entity alone."""
    budget, account = Budget(setting), Account()
    opened = []
    for bucket, surprise in enumerate(surprises):
        before = account.balance
        step(budget, account, bucket, surprise)
        opened.append(account.balance < before)
        budget.settle([account])
    return opened, account


def most_alarms(setting: SignalSettings, buckets: int) -> float:
    """The bound of the module's docstring."""
    rate = setting.rate
    highest = max(FLOOR, -math.log2(rate))
    return rate * (1 + setting.lending) * buckets + (highest + MOST - 2 * FLOOR) / setting.learning_rate + RESERVE + 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(bits, min_size=1, max_size=400),
    st.sampled_from([0.25, 0.5, 1.0]),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_no_stretch_of_time_has_more_alarms_than_proven(surprises: list[float], per_week: float, bits_each: float):
    setting = SignalSettings(budget_per_week=per_week, learning_rate=bits_each)
    opened, _ = run(surprises, setting)
    total = [0]
    for one in opened:
        total.append(total[-1] + one)
    for start in range(len(opened)):
        for end in range(start + 1, len(opened) + 1):
            assert total[end] - total[start] <= most_alarms(setting, end - start) + 1e-9


@pytest.mark.parametrize("per_week", [0.25, 0.5, 1.0])
def test_shock_upon_shock_spends_the_budget_and_no_more(per_week: float):
    setting = SignalSettings(budget_per_week=per_week)
    opened, _ = run([MOST, 0.0] * 500, setting)
    expected = setting.rate * (1000 - setting.warmup_buckets)
    assert abs(sum(opened) - expected) <= most_alarms(setting, 0)


def test_warm_up_has_no_alarm_and_earns_nothing():
    setting = SignalSettings(warmup_buckets=14)
    opened, account = run([MOST] * 14, setting)
    assert not any(opened)
    assert account.balance == 0.0


def test_an_alarm_that_goes_on_counts_once_and_the_next_waits():
    setting = SignalSettings(warmup_buckets=2, refractory_hours=72, learning_rate=0.01)
    budget, account = Budget(setting), Account()
    heard = []
    for bucket, surprise in enumerate([0, 0, MOST, MOST, 0, MOST, 0, MOST]):
        heard.append(step(budget, account, bucket, surprise))
        budget.settle([account])
    assert heard == [False, False, True, True, False, False, False, True]
    assert [alarm[:2] for alarm in account.alarms] == [[2, 3], [7, 7]]


def test_a_confirmed_alarm_is_paid_back_once_however_late():
    setting = SignalSettings(warmup_buckets=2)
    budget, account = Budget(setting), Account()
    account.age = 2
    assert step(budget, account, 5, MOST)
    spent = budget.threshold(account)
    for _ in range(3):
        budget.settle([account])
    before = account.balance
    assert budget.verdict(account, 5, false_alarm=False)
    assert account.balance == pytest.approx(before + 1)
    assert budget.threshold(account) < spent
    assert not budget.verdict(account, 5, false_alarm=False)
    assert account.balance == pytest.approx(before + 1)


def test_a_dismissed_alarm_counts_as_one_nobody_judged_and_takes_a_confirmation_back():
    budget, account = Budget(SignalSettings(warmup_buckets=2)), Account()
    account.age = 2
    step(budget, account, 5, MOST)
    balance = account.balance
    assert not budget.verdict(account, 5, false_alarm=True)
    assert account.balance == balance
    budget.verdict(account, 5, false_alarm=False)
    assert budget.verdict(account, 5, false_alarm=True)
    assert account.balance == balance


def test_a_verdict_about_no_alarm_changes_nothing():
    budget, account = Budget(SignalSettings()), Account()
    assert not budget.verdict(account, 5, false_alarm=False)
    assert account.balance == 0.0


def test_what_a_silent_entity_cannot_spend_is_lent_within_the_limit():
    setting = SignalSettings(lending=0.15)
    budget, silent, busy = Budget(setting), Account(), Account()
    rng, count = np.random.default_rng(0), 0
    for bucket in range(1500):
        step(budget, silent, bucket, 0.0)
        before = busy.balance
        step(budget, busy, bucket, float(rng.choice([0.0, MOST])))
        count += busy.balance < before
        budget.settle([silent, busy])
    own = setting.rate * (1500 - setting.warmup_buckets)
    assert silent.balance == budget.full(silent)
    assert own * 1.12 < count <= own * 1.15 + most_alarms(setting, 0)


def test_without_lending_nothing_is_lent():
    budget, silent, busy = Budget(SignalSettings(lending=0.0)), Account(), Account()
    busy.age = silent.age = 100
    for _ in range(300):
        budget.settle([silent, busy])
        busy.balance = 0.0
    budget.settle([silent, busy])
    assert busy.balance == pytest.approx(budget.rate)


def test_the_threshold_never_falls_to_what_is_ordinary():
    budget, account = Budget(SignalSettings()), Account()
    for _ in range(2000):
        budget.settle([account])
    assert budget.threshold(account) == FLOOR
    assert not step(budget, account, 2001, FLOOR - 1e-9)


def test_the_state_is_json_and_comes_back():
    _, account = run([MOST] * 100, SignalSettings())
    again = Account.load(json.loads(json.dumps(account.dump())))
    assert again.dump() == account.dump()
    assert math.isfinite(again.balance)


def test_a_budget_that_the_waiting_time_forbids_is_refused():
    with pytest.raises(ValidationError, match=r"at most 1\.31"):
        SignalSettings(budget_per_week=2.0)
