"""The command that the shop adds to `triptych`."""

from __future__ import annotations

import click

from triptych_florist.sample import FLOWERS


@click.command()
@click.option("--up-to", type=float, metavar="EUROS", help="Only what costs at most this.")
def catalogue(up_to: float | None) -> None:
    """List the florist's flowers, the cheapest first."""
    for flower in sorted(FLOWERS, key=lambda flower: flower.price):
        if up_to is None or flower.price <= up_to:
            click.echo(f"{flower.price:7.2f}  {flower.name}: {flower.text}")
