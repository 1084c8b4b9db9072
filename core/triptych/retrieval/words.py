"""Search by words: BM25 as SQLite's FTS5 computes it (k1 = 1.2, b = 0.75)."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from typing import Any

import numpy as np

from triptych.retrieval.engines.base import Floats
from triptych.retrieval.state import State
from triptych.retrieval.table import Positions

_WORD = re.compile(r"\w+")
_MOST_WORDS = 100  # of one text; FTS5 limits the size of a question
_FETCHED = 1_000
_GRAM = 3


def question_of(text: str, tokenizer: str) -> str:
    """An FTS5 expression that asks for any of a text's words; "" where it has none."""
    words = dict.fromkeys(_WORD.findall(text.lower()))
    if tokenizer == "trigram":
        words = dict.fromkeys(
            word[start : start + _GRAM] for word in words for start in range(max(0, len(word) - _GRAM + 1))
        )
    return " OR ".join(f'"{word}"' for word in list(words)[:_MOST_WORDS])


def search_words(
    connection: sqlite3.Connection, state: State, text: str, k: int, where: Mapping[str, Any] | None, tokenizer: str
) -> tuple[Floats, Positions]:
    """Scores and positions, both [at most k], best first; what `where` does not let through is passed over."""
    question = question_of(text.encode("utf-8", errors="replace").decode("utf-8"), tokenizer)
    scores: list[float] = []
    positions: list[int] = []
    if question:
        cursor = connection.execute(
            "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ? ORDER BY bm25(words), rowid", (question,)
        )
        while len(positions) < k and (some := cursor.fetchmany(_FETCHED if where else max(k, 16))):
            score_of = dict(some)
            passing = state.passing(list(score_of), where)
            positions += passing
            scores += [score_of[key] for key in state.table.keys.view[passing].tolist()]
        cursor.close()
    return np.array(scores[:k], dtype=np.float32), np.array(positions[:k], dtype=np.int64)
