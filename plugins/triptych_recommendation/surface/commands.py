"""`triptych recommendation`: recommend, find what is alike, and keep items, events and experiments."""

from __future__ import annotations

from typing import Any

import click

from triptych_recommendation.surface.event_commands import events
from triptych_recommendation.surface.experiment_commands import experiment
from triptych_recommendation.surface.item_commands import items
from triptych_recommendation.surface.options import (
    bundle_option,
    count_option,
    json_option,
    store_option,
    where_option,
)


@click.group()
def recommendation() -> None:
    """Recommend items to users, and keep items, events and experiments up to date."""


recommendation.add_command(items)
recommendation.add_command(events)
recommendation.add_command(experiment)


@recommendation.command(short_help="Recommend items to a user.")
@click.option("--user", metavar="USER", help="For whom; one who is not known gets what suits everybody.")
@click.option(
    "--history",
    metavar="ID,ID,...",
    default="",
    help="Items that were looked at just now, the newest last; they count for this list alone.",
)
@count_option
@where_option
@bundle_option
@store_option
@json_option
def recommend(
    user: str | None,
    history: str,
    count: int,
    where: dict[str, Any] | None,
    bundle: str,
    store: str | None,
    as_json: bool,
) -> None:
    """Recommend items to a user, by what he did up to now and just now.

    The list of a user with a name is put on record: items that he is shown in vain again and again are lowered, and an
    experiment counts it.
    """
    from triptych_recommendation.replies import reply
    from triptych_recommendation.responses import RecommendationRequest
    from triptych_recommendation.surface.opening import open_shop
    from triptych_recommendation.surface.wording import print_answer

    recent = [name.strip() for name in history.split(",") if name.strip()]
    if user is None and not recent:
        raise click.UsageError("For whom? Give --user USER, or --history ID,ID,... of somebody without a name.")
    request = RecommendationRequest(user=user, history=recent, k=count, where=where)
    with open_shop(bundle, store) as (shop, recommender):
        print_answer(reply(request, recommender, None, shop.about), as_json=as_json)


@recommendation.command(short_help="Find items like one.")
@click.option("--item", required=True, metavar="ID", help="Like which item.")
@count_option
@bundle_option
@store_option
@json_option
def similar(item: str, count: int, bundle: str, store: str | None, as_json: bool) -> None:
    """Find the items that are most like one, by what they say, show and sound like."""
    from triptych_recommendation.replies import reply
    from triptych_recommendation.responses import RecommendationRequest
    from triptych_recommendation.surface.opening import open_shop
    from triptych_recommendation.surface.wording import print_answer

    request = RecommendationRequest(item=item, k=count)
    with open_shop(bundle, store) as (shop, recommender):
        print_answer(reply(request, recommender, None, shop.about), as_json=as_json)
