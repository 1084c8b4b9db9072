"""Running experiments: which rules hold for whom."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.experiments.assignment import Experiment
from triptych_recommendation.experiments.registry import experiments
from triptych_recommendation.serving.rules import Rules
from triptych_recommendation.serving.settings import RuleSettings
from triptych_recommendation.serving.shelf import Shelf

_FRESH_S = 1.0  # what another process started or stopped is known after so long at most

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """The rules for one request: one set, or two whose lists are drafted into one."""

    rules: Rules
    experiment: str = ""
    variant: str = ""  # "": none, or both are in the list
    other: Rules | None = None  # of the second variant of an interleaving
    sides: tuple[str, ...] = ()  # the two variants of an interleaving


class Variants:
    """The experiments of a store, each variant with its rules. Safe for threads.

    A user is in one experiment at most: the first, by name, that takes him. An experiment whose changes are no
    settings is left out, with one message in the log.
    """

    def __init__(self, store: Store, rules: RuleSettings, shelf: Shelf) -> None:
        self._store = store
        self._shelf = shelf
        self._settings = rules
        self._base = Assigned(Rules(rules, shelf))
        self._kept: dict[str, Rules] = {}
        self._running: list[Experiment] = []
        self._read = -float("inf")
        self._refused: set[str] = set()
        self._reading = threading.Lock()

    def of(self, user: str | None) -> Assigned:
        """The rules for a user; whoever has no name takes part in nothing."""
        if user is None:
            return self._base
        for experiment in self._current():
            variant = experiment.variant(user)
            if variant is None:
                continue
            if experiment.kind == "interleaving":
                first, second = list(experiment.variants)[:2]
                return Assigned(
                    self._rules(experiment.variants[first]), experiment.name, "",
                    self._rules(experiment.variants[second]), (first, second),
                )  # fmt: skip
            return Assigned(self._rules(experiment.variants[variant]), experiment.name, variant)
        return self._base

    @property
    def longest_days(self) -> float:
        """How far back any rules look."""
        every = [self._settings, *(rules.settings for rules in list(self._kept.values()))]
        return max(max(one.tired_days, one.outcome_days) for one in every)

    def _current(self) -> list[Experiment]:
        if time.monotonic() - self._read >= _FRESH_S:
            with self._reading:
                if time.monotonic() - self._read >= _FRESH_S:
                    with self._store.reading() as tx:
                        found = [one for one in experiments(tx) if one.stopped is None]
                    self._running = [one for one in found if self._usable(one)]
                    self._read = time.monotonic()
        return self._running

    def _usable(self, experiment: Experiment) -> bool:
        try:
            for changes in experiment.variants.values():
                self._rules(changes)
        except ValidationError as error:
            if experiment.name not in self._refused:
                self._refused.add(experiment.name)
                reason = error.errors()[0]
                key = ".".join(str(part) for part in reason["loc"])
                log.warning("experiment %r is left out: %s: %s", experiment.name, key, reason["msg"])
            return False
        return True

    def _rules(self, changes: Mapping[str, Any]) -> Rules:
        if not changes:
            return self._base.rules
        key = repr(sorted(changes.items()))
        if key not in self._kept:
            settings = RuleSettings.model_validate({**self._settings.model_dump(), **changes})
            self._kept[key] = Rules(settings, self._shelf)
        return self._kept[key]
