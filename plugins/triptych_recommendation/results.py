"""What a build has to tell: figures for the manifest, and the results from which the report is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.items import Item
from triptych_recommendation.hindsight.metrics import METRIC, group_gaps, list_metrics
from triptych_recommendation.hindsight.report import Results, Rival
from triptych_recommendation.hindsight.sheet import LIKED, RECOMMENDED, USERS, Card, Shown

if TYPE_CHECKING:
    from triptych_recommendation.data.folder import RecommendationData
    from triptych_recommendation.data.splits import Split
    from triptych_recommendation.models.choose import Choice, Contender

_LENGTHS = (5, 20)  # events up to which a history is short, and middling
_CATEGORIES = 5  # that are told apart in the gaps


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """All that a build knows when it has chosen."""

    data: RecommendationData
    split: Split
    items: Sequence[Item]  # by row
    choice: Choice
    notes: Sequence[str]

    @property
    def chosen(self) -> Contender:
        """The rival that serves."""
        return next(rival for rival in self.choice.rivals if rival.name == self.choice.name)

    @property
    def counts(self) -> NDArray[Any]:
        """[items]: events of each item in what the rivals learnt from before the test."""
        return np.bincount(self.split.before_test.item, minlength=len(self.items))


def metrics_of(told: Told) -> dict[str, Any]:
    """The figures for the manifest: a row for each rival, the best on the test first, and what the chosen one's are."""
    rows = sorted(
        (_row(rival, told.counts, rival is told.chosen) for rival in told.choice.rivals), key=lambda row: -row[METRIC]
    )
    gaps = {
        what: {
            name: {"value": round(gap.value, 4), "low": round(gap.low, 4), "high": round(gap.high, 4)}
            for name, gap in group_gaps(told.chosen.test.users[METRIC], names).items()
        }
        for what, names in groups_of(told).items()
    }
    return {
        "chosen": told.choice.name,
        "rows": rows,
        "verdict": _verdict(told),
        "gaps": gaps,
        "protocol": facts_of(told),
        "notes": list(told.notes),
    }


def results_of(told: Told, *, seed: int) -> Results:
    """What the report is written from."""
    return Results(
        title="Recommendation",
        facts=facts_of(told),
        rivals=[Rival(rival.name, rival.test.users, rival.test.lists) for rival in told.choice.rivals],
        chosen=told.choice.name,
        counts=told.counts,
        groups=groups_of(told),
        samples=[_shown(told, place) for place in _drawn(told, seed)],
        notes=told.notes,
    )


def facts_of(told: Told) -> list[str]:
    """Data, split and protocol, one sentence each."""
    interactions, test = told.data.interactions, told.split.test
    new = sum(not n for n in np.bincount(interactions.item, minlength=len(told.items)).tolist())
    held = "each user's newest item" if told.split.method == "leave-one-out" else "the newest events of all users"
    return [
        f"{len(interactions):,} events of {len(interactions.users):,} users with {len(told.items):,} items, of which "
        f"{new:,} have no event.",
        f"Split {told.split.method}: the test holds {held}, the validation what came before it; {len(test):,} users "
        "are asked for.",
        "All items that are new to the user are ranked, none is sampled; ties go against the model.",
        "Settings and the blend were chosen on the validation; the test was read once, for all models alike.",
    ]


def groups_of(told: Told) -> dict[str, list[str]]:
    """For each user of the test, by how much he had done before, and what kind of items he had most to do with."""
    users = told.split.test.users
    histories = [told.split.before_test.history(int(user)).items for user in users]
    favourite = [Counter(told.items[row].category for row in rows.tolist()).most_common(1) for rows in histories]
    liked = [found[0][0] if found else "" for found in favourite]
    common = [name for name, _ in Counter(name for name in liked if name).most_common(_CATEGORIES)]
    groups = {"length of the history": [_length(len(rows)) for rows in histories]}
    if common:
        groups["favourite category"] = [name if name in common else "other" for name in liked]
    return groups


def _length(events: int) -> str:
    short, middling = _LENGTHS
    if events <= short:
        return f"up to {short} events"
    return f"{short + 1} to {middling} events" if events <= middling else f"over {middling} events"


def _row(rival: Contender, counts: NDArray[Any], chosen: bool) -> dict[str, Any]:
    test = rival.test.metrics
    values = {name: test[name] for name in (METRIC, "low", "high", "ndcg@20", "recall@10", "recall@20")}
    lists = list_metrics(rival.test.lists, counts)
    rounded = {name: round(float(value), 4) for name, value in {**values, **lists}.items()}
    return {
        "model": f"{rival.name} (chosen)" if chosen else rival.name,
        **rounded,
        "validation": round(float(rival.validation.metrics[METRIC]), 4),
        "seconds": round(rival.seconds, 2),
        "ms a list": round(rival.milliseconds, 2),
        "settings": dict(rival.settings),
    }


def _verdict(told: Told) -> str:
    """Why the chosen one serves, which was decided without the test, and who is ahead there."""
    why = told.choice.notes[-1]
    best = max(told.choice.rivals, key=lambda rival: rival.test.metrics[METRIC])
    return f"{why}. On the test, {best.name} is ahead with {best.test.metrics[METRIC]:.4f}."


def _drawn(told: Told, seed: int) -> list[int]:
    """Places in the test of a few users, drawn by chance and not by how well they were served."""
    n = len(told.split.test)
    return sorted(np.random.default_rng(seed).choice(n, size=min(n, USERS), replace=False).tolist())


def _shown(told: Told, place: int) -> Shown:
    user = int(told.split.test.users[place])
    past = told.split.before_test.history(user).items
    newest = list(dict.fromkeys(past[::-1].tolist()))[:LIKED][::-1]
    best = [row for row in told.chosen.test.lists[place].tolist() if row >= 0][:RECOMMENDED]
    wanted = set(told.split.test.targets[place].tolist())
    return Shown(
        user=told.data.interactions.users[user],
        liked=[_card(told.items[row], chosen=False) for row in newest],
        recommended=[_card(told.items[row], chosen=row in wanted) for row in best],
    )


def _card(item: Item, *, chosen: bool) -> Card:
    return Card(item.title or item.id, item.image, chosen)
