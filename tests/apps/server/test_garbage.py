"""What stays is left out of the collection of garbage, and what went is not."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from triptych_apps.server import launch
from triptych_apps.server.garbage import Garbage
from triptych_apps.server.settings import Settings


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    """Before and after."""
    gc.unfreeze()
    yield
    gc.unfreeze()


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def service(*versions: str) -> Any:
    releases = [SimpleNamespace(version=version) for version in versions]
    return SimpleNamespace(release=releases[0] if releases else None, in_memory=versions)


def test_nothing_is_kept_before_all_bundles_are_open():
    before = gc.get_freeze_count()
    Garbage([service("1"), service()]).look()
    assert gc.get_freeze_count() <= before


def test_what_is_there_is_kept_once_until_something_else_is_open():
    one = service("1")
    garbage = Garbage([one])
    knot = Knot()
    garbage.look()
    kept = gc.get_freeze_count()
    assert kept > 1_000
    new = [Knot() for _ in range(100)]
    garbage.look()
    assert gc.get_freeze_count() <= kept  # the new ones were not added
    gone = weakref.ref(knot)
    del knot
    gc.collect()
    assert gone() is not None
    one.in_memory = ("1", "2")
    garbage.look()
    assert gone() is None
    assert gc.get_freeze_count() > len(new)


def test_a_server_looks_with_every_tick(monkeypatch: pytest.MonkeyPatch):
    looked: list[Garbage] = []
    monkeypatch.setattr(Garbage, "look", lambda garbage: looked.append(garbage))
    site: Any = SimpleNamespace(settings=Settings(), asgi=None, services=[])
    server = launch._Server(site, [], Garbage([]))
    assert asyncio.run(server.on_tick(1)) is False
    assert len(looked) == 1
