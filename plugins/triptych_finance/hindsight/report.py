"""The report of a replay or back-test: pictures, and one HTML page that holds them and needs no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.compression.tables import Table
from triptych.report.document import Block, Document, Items, Picture, Section
from triptych.report.page import to_html
from triptych_finance.hindsight.pictures import Mark, draw_entity, draw_ways
from triptych_finance.surface.happenings import Happenings, figure, table_of

if TYPE_CHECKING:
    from triptych_finance.hindsight.backtest import Backtest
    from triptych_finance.volatility.prices import Prices

PAGE = "report.html"
_ENTITIES = 12  # that are drawn: those with most alerts
_ALERTS = 200  # rows of the table
_HONEST = (
    "The replay cannot see the future; a model can have. If the texts here, or later ones on the same events, were "
    "among those that the model was trained on, its figures are too good.",
    "Days of unusual volatility follow one another. Whoever alarms after one hits the next ones easily: that is what "
    "the row of past returns shows.",
    "Nobody confirmed an alert in the replay, so every alarm counts against the budget, also those that were right.",
)


def write_backtest(folder: Path, found: Backtest, prices: Prices, *, title: str) -> list[Path]:
    """Write the report of a back-test into a folder. Returns the files, the page last."""
    folder.mkdir(parents=True, exist_ok=True)
    ways = draw_ways(
        folder / "ways.png", found.methods, [("precision", "precision of alerts"), ("recall", "recall of events")]
    )
    names = {
        "hit": f"alert, event within {found.rules.horizon} days",
        "miss": "alert, no event",
        "alert": "alert, not judged",
    }
    marks: dict[str, list[Mark]] = {}
    for one in found.outcomes:
        kind = "alert" if not one.judged else "miss" if one.event is None else "hit"
        marks.setdefault(one.entity, []).append(Mark(one.fired, kind))
    pictures = []
    for entity in _busiest({entity: len(marks.get(entity, ())) for entity in found.entities}):
        series = found.readings[entity]
        path = folder / f"{_file_of(entity)}.png"
        draw_entity(
            path, entity, [r.end for r in series], [r.index for r in series], marks.get(entity, []),
            history=prices.history(entity), events=found.events[entity], names=names,
        )  # fmt: skip
        pictures.append((entity, path))
    sections = [
        Section("Verdict", [found.verdict, Items(_facts(found))]),
        Section("Next to baselines", [*_comparison(found), Picture(ways.name, "Each way with its 95 % interval")]),
        Section("What these figures cannot say", [Items(list(_HONEST))]),
        Section("Companies", [*_shown(pictures, len(found.entities))]),
        Section("Alerts", [_outcomes(found)]),
    ]
    return _write(folder, Document(title, sections), [ways, *(path for _, path in pictures)])


def write_replay(folder: Path, found: Happenings, prices: Prices | None, *, title: str) -> list[Path]:
    """Write the report of a replay into a folder. Returns the files, the page last."""
    folder.mkdir(parents=True, exist_ok=True)
    marks: dict[str, list[Mark]] = {}
    for alert in found.alerts:
        assert alert.fired is not None
        marks.setdefault(alert.entity, []).append(Mark(alert.fired, "alert"))
    pictures = []
    for entity in _busiest({entity: len(marks.get(entity, ())) for entity in found.readings}):
        series = found.readings[entity]
        path = folder / f"{_file_of(entity)}.png"
        history = prices.history(entity) if prices is not None and entity in prices else None
        draw_entity(
            path, entity, [r.end for r in series], [r.index for r in series], marks.get(entity, []),
            history=history, names={"alert": "alert"},
        )  # fmt: skip
        pictures.append((entity, path))
    sections = [
        Section("Companies and sectors", [*_shown(pictures, len(found.readings))]),
        Section("Alerts", [_alerts(found)]),
    ]
    return _write(folder, Document(title, sections), [path for _, path in pictures])


def _write(folder: Path, page: Document, files: Sequence[Path]) -> list[Path]:
    path = folder / PAGE
    path.write_text(to_html(page, folder), encoding="utf-8")
    return [*files, path]


def _busiest(counts: dict[str, int]) -> list[str]:
    """The entities with most alerts, by name."""
    return sorted(sorted(counts, key=lambda entity: (-counts[entity], entity))[:_ENTITIES])


def _shown(pictures: Sequence[tuple[str, Path]], count: int) -> list[Block]:
    blocks: list[Block] = []
    if count > len(pictures):
        blocks.append(f"The {len(pictures)} with most alerts of {count}.")
    return blocks + [Picture(path.name, f"{entity}: index, alerts and price") for entity, path in pictures]


def _facts(found: Backtest) -> list[str]:
    counts, rules = found.counts, found.rules
    without = f"; {len(found.without_prices)} have no prices and are not judged" if found.without_prices else ""
    return [
        f"{counts['items']:,} items from {found.begin:%Y-%m-%d} to {found.end:%Y-%m-%d}, {counts['duplicates']:,} of "
        f"them copies; {counts['problems']:,} entries could not be read",
        f"{len(found.entities)} companies with prices and {found.event_count} events{without}",
        f"an event is a day whose absolute return exceeds the {rules.window} days before it by {rules.z:g} robust "
        f"deviations; an alert hits where one follows within {rules.horizon} trading days",
        f"budget: {found.budget:g} alarms per company and week that nobody confirms",
    ]


def _comparison(found: Backtest) -> list[Block]:
    header, rows = table_of(found)
    gaps = [
        [one.name, figure(one.precision), figure(one.recall), "yes" if one.better else "not shown"]
        for one in found.compared
    ]
    return [
        Table("Alarms with the same budget, on the same events", header, rows, strong=0),
        Table("How much better the alerts are than", ["", "in precision", "in recall", "better"], gaps),
    ]


def _outcomes(found: Backtest) -> Block:
    if not found.outcomes:
        return "No alert fired."
    rows = [
        [
            f"{one.fired:%Y-%m-%d %H:%M}", one.entity,
            "not judged" if not one.judged else "no event" if one.event is None else f"event on {one.event}",
            "" if one.lead is None else str(one.lead),
        ]
        for one in found.outcomes[-_ALERTS:]
    ]  # fmt: skip
    caption = f"The latest {len(rows)} of {len(found.outcomes)} alerts, times in UTC"
    return Table(caption, ["fired", "company", "what followed", "lead (days)"], rows, numbers=3)


def _alerts(found: Happenings) -> Block:
    if not found.alerts:
        return "No alert fired."
    rows = []
    for alert in found.alerts[-_ALERTS:]:
        moved = (alert.json.get("evidence") or {}).get("moved") or [{}]
        fired = "" if alert.fired is None else f"{alert.fired:%Y-%m-%d %H:%M}"
        rows.append([fired, alert.entity, alert.kind, str(moved[0].get("sentence", "")), alert.id])
    caption = f"The latest {len(rows)} of {len(found.alerts)} alerts, times in UTC"
    return Table(caption, ["fired", "entity", "kind", "moved most by", "id"], rows, numbers=5)


def _file_of(entity: str) -> str:
    """The entity as the name of a file that every system takes."""
    return "index-" + re.sub(r"[^A-Za-z0-9._-]+", "-", entity)
