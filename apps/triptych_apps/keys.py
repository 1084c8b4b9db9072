"""`triptych keys`: who may ask a server."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from triptych_apps.options import VerticalName, json_option

if TYPE_CHECKING:
    from triptych_apps.server.keys import Key


@click.group(short_help="Make, list and revoke the keys of `triptych serve`.")
def keys() -> None:
    """Make, list and revoke the keys of `triptych serve`.

    They are kept in keys.sqlite under the home directory that `triptych doctor` names, without their secrets. A server
    that asks for keys sees a change at once.
    """


@keys.command(short_help="Make a key.")
@click.argument("name")
@click.option(
    "--vertical", "verticals", multiple=True, type=VerticalName(), metavar="NAME",
    help="Allow this vertical; may be repeated. Without it, all are allowed.",
)  # fmt: skip
@click.option("--per-minute", type=click.IntRange(1), metavar="N", help="Requests a minute at most.")
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), metavar="MONEY",
    help="Money that may be spent in all, in the currency of the bundles' prices.",
)  # fmt: skip
@json_option
def add(name: str, verticals: tuple[str, ...], per_minute: int | None, budget: float | None, as_json: bool) -> None:
    """Make a key for NAME. It is shown this once; a server that runs without keys asks for them after a restart."""
    from triptych_apps.server.keys import KeyStore

    with closing(KeyStore()) as store:
        key, text = store.add(name, verticals=verticals, per_minute=per_minute, budget=budget)
    if as_json:
        from triptych_apps.output import print_json

        print_json({"key": text, **_row(key)})
        return
    click.echo(text)


@keys.command("list", short_help="List the keys.")
@json_option
def list_keys(as_json: bool) -> None:
    """List the keys, with what each one may do and has spent; their secrets are nowhere."""
    from triptych_apps.server.keys import KeyStore

    with closing(KeyStore()) as store:
        rows = [_row(key) for key in store.all()]
    if as_json:
        from triptych_apps.output import print_json

        print_json({"keys": rows})
        return
    from triptych_apps.output import print_table

    print_table("Keys", list(rows[0]) if rows else [], [list(row.values()) for row in rows])


@keys.command(short_help="Take a key out of use.")
@click.argument("identity", metavar="ID")
@json_option
def revoke(identity: str, as_json: bool) -> None:
    """Take a key out of use, at once and for good. ID is what `triptych keys list` shows."""
    from triptych_apps.server.keys import KeyStore

    with closing(KeyStore()) as store:
        key = store.revoke(identity)
    if as_json:
        from triptych_apps.output import print_json

        print_json(_row(key))
        return
    click.echo(f"{key.id} ({key.name}) is revoked.")


def _row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "verticals": list(key.verticals) or ["all"],
        "per_minute": key.per_minute,
        "budget": key.budget,
        "spent": key.spent,
        "created": key.created,
        "revoked": key.revoked,
    }
