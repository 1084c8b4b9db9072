"""Routes of the page that add and remove items while the bundle serves."""

from __future__ import annotations

import re
import secrets

from triptych.routes import RouteContext
from triptych_recommendation.data.items import Item
from triptych_recommendation.surface import views
from triptych_recommendation.surface.access import recommender
from triptych_recommendation.surface.cards import card_of
from triptych_recommendation.surface.uploads import keep_picture, keep_sound

_FOLDER = "media"  # of pictures and sounds that came with items, beside the store


def add_item(context: RouteContext, new: views.NewItem) -> views.ItemAdded:
    """Add an item, with its picture and sound; it can be recommended when this returns."""
    folder = context.predictor.state / _FOLDER
    item = Item(
        new.id.strip() or _id_of(new.title),
        title=new.title,
        description=new.description.strip(),
        image=keep_picture(new.picture, folder) if new.picture else None,
        audio=keep_sound(new.sound, folder) if new.sound else None,
        category=new.category.strip(),
        price=new.price,
        stock=new.stock,
        tags=tuple(dict.fromkeys(tag.strip() for tag in new.tags if tag.strip())),
    )
    changed = recommender(context).add_items([item])
    return views.ItemAdded(card=card_of(item, whole=True), notes=list(changed.notes))


def remove_item(context: RouteContext, query: views.ItemQuery) -> views.ItemRemoved:
    """Remove an item; it is in no list any more when this returns."""
    recommender(context).remove_items([query.item])
    return views.ItemRemoved(id=query.item)


def _id_of(title: str) -> str:
    """Words of a title, and something that no other item has."""
    words = re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:40].strip("-")
    return f"{words or 'item'}-{secrets.token_hex(4)}"
