"""What a route works with: an endpoint that a plugin adds to a served vertical with `triptych_routes`.

    from pydantic import BaseModel, ConfigDict

    class PriceQuery(BaseModel):
        model_config = ConfigDict(extra="forbid")
        flower: str

    class Price(BaseModel):
        euros: float

    def price(context: RouteContext, query: PriceQuery) -> Price:
        return Price(euros=context.predictor.cached("prices", read_prices)[query.flower])

The second parameter may be missing. It is read from the path and the query string, of POST from the path and a JSON
body. A route returns a model (JSON), a `triptych.types.Media` (its bytes as they are), or, annotated
`-> Iterator[Model]`, server-sent events, each with one model.

Routes run in threads, several at a time. They raise `triptych.errors` classes: `DataError` (422),
`UnknownNameError` (404), `RefusedError` (403), `MissingError` (503, with its reason in the log alone).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from triptych.predictor import Predictor


@dataclass(frozen=True, slots=True, eq=False)
class RouteContext:
    """The caller of a route, and the release that is in service when it is called.

    `caller` is the id of the API key, or "local" where no key is asked for. `stopping` is true when the server drains
    or the client has left: a stream has to ask it twice a second or more, and to end when it says so. `redact` takes
    out of a text that is to be kept, such as a note, what is taken out of requests before they are answered
    (`triptych_redact`); it raises `RefusedError` where that fails.
    """

    predictor: Predictor
    caller: str
    stopping: Callable[[], bool]
    redact: Callable[[str], str] = lambda text: text  # nothing, where there is no server
