"""From a request to the recommender's list, and from the list to an answer in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from triptych.errors import DataError
from triptych.vertical import Evidence
from triptych_recommendation.about import About
from triptych_recommendation.responses import RecommendationRequest, RecommendationResponse, RecommendedItem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from triptych_recommendation.serving.answers import Recommendations, Recommended
    from triptych_recommendation.serving.recommender import Recommender

_NAMED = 3  # titles in the words of an answer


def reply(
    request: RecommendationRequest, recommender: Recommender, query: NDArray[np.float32] | None, about: About
) -> RecommendationResponse:
    """The answer to a request; `query` is float32 [dim], what the item encoder makes of the content that came with it.

    Raises `DataError` for an item that is not there, a filter that is not understood, and for a request that asks for
    two things at once.
    """
    from triptych_recommendation.serving.answers import Context

    if request.item is not None:
        if request.user is not None or request.history or query is not None:
            raise DataError(
                "the request asks for two things: give an item, or a user with what he looked at, or words, a picture "
                "or a sound"
            )
        found = recommender.similar(request.item, request.k, where=request.where)
        head = f"Like {recommender.titles([request.item])[request.item]}"
    else:
        now = Context(items=tuple(request.history), query=query)
        found = recommender.recommend(request.user, request.k, where=request.where, context=now)
        head = _head(request, query is not None)
    return response_of(head, found, recommender, about)


def response_of(head: str, found: Recommendations, recommender: Recommender, about: About) -> RecommendationResponse:
    """A list as an answer, whose words begin with `head`."""
    return RecommendationResponse(
        answer=_words(head, found),
        confidence=about.hit_rate(found.policy) if found.items else 0.0,
        evidence=_evidence(recommender, found.items),
        items=[_place(one) for one in found.items],
        policy=found.policy,
        exposure=found.exposure,
        experiment=found.experiment,
        arm=found.variant,
        notes=list(found.notes),
    )


def _head(request: RecommendationRequest, asked: bool) -> str:
    given = [name for name in ("text", "image", "audio") if getattr(request, name) is not None]
    called = {"text": "these words", "image": "this picture", "audio": "this sound"}
    what = " and ".join(called[name] for name in given) if asked else ""
    whom = "" if request.user is None else request.user
    if what and whom:
        return f"For {whom} and {what}"
    return f"For {what or whom or ('somebody who looks at these' if request.history else 'everybody')}"


def _words(head: str, found: Recommendations) -> str:
    if not found.items:
        return f"{head}: {found.why or 'nothing'}."
    titles = [one.item.title or one.item.id for one in found.items]
    more = len(titles) - _NAMED
    return f"{head}: {'; '.join(titles[:_NAMED])}{f'; and {more} more' if more > 0 else ''}."


def _place(one: Recommended) -> RecommendedItem:
    told = one.explanation
    return RecommendedItem(
        id=one.item.id,
        title=one.item.title,
        score=round(float(one.score), 4),
        reason="" if told is None else told.text,
        cited=[] if told is None else list(told.cited),
        source=one.reason,
        origin=one.origin,
        category=one.item.category,
        price=one.item.price,
    )


def _evidence(recommender: Recommender, items: Sequence[Recommended]) -> list[Evidence]:
    """The past events that the reasons name, each once, with the most that a score falls without them."""
    drops: dict[str, float] = {}
    for one in items:
        for name in () if one.explanation is None else one.explanation.cited:
            drops[name] = max(drops.get(name, 0.0), one.explanation.drop if one.explanation else 0.0)
    order = sorted(drops, key=lambda name: -drops[name])
    titles = recommender.titles(order)  # one that was removed may still stand in the user's past
    return [Evidence(id=n, kind="event", title=titles[n], score=round(drops[n], 4)) for n in order]
