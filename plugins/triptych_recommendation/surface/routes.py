"""Routes of the page that read: the shop, people, cards, items with what is like them, lists of another variety."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from triptych.routes import RouteContext
from triptych.types import Media
from triptych_recommendation.opening import about_of
from triptych_recommendation.responses import MOST, RecommendationResponse
from triptych_recommendation.surface import cards, views
from triptych_recommendation.surface.access import live, recommender, settings_of, store
from triptych_recommendation.surface.likeness import Likeness, chose_both
from triptych_recommendation.surface.people import names_with, people_of

_LONGER = 4  # times as many items as wanted, from which a list of another variety is chosen


def shop(context: RouteContext) -> views.Shop:
    """What the filters of the page are made from."""
    found = live(context)
    rules = settings_of(context).serving
    with found.lock.reading():
        shelf = found.shelf
        items = [item for item, there in zip(shelf.items, shelf.alive.tolist(), strict=True) if there]
    counts = Counter(item.category for item in items if item.category)
    prices = [item.price for item in items if item.price is not None]
    return views.Shop(
        items=len(items),
        people=len(found.files.past.users),
        categories=[views.Category(name=name, items=count) for name, count in counts.most_common(50)],
        least_price=min(prices, default=None),
        most_price=max(prices, default=None),
        in_stock=rules.in_stock,
        diversity=rules.diversity,
        reads=list(about_of(context.predictor).modalities),
    )


def people(context: RouteContext, query: views.PeopleQuery) -> views.People:
    """Names of people who did something, by a part of them."""
    known = live(context).files.past.users
    with store(context).reading() as tx:
        return views.People(people=names_with(query.q, query.k, known, tx))


def item_cards(context: RouteContext, query: views.CardsQuery) -> views.Cards:
    """Items by their ids."""
    found = live(context)
    with found.lock.reading():
        shelf = found.shelf
        rows = [shelf.rows[name] for name in dict.fromkeys(query.ids) if name in shelf.rows]
        items = [shelf.items[row] for row in rows if shelf.alive[row]]
    return views.Cards(cards=[cards.card_of(item) for item in items])


def item(context: RouteContext, query: views.ItemQuery) -> views.ItemView:
    """An item, and how many people did what with it."""
    found, known = recommender(context).item(query.item), live(context)
    with store(context).reading() as tx:
        counts = people_of(query.item, known.shelf.rows[query.item], known.files.past, tx)
    return views.ItemView(
        card=cards.card_of(found, whole=True),
        metadata=dict(found.metadata),
        people=[views.ActedOn(kind=kind, people=count) for kind, count in counts],
    )


def similar(context: RouteContext, query: views.SimilarQuery) -> views.SimilarItems:
    """Items like one, and by what: words, picture, sound, and who chose both."""
    found = recommender(context).similar(query.item, query.k)
    own = recommender(context).item(query.item)
    likeness = context.predictor.cached("likeness", lambda: Likeness(context.predictor.encode))
    parts = likeness.parts(own, [one.item for one in found.items])
    rows = live(context).shelf.rows
    both = chose_both(rows[own.id], [rows[one.item.id] for one in found.items], live(context).files.past)
    return views.SimilarItems(
        items=[
            views.Similar(
                id=one.item.id,
                score=round(one.score, 4),
                source=one.reason,
                reason=one.explanation.text if one.explanation else "",
                parts={name: round(cosine, 4) for name, cosine in cosines.items()},
                people=count,
            )
            for one, cosines, count in zip(found.items, parts, both, strict=True)
        ],
        why=found.why,
    )


def picture(context: RouteContext, query: views.PictureQuery) -> Media:
    """The picture of an item, made small."""
    return cards.thumbnail(recommender(context).item(query.item), int(query.edge))


def sound(context: RouteContext, query: views.SoundQuery) -> Media:
    """The first half minute of the sound of an item."""
    return cards.preview(recommender(context).item(query.item))


def varied(context: RouteContext, query: views.VariedQuery) -> RecommendationResponse:
    """A list with another weight of variety than the shop's.

    It is chosen from a longer list of the shop's, and not put on record: an experiment compares lists of the shop.
    """
    from triptych_recommendation.replies import response_of
    from triptych_recommendation.serving.answers import Context

    chosen_from = min(_LONGER * query.k, MOST)
    longer = recommender(context).recommend(
        query.user, chosen_from, where=query.where, context=Context(items=tuple(query.history)), record=False
    )
    kept = _varied(context, [one.item.id for one in longer.items], [one.score for one in longer.items], query)
    found = replace(longer, items=tuple(longer.items[place] for place in kept))
    head = f"For {query.user or 'everybody'}"
    return response_of(head, found, recommender(context), about_of(context.predictor))


def _varied(context: RouteContext, ids: Sequence[str], scores: Sequence[float], query: views.VariedQuery) -> list[int]:
    """Places of the items that make the list."""
    from triptych_recommendation.serving.diversity import diversified

    if not ids:
        return []
    found = live(context)
    with found.lock.reading():
        vectors = found.vectors.get(np.array([found.shelf.rows[name] for name in ids]))
    relevance = np.clip(np.array(scores, dtype=np.float32), 0, 1)
    places: list[int] = diversified(relevance, vectors, query.k, query.diversity).tolist()
    return places
