"""`triptych finance alerts`: what fired, what analysts say of it, and what is not to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from triptych_finance.surface.options import analyst_name, analyst_option, json_option, note_option, store_option

if TYPE_CHECKING:
    from triptych_finance.store.schema import AlertRow, SilenceRow, VerdictRow
    from triptych_finance.store.transaction import Transaction

_STATES = ("pending", "firing", "keep_firing", "resolved", "inactive")
_OPEN = _STATES[:3]
_WORDS = {True: "confirmed", False: "dismissed"}


@click.group()
def alerts() -> None:
    """List, judge and silence alerts, also while a monitor runs."""


@alerts.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only these; may be repeated.")
@click.option("--open", "only_open", is_flag=True, help="Only those that are not over.")
@click.option("--entity", metavar="SYMBOL", help="Only those of this company, or of sector:NAME.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The latest so many.")
@store_option
@json_option
def list_(
    states: tuple[str, ...], only_open: bool, entity: str | None, limit: int, store: str | None, as_json: bool
) -> None:
    """List alerts, the latest last."""
    from triptych.printing import minute, print_json, print_rows, say
    from triptych_finance.alerts.notices import document
    from triptych_finance.surface.opening import open_store

    wanted = sorted({*states, *(_OPEN if only_open else ())}) or None
    with open_store(store, writer=False) as opened, opened.reading() as tx:
        found = tx.alerts(entity=entity, states=wanted, limit=limit)
        verdicts = {verdict.alert: verdict for verdict in tx.verdicts()}
    if as_json:
        print_json([{**document(alert), **_said(verdicts.get(alert.id))} for alert in found])
        return
    if not found:
        say("There are no such alerts.")
        return
    rows = [
        [
            alert.id,
            minute(alert.fired or alert.started),
            alert.state,
            alert.entity,
            alert.kind,
            _words(verdicts.get(alert.id)),
        ]
        for alert in found
    ]
    print_rows(("id", "fired (UTC)", "state", "entity", "kind", "verdict"), rows)


@alerts.command()
@click.argument("alert", metavar="ID")
@store_option
@json_option
def show(alert: str, store: str | None, as_json: bool) -> None:
    """Show an alert with its evidence and its notices; ID may be an unmistakable beginning."""
    from triptych.printing import minute, print_json
    from triptych_finance.alerts.notices import document, render
    from triptych_finance.surface.opening import open_store

    with open_store(store, writer=False) as opened, opened.reading() as tx:
        found = _find(tx, alert)
        notices = tx.notices(found.id)
        said = _said({verdict.alert: verdict for verdict in tx.verdicts()}.get(found.id))
    if as_json:
        told = [
            {"id": n.id, "kind": n.kind, "channel": n.channel, "created": n.created, "sent": n.sent,
             "attempts": n.attempts, "error": n.error} for n in notices
        ]  # fmt: skip
        print_json({**document(found), **said, "withheld": found.json.get("withheld") or {}, "notices": told})
        return
    click.echo(render({**document(found), **said}))
    for event, why in (found.json.get("withheld") or {}).items():
        click.echo(f"  not told ({event}): {why}")
    for notice in notices:
        state = f"sent {minute(notice.sent)}" if notice.sent else f"waits: {notice.error}" if notice.error else "waits"
        if notice.sent is None and notice.next_try is None:
            state = f"given up: {notice.error}"
        click.echo(f"  notice to {notice.channel} ({notice.kind}): {state}")


@alerts.command()
@click.argument("alert", metavar="ID")
@analyst_option
@note_option
@store_option
@json_option
def confirm(alert: str, analyst: str | None, note: str, store: str | None, as_json: bool) -> None:
    """Say that an alert was right: it is taken off the budget of false alarms."""
    _judge(alert, confirmed=True, analyst=analyst, note=note, store=store, as_json=as_json)


@alerts.command()
@click.argument("alert", metavar="ID")
@analyst_option
@note_option
@store_option
@json_option
def dismiss(alert: str, analyst: str | None, note: str, store: str | None, as_json: bool) -> None:
    """Say that an alert was false: it counts against the budget."""
    _judge(alert, confirmed=False, analyst=analyst, note=note, store=store, as_json=as_json)


@alerts.command()
@click.argument("pattern")
@click.option("--for", "length", metavar="LENGTH", help="How long from its start: 30m, 2h, 3d, 1w.")
@click.option("--until", metavar="TIME", help="Its end, in place of --for.")
@click.option("--from", "start", metavar="TIME", help="Its start; by default now.")
@click.option("--kind", type=click.Choice(["negative", "positive", "volume"]), help="Only alerts of this kind.")
@analyst_option
@note_option
@store_option
@json_option
def silence(
    pattern: str,
    length: str | None,
    until: str | None,
    start: str | None,
    kind: str | None,
    analyst: str | None,
    note: str,
    store: str | None,
    as_json: bool,
) -> None:
    """Send no notices for alerts that match PATTERN; they are kept all the same.

    PATTERN is a symbol, maybe with * and ?, or names what it is for: "entity=AC*,sector=tech,direction=negative".
    Times are those of the news, which live is that of the clock.
    """
    from datetime import UTC, datetime

    from triptych.printing import minute, print_json
    from triptych_finance.alerts.silence import new_silence
    from triptych_finance.surface.opening import open_store
    from triptych_finance.surface.wording import length_of, time_of

    if (length is None) == (until is None):
        raise click.UsageError("Give the silence an end: either --for LENGTH or --until TIME.")
    starts = datetime.now(UTC) if start is None else time_of(start, "--from")
    ends = time_of(until, "--until") if until is not None else starts + length_of(length or "", "--for")
    row = new_silence(pattern, starts, ends, analyst=analyst_name(analyst), note=note, kind=kind or "")
    with open_store(store, writer=False) as opened, opened.posting() as tx:
        if row.id not in {known.id for known in tx.silences()}:
            tx.add_silence(row)
    if as_json:
        print_json(row)
        return
    click.echo(f"Silence {row.id} on {row.pattern} holds from {minute(row.starts)} to {minute(row.ends)} UTC.")


@alerts.command()
@click.option("--all", "everything", is_flag=True, help="Also those that are over or still to come.")
@store_option
@json_option
def silences(everything: bool, store: str | None, as_json: bool) -> None:
    """List silences."""
    from datetime import UTC, datetime

    from triptych.printing import minute, print_json, print_rows, say
    from triptych_finance.surface.opening import open_store

    with open_store(store, writer=False) as opened, opened.reading() as tx:
        found = tx.silences(None if everything else datetime.now(UTC))
    if as_json:
        print_json(found)
        return
    if not found:
        say("There are no such silences.")
        return
    rows = [[s.id, minute(s.starts), minute(s.ends), _pattern(s), s.analyst, s.note] for s in found]
    print_rows(("id", "from (UTC)", "to (UTC)", "pattern", "by", "why"), rows)


@alerts.command()
@click.argument("silence", metavar="ID")
@store_option
def expire(silence: str, store: str | None) -> None:
    """End a silence now."""
    from datetime import UTC, datetime

    from triptych.errors import UnknownNameError
    from triptych_finance.surface.opening import open_store

    with open_store(store, writer=False) as opened, opened.posting() as tx:
        known = [row.id for row in tx.silences()]
        if silence not in known:
            raise UnknownNameError("silence", silence, known[-20:])
        ended = tx.expire_silence(silence, datetime.now(UTC))
    click.echo(f"Silence {silence} is over." if ended else f"Silence {silence} was over already.")


def _judge(alert: str, *, confirmed: bool, analyst: str | None, note: str, store: str | None, as_json: bool) -> None:
    from datetime import UTC, datetime

    from triptych.printing import print_json
    from triptych_finance.alerts.verdicts import judge
    from triptych_finance.surface.opening import open_store

    with open_store(store, writer=False) as opened, opened.posting() as tx:
        judged = judge(
            tx, alert, confirmed=confirmed, analyst=analyst_name(analyst), note=note, now=datetime.now(UTC)
        )  # fmt: skip
    if as_json:
        print_json(judged)
    else:
        click.echo(judged.message)


def _find(tx: Transaction, alert: str) -> AlertRow:
    """An alert by its id, or by an unmistakable beginning of it. Raises `UnknownNameError`."""
    from triptych.errors import UnknownNameError

    found = tx.alerts(ids=[alert])
    if not found:
        latest = tx.alerts(limit=1000)
        found = [row for row in latest if alert and row.id.startswith(alert)]
        if len(found) != 1:
            known = [row.id for row in (found or latest)[-20:]]
            raise UnknownNameError("single alert" if found else "alert", alert, known)
    return found[0]


def _said(verdict: VerdictRow | None) -> dict[str, Any]:
    """A verdict as alerts carry it once the monitor has taken it up."""
    if verdict is None:
        return {}
    word = _WORDS[verdict.confirmed]
    return {
        "verdict": {
            "verdict": word, "analyst": verdict.analyst, "note": verdict.note, "given": verdict.given.isoformat()
        }
    }  # fmt: skip


def _words(verdict: VerdictRow | None) -> str:
    return "" if verdict is None else f"{_WORDS[verdict.confirmed]} by {verdict.analyst}"


def _pattern(silence: SilenceRow) -> str:
    return f"{silence.pattern} ({silence.kind})" if silence.kind else silence.pattern
