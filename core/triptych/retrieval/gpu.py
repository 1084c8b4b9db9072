"""Search on GPUs: a float16 copy of the rows there, exact or in lists, which answers as the CPU does.

FAISS' own question for devices is asked here and nowhere else.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Protocol

import faiss
import numpy as np

from triptych.retrieval.engines.base import Floats, Plan, Rows

_FROM_ROWS = 10_000  # below, the way to the GPU costs more than it saves
_LIMIT = 2048  # FAISS' largest k there
_SCRATCH_BYTES = 256 << 20
_BLOCK = 100_000
ENVIRONMENT = "TRIPTYCH_INDEX_DEVICE"  # "cpu" keeps indexes off the GPUs

log = logging.getLogger(__name__)


def worthwhile(rows: int) -> bool:
    """Whether there are so many rows that a GPU would be faster."""
    return rows >= _FROM_ROWS


def gpu_count() -> int:
    """How many GPUs FAISS sees and may use."""
    if os.environ.get(ENVIRONMENT, "auto") == "cpu":
        return 0
    return int(getattr(faiss, "get_num_gpus", lambda: 0)())


class Held(Protocol):
    """What is copied: the rows of an engine, or any other vectors by row."""

    @property
    def rows(self) -> int:
        """How many there are."""

    def vectors(self, rows: Rows) -> Floats:
        """The vectors of some rows, float32 [rows, dim]."""


class GpuCopy:
    """The rows of an engine on all GPUs, in float16, divided among them; searched exactly.

    Scores differ from the CPU's by what float16 rounds: below 2e-3 for vectors of unit length.
    """

    def __init__(self, index: Any, resources: list[Any]) -> None:
        self._index = index
        self._resources = resources  # must outlive the index

    @classmethod
    def of(cls, engine: Held, plan: Plan) -> GpuCopy | None:
        """A copy, or None (with one message in the log) where there is no GPU or no room."""
        count = gpu_count()
        if not count:
            return None
        try:
            resources = [faiss.StandardGpuResources() for _ in range(count)]
            parts = []
            for device, resource in enumerate(resources):
                resource.setTempMemory(_SCRATCH_BYTES)
                options = faiss.GpuClonerOptions()
                options.useFloat16 = True
                empty = faiss.IndexFlat(plan.dim, plan.metric)
                parts.append(faiss.index_cpu_to_gpu(resource, device, empty, options))
            copy = cls(parts[0] if count == 1 else _divided(parts, plan), resources)
            copy.extend(engine, 0)
        except RuntimeError as error:
            log.warning("the index of %d vectors stays on the CPU: %s", engine.rows, error)
            return None
        return copy

    @property
    def rows(self) -> int:
        """How many rows the copy has."""
        return int(self._index.ntotal)

    def extend(self, engine: Held, start: int) -> None:
        """Append the engine's rows from `start` on. Raises `RuntimeError` where memory does not suffice."""
        for first in range(start, engine.rows, _BLOCK):
            self._index.add(engine.vectors(np.arange(first, min(first + _BLOCK, engine.rows))))

    def search(self, queries: Floats, k: int, mask: Any = None, share: float = 1.0) -> tuple[Floats, Rows] | None:
        """The `k` nearest rows that bool [rows] `mask` lets through; None where that is for the CPU to say.

        With a mask more are fetched than asked for; should too few of them pass, the CPU searches, for there every
        row can be looked at.
        """
        fetched = k if mask is None else min(self.rows, int(2 * k / max(share, 1e-9)) + 32)
        if fetched > _LIMIT:
            return None
        scores, rows = self._index.search(queries, fetched)
        if mask is None:
            return scores, rows
        passing = (rows >= 0) & mask[rows]
        if (passing.sum(axis=1) < k).any():
            return None
        order = np.argsort(~passing, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _divided(parts: list[Any], plan: Plan) -> Any:
    """Several indexes as one, which may be added to again and again.

    FAISS' own division among GPUs (`GpuMultipleClonerOptions.shard`) takes rows once only.
    """
    index = faiss.IndexShards(plan.dim, True, False)
    for part in parts:
        index.add_shard(faiss.IndexIDMap(part))
    return index
