"""What a store holds and what a back-test found, as commands tell it: as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from triptych.printing import minute, plain, print_rows, say
from triptych_finance.alerts.notices import document, headline
from triptych_finance.hindsight.backtest import Backtest
from triptych_finance.hindsight.judging import Figure
from triptych_finance.monitor.loop import Progress
from triptych_finance.monitor.memory import COUNTERS, DRIFTS, UNKNOWN
from triptych_finance.store.schema import AlertRow, ReadingRow
from triptych_finance.store.store import Store

_OPEN = ("pending", "firing", "keep_firing")
_MANY = 100_000  # waiting notices that are counted
_SHOWN = 20
_SHOWN_MEASURES = ("precision", "recall", "lead")


@dataclass(frozen=True, slots=True)
class Happenings:
    """The alerts in a store, and the readings of each entity and sector."""

    alerts: Sequence[AlertRow]
    readings: Mapping[str, Sequence[ReadingRow]]

    def as_json(self) -> dict[str, Any]:
        """Alerts with their evidence, and the last reading of each entity and sector."""
        last = {entity: plain(series[-1]) for entity, series in self.readings.items()}
        return {"alerts": [document(alert) for alert in self.alerts], "index": last}


def happenings(store: Store) -> Happenings:
    """All alerts that ever fired, and all readings."""
    series: dict[str, list[ReadingRow]] = {}
    with store.reading() as tx:
        for row in tx.readings():
            series.setdefault(row.entity, []).append(row)
        alerts = [alert for alert in tx.alerts() if alert.fired is not None]
    return Happenings(sorted(alerts, key=lambda a: (a.fired or a.started, a.id)), series)


def print_happenings(found: Happenings) -> None:
    """The alerts, a line each."""
    if not found.alerts:
        say("No alert fired.")
        return
    rows = []
    for alert in found.alerts:
        moved = (alert.json.get("evidence") or {}).get("moved") or [{}]
        sentence = str(moved[0].get("sentence", ""))
        rows.append([minute(alert.fired), alert.id, headline(document(alert)), _cut(sentence)])
    print_rows(("fired (UTC)", "id", "what", "moved most by"), rows)


def state_of(store: Store) -> dict[str, Any]:
    """What a store holds, as JSON."""
    with store.reading() as tx:
        counters = tx.states(COUNTERS)
        last = tx.items(limit=1)
        waiting = tx.due_notices(datetime.max.replace(tzinfo=UTC), _MANY)
        symbols = {symbol: int(state["count"]) for symbol, state in tx.states(UNKNOWN).items()}
        return {
            "store": store.name,
            "sources": {name: {**counts, "cursor": tx.cursor(name)} for name, counts in counters.items()},
            "latest": None if not last else plain(last[0].arrived),
            "inbox": tx.inbox_size(),
            "open_alerts": [document(alert) for alert in tx.alerts(states=_OPEN)],
            "waiting_notices": len(waiting),
            "errors": sorted({notice.error for notice in waiting if notice.error}),
            "unknown_symbols": dict(sorted(symbols.items(), key=lambda pair: (-pair[1], pair[0]))),
            "drifts": list(tx.states(DRIFTS).values()),
        }


def print_state(state: Mapping[str, Any]) -> None:
    """What `state_of` gave, as text."""
    latest = datetime.fromisoformat(state["latest"]) if state["latest"] else None
    click.echo(f"{state['store']}: the latest item came {minute(latest)} UTC")
    rows = [
        [name, *(f"{counts.get(key, 0):,}" for key in ("items", "duplicates", "known", "problems"))]
        for name, counts in state["sources"].items()
    ]
    if rows:
        print_rows(("source", "items", "copies", "known", "problems"), rows)
    click.echo(f"{len(state['open_alerts'])} open alerts, {state['waiting_notices']} notices wait")
    for alert in state["open_alerts"]:
        click.echo(f"  {alert['id']}  {alert['state']}  {headline(alert)}")
    if state["inbox"]:
        click.echo(f"{state['inbox']:,} received items are not processed yet")
    for error in state["errors"][:_SHOWN]:
        click.echo(f"  a notice was not sent: {error}")
    for drift in state["drifts"][-_SHOWN:]:
        click.echo(f"the inputs of {drift['source'] or 'all sources'} drift: {drift['feature']}, {drift['end'][:10]}")
    if state["unknown_symbols"]:
        some = list(state["unknown_symbols"].items())[:_SHOWN]
        click.echo("symbols that the gazetteer lacks: " + ", ".join(f"{symbol} ({n})" for symbol, n in some))


def backtest_json(found: Backtest) -> dict[str, Any]:
    """A back-test without the series that only pictures need."""
    values: dict[str, Any] = plain(found)
    values["better"] = found.better
    return {key: value for key, value in values.items() if key not in ("readings", "events")}


def print_backtest(found: Backtest) -> None:
    """A back-test as text."""
    click.echo(
        f"{found.counts['items']:,} items from {found.begin:%Y-%m-%d} to {found.end:%Y-%m-%d}; "
        f"{len(found.entities)} entities with prices, {found.event_count} events; "
        f"an alert hits where an event follows within {found.rules.horizon} trading days"
    )
    if found.without_prices:
        some = ", ".join(found.without_prices[:_SHOWN])
        say(f"{len(found.without_prices)} entities have no prices and are not judged: {some}")
    print_rows(*table_of(found))
    click.echo(f"budget: {found.budget:g} alarms per entity and week that nobody confirms")
    click.echo(found.verdict)
    for problem in found.problems:
        say(f"passed over: {problem}")


def table_of(found: Backtest) -> tuple[list[str], list[list[str]]]:
    """The ways of looking side by side: header and rows."""
    header = ["alarms by", "alerts", "precision", "recall", "mean lead (days)", "alarms per week", "halves"]
    rows = []
    for way in found.methods:
        whole, first, second = way.alarms_per_week
        rows.append(
            [
                way.name, str(way.alerts), *(figure(way.measures.get(name)) for name in _SHOWN_MEASURES),
                f"{whole:.3f}", f"{first:.3f}, {second:.3f}",
            ]
        )  # fmt: skip
    return header, rows


def figure(one: Figure | None, digits: int = 2) -> str:
    """A measure with its interval."""
    if one is None or one.value is None:
        return "-"
    said = f"{one.value:.{digits}f}"
    return said if one.low is None else f"{said} ({one.low:.{digits}f} to {one.high:.{digits}f})"


def print_progress(done: Progress) -> None:
    """What a run has done."""
    counts = done.counts
    click.echo(
        f"{counts['items']:,} items ({counts['duplicates']:,} copies), {counts['known']:,} known already, "
        f"{counts['problems']:,} could not be read; {done.readings:,} readings, {done.notices} notices, "
        f"{done.verdicts} verdicts; {done.seconds:.1f} s"
    )
    for problem in done.problems:
        say(f"passed over: {problem}")
    for drift in done.drifts:
        say(f"the inputs drift: {drift}")
    if counts["unknown"]:
        say(f"{counts['unknown']:,} times a source named a symbol that the gazetteer lacks")


def _cut(text: str) -> str:
    return text if len(text) <= 70 else f"{text[:69]}…"
