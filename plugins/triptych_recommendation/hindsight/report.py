"""The report of a build: how all rivals did, what their lists are like, and pictures of some recommendations.

Whoever builds a bundle calls `write_report(directory, Results(...))` once, with what `evaluate` returned for each
rival; intervals, gaps and list metrics are computed here. It leaves `report.html`, which needs no network, and the
pictures in it as PNG files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.compression.tables import Table
from triptych.evaluation.bootstrap import Interval
from triptych.report.document import Block, Document, Items, Picture, Section
from triptych.report.page import to_html
from triptych_recommendation.hindsight.metrics import METRIC, NAMES, group_gaps, intervals, list_metrics
from triptych_recommendation.hindsight.plots import Point, draw_quality
from triptych_recommendation.hindsight.sheet import LIKED, RECOMMENDED, USERS, Card, Shown, draw_sheet

__all__ = ["PAGE", "Card", "Results", "Rival", "Shown", "write_report"]
Array = NDArray[np.float64]
PAGE, PLOT, SHEET = "report.html", "quality.png", "recommendations.png"
_SPELT = {"hit@10": "hit@10", "mrr": "MRR", **{f"ndcg@{k}": f"NDCG@{k}" for k in (10, 20)}}
_HOW_LISTS_ARE_READ = (
    "Coverage is the share of all items that stand on anybody's list. Novelty is the mean surprise of a recommended "
    "item in bits: one more bit is half as popular. Popularity is the mean percentile of recommended items by events "
    "in the training, 50 % for lists without any leaning. Gini says how unevenly places go to items: 0 all alike, near "
    "1 few items have all."
)


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """One model on the held-out users; `users` and `lists` are those of its `Evaluation`."""

    name: str
    users: Mapping[str, Array]  # each metric, float64 [users]; the same users in the same order for all rivals
    lists: NDArray[np.int32]  # [users, k], rows of items, best first; -1: empty


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """All that the report tells."""

    title: str
    facts: Sequence[str]  # data, split, protocol: one sentence each
    rivals: Sequence[Rival]
    chosen: str  # the name of the rival that is in service
    counts: NDArray[Any]  # [items], events of each item in the training part
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)  # {"history length": a name for each user, ...}
    samples: Sequence[Shown] = ()
    notes: Sequence[str] = ()  # what is to be known before a figure is believed


def write_report(directory: Path, results: Results) -> list[Path]:
    """Write the report into a directory, which is made. Returns the files, the page last.

    Raises `ValueError` where rivals were not evaluated on the same users, or none of them has the name `chosen`.
    """
    _check(results)
    directory.mkdir(parents=True, exist_ok=True)
    rivals = sorted(results.rivals, key=lambda rival: -rival.users[METRIC].mean())
    found = {rival.name: dict(zip(NAMES, intervals(_columns(rival)), strict=True)) for rival in rivals}
    lists = {rival.name: list_metrics(rival.lists, results.counts) for rival in rivals}
    points = [
        Point(name, found[name][METRIC], lists[name]["coverage"], lists[name]["popularity"], name == results.chosen)
        for name in found
    ]
    files = [draw_quality(directory / PLOT, points)]
    sections = [
        Section("Verdict", [_verdict(results, rivals), Items(list(results.facts))]),
        Section("How well the rest is guessed", [_ranking(found, results.chosen), *_differences(results, rivals)]),
        Section("What the lists are like", [_lists(lists, results), _HOW_LISTS_ARE_READ, _plot_of(results)]),
    ]
    if results.groups:
        sections.append(Section("Gaps between groups", [*_groups(results)]))
    if results.samples:
        sections.append(Section("Sample recommendations", _samples(directory, results.samples)))
        files.append(directory / SHEET)
    notes = Items(list(results.notes)) if results.notes else "None."
    sections.append(Section("What to know before a figure is believed", [notes]))
    page = directory / PAGE
    page.write_text(to_html(Document(results.title, sections), directory), encoding="utf-8", errors="replace")
    return [*files, page]


def _check(results: Results) -> None:
    names = [rival.name for rival in results.rivals]
    if results.chosen not in names:
        raise ValueError(f"the chosen rival {results.chosen!r} is none of {', '.join(names) or 'none'}")
    if len(set(names)) < len(names):
        raise ValueError("two rivals have the same name")
    counts = {len(values) for rival in results.rivals for values in rival.users.values()}
    counts |= {len(rival.lists) for rival in results.rivals}
    if len(counts) > 1:
        raise ValueError(f"rivals were evaluated on different users: {sorted(counts)} of them")
    users = len(results.rivals[0].lists)
    wrong = [name for name, groups in results.groups.items() if len(groups) != users]
    if wrong:
        raise ValueError(f"the groups by {wrong[0]!r} are not those of {users:,} users")


def _columns(rival: Rival) -> Array:
    return np.stack([rival.users[name] for name in NAMES], axis=1)


def _spelt(metric: str) -> str:
    return _SPELT.get(metric, metric.capitalize())


def _figure(interval: Interval, form: str = ".4f") -> str:
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _difference(a: Rival, b: Rival, metric: str) -> Interval:
    return intervals((a.users[metric] - b.users[metric])[:, None])[0]


def _verdict(results: Results, rivals: Sequence[Rival]) -> str:
    chosen = next(rival for rival in rivals if rival.name == results.chosen)
    reached = _figure(intervals(chosen.users[METRIC][:, None])[0])
    said = f"{chosen.name} is in service: NDCG@10 {reached} over {len(chosen.lists):,} users"
    other = next((rival for rival in rivals if rival is not chosen), None)
    if other is None:
        return f"{said}. It had no rival."
    gap = _difference(chosen, other, METRIC)
    if not gap.excludes_zero:
        return f"{said}. Between it and {other.name} no difference is shown: {_figure(gap, '+.4f')}."
    return f"{said}. It is {'ahead of' if gap.low > 0 else 'behind'} {other.name}: {_figure(gap, '+.4f')}."


def _ranking(found: Mapping[str, Mapping[str, Interval]], chosen: str) -> Table:
    rows = [[name, *(_figure(own[metric]) for metric in NAMES)] for name, own in found.items()]
    header = ["model", *(_spelt(metric) for metric in NAMES)]
    caption = "All rivals on the held-out part, each mean over users with its 95 % interval; set apart: in service"
    return Table(caption, header, rows, strong=list(found).index(chosen))


def _differences(results: Results, rivals: Sequence[Rival]) -> list[Block]:
    chosen = next(rival for rival in rivals if rival.name == results.chosen)
    metrics = (METRIC, "recall@20")
    rows = []
    for rival in rivals:
        if rival is not chosen:
            gaps = [_difference(chosen, rival, metric) for metric in metrics]
            rows.append([rival.name, *(cell for gap in gaps for cell in (_figure(gap, "+.4f"), _shown(gap)))])
    header = ["", *(cell for metric in metrics for cell in (f"in {_spelt(metric)}", ""))]
    caption = f"How much better {chosen.name} is than each, on the same users, with 95 % intervals"
    return [Table(caption, header, rows)] if rows else []


def _shown(gap: Interval) -> str:
    return ("better" if gap.low > 0 else "worse") if gap.excludes_zero else "not shown"


def _lists(lists: Mapping[str, Mapping[str, float]], results: Results) -> Table:
    rows = [
        [name, f"{own['coverage']:.1%}", f"{own['novelty']:.2f}", f"{own['popularity']:.1%}", f"{own['gini']:.3f}"]
        for name, own in lists.items()
    ]
    length = results.rivals[0].lists.shape[1]
    caption = f"The first {length} places of every user, over {len(results.counts):,} items"
    header = ["model", "coverage", "novelty (bits)", "popularity", "Gini"]
    return Table(caption, header, rows, strong=list(lists).index(results.chosen))


def _plot_of(results: Results) -> Picture:
    return Picture(PLOT, f"Quality against coverage and popularity of {len(results.rivals)} rivals; star: in service")


def _groups(results: Results) -> list[Block]:
    """The chosen rival by group, those who are served worst first."""
    values = next(rival for rival in results.rivals if rival.name == results.chosen).users[METRIC]
    blocks: list[Block] = []
    for what, groups in results.groups.items():
        names, gaps = np.asarray(groups), group_gaps(values, groups)
        rows = []
        for name in sorted(set(groups), key=lambda name: float(values[names == name].mean())):
            own, gap = values[names == name], gaps.get(name)
            mean = _figure(intervals(own[:, None])[0])
            end = ["", ""] if gap is None else [_figure(gap, "+.4f"), _shown(gap)]
            rows.append([name, f"{len(own):,}", mean, *end])
        caption = f"By {what}: NDCG@10 of {results.chosen}, and how far from all other users"
        blocks.append(Table(caption, ["group", "users", "NDCG@10", "gap", ""], rows))
    return blocks


def _samples(directory: Path, samples: Sequence[Shown]) -> list[Block]:
    """The sheet, and the same in words for who cannot see it."""
    broken = draw_sheet(directory / SHEET, samples)
    shown = samples[:USERS]
    rows = [
        [
            row.user,
            "; ".join(card.title for card in row.liked[-LIKED:]),
            "; ".join(
                f"{card.title} (chosen)" if card.chosen else card.title for card in row.recommended[:RECOMMENDED]
            ),
        ]
        for row in shown
    ]
    described = f"What {len(shown)} users chose, and what is recommended to them; framed: what they went for later"
    blocks: list[Block] = [Picture(SHEET, described)]
    if broken:
        blocks.append(f"{len(broken):,} pictures cannot be read; the first: {broken[0].name}.")
    return [*blocks, Table("The same in words", ["user", "chosen before", "recommended"], rows, numbers=3)]
