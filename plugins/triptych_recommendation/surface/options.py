"""Options that several commands of `triptych recommendation` share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # click knows the type argument from 8.5 on
    _ParamType = click.ParamType

MOST = 200
"""Items of one list."""


class Filter(_ParamType):
    """A filter as a JSON object."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The object. What it says is checked where it is used."""
        if not isinstance(value, str):
            return value
        try:
            found = json.loads(value)
        except json.JSONDecodeError as error:
            self.fail(f"{value!r} is not valid JSON: {error}", param, ctx)
        if not isinstance(found, dict):
            self.fail(f'{value!r} is no filter; write an object, as {{"category": "puzzle"}}', param, ctx)
        return found


bundle_option = click.option(
    "--bundle",
    metavar="PATH|NAME",
    default="recommendation",
    help="What recommends: a bundle's directory; by default the newest that `triptych run recommendation` has built.",
)
store_option = click.option(
    "--store",
    metavar="PATH|URL",
    help="The SQLite file, or postgresql://...; by default the one that the bundle's settings name, or a file under "
    "the home directory that `triptych doctor` names. Keep the password in PGPASSWORD or ~/.pgpass.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on standard output.")
count_option = click.option(
    "-k", "count", type=click.IntRange(1, MOST), default=10, show_default=True, help="How many items."
)
where_option = click.option(
    "--where",
    type=Filter(),
    metavar="JSON",
    help='Only items that a filter lets through, such as \'{"category": "puzzle", "price": {"max": 20}}\'.',
)
