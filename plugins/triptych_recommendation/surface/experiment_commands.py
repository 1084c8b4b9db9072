"""`triptych recommendation experiment`: start one, read it at any time, stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from triptych_recommendation.surface.options import bundle_option, json_option, store_option

if TYPE_CHECKING:
    from triptych_recommendation.experiments.assignment import Experiment

variants_option = click.option(
    "--variant",
    "variants",
    multiple=True,
    required=True,
    metavar="NAME=SHARE",
    help="A variant and its share of all users, as new=0.5; the first one is the control. Two at least.",
)


@click.group(short_help="Start, report and stop experiments.")
def experiment() -> None:
    """Show users different lists, and report which ones they choose from."""


@experiment.command(short_help="Start an experiment.")
@click.argument("name")
@variants_option
@click.option(
    "--change",
    "changes",
    multiple=True,
    metavar="NAME.KEY=VALUE",
    help="What a variant sets anew below vertical.serving, as new.diversity=0.3; may be repeated.",
)
@click.option(
    "--kind",
    type=click.Choice(["ab", "interleaving"]),
    default="ab",
    show_default=True,
    help="Each user one variant, or one list for all that is drafted from both.",
)
@click.option("--salt", help="Experiments of one salt divide users alike; by default the name.")
@bundle_option
@store_option
@json_option
def start(
    name: str,
    variants: tuple[str, ...],
    changes: tuple[str, ...],
    kind: Any,
    salt: str | None,
    bundle: str,
    store: str | None,
    as_json: bool,
) -> None:
    """Start the experiment NAME. It runs until it is stopped; only one may run at a time."""
    from triptych.errors import ConfigError
    from triptych.printing import print_json
    from triptych_recommendation.experiments import registry
    from triptych_recommendation.surface.opening import open_store
    from triptych_recommendation.surface.planning import planned

    with open_store(bundle, store, writer=True) as (shop, opened):
        found = planned(name, variants, changes, kind, salt, shop.settings.serving)
        with opened.transaction() as tx:
            running = [known.name for known in registry.experiments(tx) if known.stopped is None]
            if running:
                raise ConfigError(
                    f"experiment {running[0]!r} is running, and a list can serve one alone; stop it first"
                )
            registry.start(tx, found)
    if as_json:
        print_json(registry.to_json(found))
        return
    click.echo(f"Experiment {name!r} runs: {_shares(found)}.")
    click.echo(f"triptych recommendation experiment report {name}")


@experiment.command(short_help="Report an experiment, at any time.")
@click.argument("name")
@bundle_option
@store_option
@json_option
def report(name: str, bundle: str, store: str | None, as_json: bool) -> None:
    """Report the experiment NAME as far as it is known now, and say whether it may stop.

    The intervals hold however often it is asked for.
    """
    from datetime import UTC, datetime

    from triptych.printing import print_json
    from triptych_recommendation.experiments import registry
    from triptych_recommendation.experiments import report as texts
    from triptych_recommendation.experiments.analysis import analyse
    from triptych_recommendation.surface.opening import open_store

    with open_store(bundle, store, writer=False) as (shop, opened), opened.reading() as tx:
        found = registry.experiment(tx, name)
        exposures, outcomes = tx.exposures(name), tx.outcomes(name)
    read = analyse(found, exposures, outcomes, shop.settings.experiments, now=datetime.now(UTC))
    if as_json:
        print_json(texts.as_json(read))
    else:
        click.echo("\n".join(texts.lines(read)))


@experiment.command(short_help="Change who gets what.")
@click.argument("name")
@variants_option
@bundle_option
@store_option
@json_option
def shares(name: str, variants: tuple[str, ...], bundle: str, store: str | None, as_json: bool) -> None:
    """Change the shares of the experiment NAME from now on. As few users as can be get another variant."""
    from datetime import UTC, datetime

    from triptych.errors import ConfigError
    from triptych.printing import print_json
    from triptych_recommendation.data.times import microseconds_of
    from triptych_recommendation.experiments import registry
    from triptych_recommendation.surface.opening import open_store
    from triptych_recommendation.surface.planning import shares_of

    wanted = shares_of(variants)
    with open_store(bundle, store, writer=True) as (_, opened), opened.transaction() as tx:
        found = registry.experiment(tx, name)
        if found.stopped is not None:
            raise ConfigError(f"experiment {name!r} is stopped; start another one")
        found = found.with_shares(wanted, microseconds_of(datetime.now(UTC)))
        registry.put(tx, found)
    if as_json:
        print_json(registry.to_json(found))
    else:
        click.echo(f"Experiment {name!r} runs on: {_shares(found)}.")


@experiment.command(short_help="Stop an experiment.")
@click.argument("name")
@bundle_option
@store_option
@json_option
def stop(name: str, bundle: str, store: str | None, as_json: bool) -> None:
    """Stop the experiment NAME. Its lists stay, and can be reported."""
    import dataclasses
    from datetime import UTC, datetime

    from triptych.printing import print_json
    from triptych_recommendation.data.times import microseconds_of
    from triptych_recommendation.experiments import registry
    from triptych_recommendation.surface.opening import open_store
    from triptych_recommendation.surface.wording import minute

    with open_store(bundle, store, writer=True) as (_, opened), opened.transaction() as tx:
        found = registry.experiment(tx, name)
        before = found.stopped
        if before is None:
            found = dataclasses.replace(found, stopped=microseconds_of(datetime.now(UTC)))
            registry.put(tx, found)
    if as_json:
        print_json(registry.to_json(found))
    elif before is None:
        click.echo(f"Experiment {name!r} is stopped.")
    else:
        click.echo(f"Experiment {name!r} was stopped already, at {minute(before)} UTC.")


@experiment.command("list")
@bundle_option
@store_option
@json_option
def list_(bundle: str, store: str | None, as_json: bool) -> None:
    """List experiments."""
    from triptych.printing import print_json, print_rows, say
    from triptych_recommendation.experiments import registry
    from triptych_recommendation.surface.opening import open_store
    from triptych_recommendation.surface.wording import minute

    with open_store(bundle, store, writer=False) as (_, opened), opened.reading() as tx:
        found = registry.experiments(tx)
    if as_json:
        print_json([registry.to_json(one) for one in found])
        return
    if not found:
        say("There are no experiments.")
        return
    rows = [
        [
            one.name,
            one.kind,
            _shares(one),
            minute(one.phases[0].since),
            "runs" if one.stopped is None else f"stopped {minute(one.stopped)}",
        ]
        for one in found
    ]
    print_rows(("name", "kind", "shares", "since (UTC)", "state"), rows)


def _shares(found: Experiment) -> str:
    """Who gets what at present."""
    return ", ".join(f"{variant} {share:.2%}" for variant, share in found.phases[-1].shares().items())
