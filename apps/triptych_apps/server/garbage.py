"""What stays is left out of the collection of garbage, which stops every thread while it looks at all that there is.

With a hundred thousand objects of modules, routes and models that takes tens of milliseconds, again and again.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

from triptych_apps.server.service import Service


class Garbage:
    """For a process that serves; `look` is called now and then."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._kept: list[tuple[Any, ...]] = []

    def look(self) -> None:
        """After the bundles were opened, and after each change of what is in memory, keep what is there now."""
        if any(service.release is None for service in self._services):
            return
        now = [service.in_memory for service in self._services]
        if now != self._kept:
            self._kept = now
            gc.unfreeze()  # what is gone by now is garbage as any other
            gc.collect()
            gc.freeze()
