"""Experiments in the store, beside the lists that they put on record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, MetaData, Table, Text, delete, inspect, select

from triptych.errors import ConfigError, DataError, UnknownNameError
from triptych_recommendation.experiments.assignment import Experiment, Phase

if TYPE_CHECKING:
    from triptych_recommendation.catalogue.transaction import Transaction

_METADATA = MetaData()
_TABLE = Table("experiment", _METADATA, Column("name", Text, primary_key=True), Column("json", Text, nullable=False))


def start(tx: Transaction, experiment: Experiment) -> None:
    """Keep a new experiment. Raises `ConfigError` where one of that name is or was there."""
    if any(known.name == experiment.name for known in experiments(tx)):
        raise ConfigError(
            f"there is an experiment {experiment.name!r} already; its lists would be mixed with the new one's: "
            "choose another name"
        )
    put(tx, experiment)


def put(tx: Transaction, experiment: Experiment) -> None:
    """Keep an experiment in place of the one of its name."""
    _METADATA.create_all(tx.connection)
    tx.connection.execute(delete(_TABLE).where(_TABLE.c.name == experiment.name))
    tx.connection.execute(_TABLE.insert(), {"name": experiment.name, "json": json.dumps(to_json(experiment))})


def experiments(tx: Transaction) -> list[Experiment]:
    """All experiments, by name."""
    if not inspect(tx.connection).has_table(_TABLE.name):
        return []
    rows = tx.connection.scalars(select(_TABLE.c.json).order_by(_TABLE.c.name))
    return [from_json(json.loads(row)) for row in rows]


def experiment(tx: Transaction, name: str) -> Experiment:
    """The experiment of a name. Raises `UnknownNameError`."""
    known = {found.name: found for found in experiments(tx)}
    if name not in known:
        raise UnknownNameError("experiment", name, list(known))
    return known[name]


def to_json(experiment: Experiment) -> dict[str, Any]:
    """An experiment as JSON; `from_json` reads it again."""
    return {
        "name": experiment.name,
        "kind": experiment.kind,
        "salt": experiment.salt,
        "variants": [[name, dict(changes)] for name, changes in experiment.variants.items()],
        "phases": [{"since": phase.since, "runs": [list(run) for run in phase.runs]} for phase in experiment.phases],
        "stopped": experiment.stopped,
    }


def from_json(values: dict[str, Any]) -> Experiment:
    """What `to_json` wrote. Raises `DataError` for what it cannot have written."""
    try:
        phases = [
            Phase(int(phase["since"]), tuple((str(name), int(count)) for name, count in phase["runs"]))
            for phase in values["phases"]
        ]
        variants = {str(name): dict(changes) for name, changes in values["variants"]}
        return Experiment(
            values["name"], variants, tuple(phases), values["kind"], values["salt"], values["stopped"]
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the store holds an experiment that cannot be read ({error!r})") from error
