"""The false-alarm budget: an account of alarms for each entity, which sets its threshold.

A detector says how surprising a bucket is, in bits: k bits are what one bucket in 2^k reaches. An alarm needs

    surprise >= threshold = max(FLOOR, base - learning_rate * balance),   base = max(FLOOR, log2(share / budget)),

where `budget` is per bucket and `share` is the share of the entity's buckets that could alarm at all, which have news
and do not wait for an alarm to be over. Each bucket pays the budget into the account and each alarm costs 1; a
confirmed alarm is paid back, so that what is held is the rate of alarms that nobody confirmed. That is quantile
tracking with a constant step on the scale of bits (Gibbs and Candès, "Adaptive conformal inference under distribution
shift", 2021; Angelopoulos, Candès and Tibshirani, "Conformal PID control for time series prediction", 2023): an alarm
multiplies the p-value that is still admitted by 2^-learning_rate, quiet buckets raise it again. `base` only spares
the account what is known beforehand.

What holds, whatever the data do. The surprise is at most M bits (`Detector.most_bits`) and base at most
B = max(FLOOR, -log2(budget)). An account is full at (base - FLOOR) / learning_rate + RESERVE, and a balance under
(base - M) / learning_rate admits no alarm. So over ANY n buckets in a row an entity has at most

    budget * (1 + lending) * n + (B + M - 2 * FLOOR) / learning_rate + RESERVE + 1

alarms that nobody confirmed, and, while its account is never full, at least budget * n minus the same constant.
Waiting after an alarm, silent buckets and verdicts that come late change nothing of this: they are in the account.

Where things are steady the balance is a random walk that is pulled back to its level, with variance
1 / (2 learning_rate ln 2): the number of an entity's alarms, however long one counts, strays from the budget by
sqrt(1 / (learning_rate ln 2)), 1.2 alarms at one bit. A smaller step strays further and lets the threshold swing less.

A full account is one with which nearly any news would alarm, and some more. What an entity cannot spend, for want of
news, is lent to the others, at most `lending` of their own budget: so the mean over entities comes nearer to the
budget, and none gets far beyond its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

from triptych_finance.signal.settings import WEEK_HOURS, SignalSettings

FLOOR = 0.5  # bits: what lies in the lower part of its own history, 70 per cent, is never an alarm
RESERVE = 1.0  # alarms that may be saved beyond the balance at which the threshold is there
LENT_AT_MOST = 4.0  # alarms per entity that wait to be lent
REMEMBERED = 64  # alarms of an entity for which a verdict may still come
_SHARE_WEEKS = 8  # over which the share of buckets that could alarm is averaged


class Account:
    """One entity's balance in alarms, its age in buckets, the share of them that could alarm, and its alarms."""

    __slots__ = ("age", "alarms", "balance", "share")

    def __init__(self) -> None:
        self.balance = 0.0
        self.age = 0
        self.share = 0.0
        self.alarms: list[list[int]] = []  # first bucket, last bucket, direction, 1 where confirmed

    def dump(self) -> list[Any]:
        """The state as JSON."""
        return [self.balance, self.age, self.share, [list(alarm) for alarm in self.alarms]]

    @classmethod
    def load(cls, state: Sequence[Any]) -> Self:
        """What `dump` gave."""
        account = cls()
        account.balance, account.age, account.share = state[:3]
        account.alarms = [list(alarm) for alarm in state[3]]
        return account


class Budget:
    """The accounts' common rules, and what is there to be lent."""

    def __init__(self, settings: SignalSettings, surplus: float = 0.0) -> None:
        self.rate = settings.rate
        self.step = settings.learning_rate
        self.warmup = settings.warmup_buckets
        self.refractory = settings.refractory_buckets
        self.lending = settings.lending
        self.surplus = surplus  # alarms
        self._memory = max(self.warmup, _SHARE_WEEKS * WEEK_HOURS // settings.bucket_hours)
        self._least = self.rate * 2.0**FLOOR  # a share under which base is FLOOR

    def base(self, account: Account) -> float:
        """The bits that keep the budget if surprises are what they say."""
        return math.log2(account.share / self.rate) if account.share > self._least else FLOOR

    def threshold(self, account: Account) -> float:
        """The bits that an alarm needs now."""
        return max(FLOOR, self.base(account) - self.step * account.balance)

    def full(self, account: Account) -> float:
        """The balance beyond which nothing is saved."""
        return (self.base(account) - FLOOR) / self.step + RESERVE

    def judge(self, account: Account, bucket: int, surprise: float, direction: int, threshold: float) -> bool:
        """Whether there is an alarm in this bucket; `surprise` is 0 where it has no news.

        An alarm goes on, at no further cost, where the next bucket reaches the threshold and points nowhere else.
        """
        last = account.alarms[-1] if account.alarms else None
        waits = last is not None and bucket - last[1] < self.refractory
        able = surprise > 0.0 and not waits
        account.share += (able - account.share) / min(account.age + 1, self._memory)
        if surprise < threshold or account.age < self.warmup:
            return False
        if last is not None and last[1] == bucket - 1 and direction in (0, last[2]):
            last[1] = bucket
            return True
        if waits:
            return False
        account.alarms.append([bucket, bucket, direction, 0])
        del account.alarms[:-REMEMBERED]
        account.balance -= 1.0
        return True

    def settle(self, accounts: Sequence[Account]) -> None:
        """Pay a bucket's budget to all that are past the warm-up, and lend what some cannot take."""
        earning, takers = 0, []
        for account in accounts:
            account.age += 1
            if account.age > self.warmup:
                earning += 1
                if self._pay(account, self.rate):
                    takers.append(account)
        if takers and self.surplus > 0:
            part = min(self.lending * self.rate, self.surplus / len(takers))
            self.surplus -= part * len(takers)
            for account in takers:
                self._pay(account, part)
        self.surplus = min(self.surplus, LENT_AT_MOST * earning)

    def verdict(self, account: Account, bucket: int, *, false_alarm: bool) -> bool:
        """What an analyst says about the alarm that this bucket was part of; True where it changes the account.

        The same verdict again changes nothing, and another one takes the first one back.
        """
        for alarm in reversed(account.alarms):
            if alarm[0] <= bucket <= alarm[1]:
                if bool(alarm[3]) is not false_alarm:
                    return False
                alarm[3] = int(not false_alarm)
                if false_alarm:
                    account.balance -= 1.0
                else:
                    self._pay(account, 1.0)
                return True
        return False

    def _pay(self, account: Account, amount: float) -> bool:
        """Add to the account what it can take, and keep the rest to be lent. Returns whether it could take all."""
        full = self.full(account)
        account.balance += amount
        if account.balance <= full:
            return True
        self.surplus += account.balance - full
        account.balance = full
        return False
