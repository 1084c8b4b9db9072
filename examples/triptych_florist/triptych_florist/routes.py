"""The endpoint that the shop adds to a server: `GET /v1/florist/flowers?up_to=20`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from triptych.routes import RouteContext
from triptych_florist.florist import FloristSettings
from triptych_florist.sample import FLOWERS


class FlowersQuery(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid")
    up_to: float | None = Field(None, ge=0, description="Only what costs at most this, in euros.")


class Flower(BaseModel):
    """One of them."""

    name: str
    text: str
    price: float  # euros


class Flowers(BaseModel):
    """All of them, the cheapest first, and who brings them."""

    flowers: list[Flower]
    courier: str


def flowers(context: RouteContext, query: FlowersQuery) -> Flowers:
    """Runs in a thread of the server; `context.predictor` is what answers there."""
    found = sorted(FLOWERS, key=lambda flower: flower.price)
    kept = [flower for flower in found if query.up_to is None or flower.price <= query.up_to]
    shown = [Flower(name=flower.name, text=flower.text, price=flower.price) for flower in kept]
    settings = context.predictor.settings
    assert isinstance(settings, FloristSettings)
    return Flowers(flowers=shown, courier=settings.courier)
