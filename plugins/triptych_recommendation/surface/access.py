"""What the routes of the page work with: the recommender in service, what it holds in memory, and its store."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

from triptych.routes import RouteContext
from triptych_recommendation.opening import recommender_of, store_place
from triptych_recommendation.settings import RecommendationSettings

if TYPE_CHECKING:
    from triptych_recommendation.catalogue.store import Store
    from triptych_recommendation.serving.live import Live
    from triptych_recommendation.serving.recommender import Recommender


def settings_of(context: RouteContext) -> RecommendationSettings:
    """The `[vertical]` section of the bundle in service."""
    settings = context.predictor.settings
    assert isinstance(settings, RecommendationSettings)  # `settings_type` says so
    return settings


def recommender(context: RouteContext) -> Recommender:
    """The recommender that also answers requests."""
    return recommender_of(context.predictor)


def live(context: RouteContext) -> Live:
    """What lists are made from, up to date; read it under `lock.reading()`."""
    return recommender(context).live


def store(context: RouteContext) -> Store:
    """A second opening of the recommender's store, for what the recommender has no question for."""

    def make() -> Store:
        from triptych_recommendation.catalogue.store import Store

        recommender(context)  # makes the store where it is missing
        predictor = context.predictor
        found = Store.open(store_place(settings_of(context), predictor.state), writer=True)
        atexit.register(found.close)
        return found

    return context.predictor.cached("store of the page", make)
