"""Options that several commands of `triptych finance` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

store_option = click.option(
    "--store",
    metavar="PATH|URL",
    help="The SQLite file, or postgresql://...; by default what TRIPTYCH_FINANCE_STORE says, else a file under the "
    "home directory that `triptych doctor` names. Keep the password in PGPASSWORD or ~/.pgpass.",
)
bundle_option = click.option(
    "--bundle",
    metavar="PATH|NAME",
    default="finance",
    help="What scores the items: a bundle's directory; by default the newest that `triptych run finance` has built.",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set one key of the bundle's settings anew, as vertical.signal.budget_per_week=0.3; may be repeated.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on standard output.")
analyst_option = click.option(
    "--analyst", metavar="NAME", help="Who says so; by default the name that you are logged in with."
)
note_option = click.option("--note", metavar="TEXT", default="", help="Why; kept with it.")
report_option = click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write pictures and one HTML page that holds them into this folder.",
)


def prices_option(*, required: bool = False) -> Callable[[Decorated], Decorated]:
    """`--prices`."""
    return click.option(
        "--prices",
        type=click.Path(path_type=Path),
        metavar="FILE",
        required=required,
        help="Daily prices (CSV or Parquet): symbol, date, open, high, low, close, adj_close, volume."
        + ("" if required else " With them, the evidence of an alert says what followed like news."),
    )


def analyst_name(given: str | None) -> str:
    """The analyst's name; by default that of the user of this machine, where there is one."""
    if given is not None:
        return given
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
