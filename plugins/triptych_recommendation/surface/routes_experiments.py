"""The route of the page that reports the experiments that run. They are started and stopped by command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from triptych.routes import RouteContext
from triptych_recommendation.data.times import moment_of
from triptych_recommendation.surface import views
from triptych_recommendation.surface.access import settings_of, store


def experiments(context: RouteContext) -> views.Experiments:
    """The experiments that run, each with its intervals and whether it may stop."""
    from triptych_recommendation.experiments import registry
    from triptych_recommendation.experiments import report as texts
    from triptych_recommendation.experiments.analysis import analyse

    settings = settings_of(context).experiments
    with store(context).reading() as tx:
        running = [one for one in registry.experiments(tx) if one.stopped is None]
        rows = [(one, tx.exposures(one.name), tx.outcomes(one.name)) for one in running]
    found = []
    for one, exposures, outcomes in rows:
        values: dict[str, Any] = texts.as_json(analyse(one, exposures, outcomes, settings, now=datetime.now(UTC)))
        values["since"] = moment_of(one.phases[0].since).isoformat(timespec="seconds")
        found.append(views.Experiment.model_validate(values))
    return views.Experiments(experiments=found)
