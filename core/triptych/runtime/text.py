"""Texts to vectors through an ONNX graph: tokenized, packed without padding, a few hundred tokens at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from tokenizers import Tokenizer

from triptych.encoders.hashing import as_text
from triptych.errors import BundleError
from triptych.runtime.base import Array
from triptych.runtime.graphs import open_graph
from triptych.runtime.lexical import Lexical

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

GRAPH, TOKENIZER = "graph.onnx", "tokenizer.json"
TOKENS = 1_024
"""Tokens in one call of the graph: enough for large products, few enough for the cache."""
WIDTH = 32
"""Tokens in a row, unless a text is longer: attention costs their square."""
ONE_ROW = 96
"""As many tokens in all go into one row: with few texts, rows that are not full cost more than attention does."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Texts behind one another: the graph's inputs, and which text of the caller each one is."""

    feed: dict[str, Array]
    rows: list[int]


class PackedText:
    """The runner of a packed graph (see `triptych.compression.packed` for its inputs)."""

    def __init__(self, graph: InferenceSession, tokenizer: Tokenizer, dim: int, lexical: Lexical | None) -> None:
        self.graph, self.tokenizer, self.dim, self.lexical = graph, tokenizer, dim, lexical

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any], *, threads: int = 0) -> Self:
        """From `graph.onnx`, `tokenizer.json` and settings with `max_length` (tokens), `dim` and `lexical`.

        `lexical` says whether n-grams stand beside the graph's vectors; `dim` is of both.
        """
        tokenizer = open_tokenizer(directory / TOKENIZER, int(settings["max_length"]))
        lexical = Lexical.load(directory) if settings["lexical"] else None
        return cls(open_graph(directory / GRAPH, threads=threads), tokenizer, int(settings["dim"]), lexical)

    def encode(self, values: Sequence[Any]) -> Array:
        """Float32 [texts, dim]."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast([as_text(value) for value in values])]
        grams = None if self.lexical is None else self.lexical.encode(values)
        dense = self.dim if grams is None else self.dim - grams.shape[1]
        vectors = np.empty((len(ids), dense), dtype=np.float32)
        for packed in pack(ids):
            vectors[packed.rows] = self.graph.run(["vectors"], packed.feed)[0]
        return vectors if grams is None else np.concatenate([vectors, grams], axis=1)


def pack(ids: Sequence[Sequence[int]], *, width: int = WIDTH, tokens: int = TOKENS) -> list[Packed]:
    """Token ids of texts to packed batches of about `tokens` tokens.

    The longest texts come first, each into the first row with room for it, so that rows are full and texts of one
    call are of like length. Rows have `width` tokens, or as many as the longest text; where `ONE_ROW` holds all, there
    is one.
    """
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    batches: list[Packed] = []
    start = 0
    while start < len(order):
        wide = max(width, len(ids[order[start]]))
        stop, total = start, 0
        while stop < len(order) and (stop == start or total + len(ids[order[stop]]) <= max(tokens, wide)):
            total += len(ids[order[stop]])
            stop += 1
        batches.append(_pack(ids, order[start:stop], total if total <= ONE_ROW else wide))
        start = stop
    return batches


def _pack(ids: Sequence[Sequence[int]], chosen: list[int], width: int) -> Packed:
    """One batch; rows are cut to the fullest of them."""
    room: list[int] = []
    places = []
    for i in chosen:
        length = len(ids[i])
        row = next((r for r, free in enumerate(room) if free >= length), len(room))
        if row == len(room):
            room.append(width)
        places.append((row, width - room[row], length))
        room[row] -= length
    used = width - min(room)
    feed: dict[str, Array] = {
        name: np.zeros((len(room), used), dtype=np.int64) for name in ("input_ids", "positions", "segments")
    }
    for number, (i, (row, begin, length)) in enumerate(zip(chosen, places, strict=True), start=1):
        end = begin + length
        feed["input_ids"][row, begin:end] = ids[i]
        feed["positions"][row, begin:end] = np.arange(length)
        feed["segments"][row, begin:end] = number
    feed["texts"] = np.arange(1, len(chosen) + 1, dtype=np.int64)
    return Packed(feed, chosen)


def open_tokenizer(path: Path, max_length: int) -> Tokenizer:
    """A tokenizer that cuts at `max_length` tokens and does not pad. Raises `BundleError`."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise BundleError(f"{path} cannot be read as a tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer
