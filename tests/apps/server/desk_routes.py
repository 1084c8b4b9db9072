"""Routes and a page that a stranger's plugin adds to the desk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field

from triptych.errors import DataError, MissingError, RefusedError, UnknownNameError
from triptych.hookspecs import hookimpl
from triptych.routes import RouteContext
from triptych.types import Media, PageSpec, RouteSpec

PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle cx="4" cy="4" r="4"/></svg>'
ENDED: list[str] = []  # streams whose generator was closed or ran out


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class EchoQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    words: str = Field(max_length=100, description="What to say.")
    times: int = 1
    colours: list[Colour] = []
    share: float | None = None


class Echo(BaseModel):
    words: str
    colours: list[Colour]
    caller: str
    vertical: str
    thread: str


class DrawerQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    drawer: str
    label: str
    inside: dict[str, int] = {}


class DrawerName(BaseModel):
    model_config = ConfigDict(extra="forbid")
    drawer: str


class Drawer(BaseModel):
    drawer: str
    label: str


class TicksQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    most: int = 1000
    fail: str = ""


class Tick(BaseModel):
    number: int


def echo(context: RouteContext, query: EchoQuery) -> Echo:
    name = context.predictor.vertical.name
    words = context.redact(" ".join([query.words] * query.times))
    thread = threading.current_thread().name
    return Echo(words=words, colours=query.colours, caller=context.caller, vertical=name, thread=thread)


def picture(context: RouteContext) -> Media:
    return Media(PICTURE, "image/svg+xml")


def put(context: RouteContext, query: DrawerQuery) -> Drawer:
    if query.drawer == "nowhere":
        raise UnknownNameError("drawer", query.drawer, ["left", "right"])
    if query.label == "secret":
        raise RefusedError("this is not for everybody")
    if query.label == "wrong":
        raise DataError("that is no label")
    if query.label == "lost":
        raise MissingError("the database at secret of the server does not answer")
    if query.label == "boom":
        raise RuntimeError("a secret of the client")
    if query.label == "late":
        raise TimeoutError("a secret of the client")
    if query.label == "slow":
        time.sleep(1)
    return Drawer(drawer=query.drawer, label=query.label)


def empty(context: RouteContext, query: DrawerName) -> Drawer:
    return Drawer(drawer=query.drawer, label="")


def ticks(context: RouteContext, query: TicksQuery) -> Iterator[Tick]:
    if query.fail == "first":
        raise DataError("nothing ticks")
    try:
        for number in range(query.most):
            if context.stopping():
                return
            if query.fail == "later" and number == 2:
                raise DataError("it stopped ticking")
            yield Tick(number=number)
            time.sleep(0.02)
    finally:
        ENDED.append(query.fail)


@hookimpl
def triptych_routes() -> list[RouteSpec]:
    return [
        RouteSpec("desk", "echo", f"{__name__}:echo", "Say it again."),
        RouteSpec("desk", "picture", f"{__name__}:picture", "A dot."),
        RouteSpec("desk", "drawers/{drawer}", f"{__name__}:put", "Label a drawer.", method="POST"),
        RouteSpec("desk", "drawers/{drawer}", f"{__name__}:empty", "Empty a drawer.", method="DELETE"),
        RouteSpec("desk", "ticks", f"{__name__}:ticks", "Count."),
        RouteSpec("shop", "echo", f"{__name__}:echo", "Of a vertical that is not served here."),
    ]


@hookimpl
def triptych_pages() -> list[PageSpec]:
    return [PageSpec("desk", "Drawers", "tests.apps.server.desk_page", "What is in the desk, and what it ticks.")]
