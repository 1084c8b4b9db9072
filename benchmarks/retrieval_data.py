"""Vectors for the retrieval benchmarks: real texts through MiniLM, and a million made from them.

`python benchmarks/retrieval_data.py` fills the cache that `retrieval.py` and its companions read.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from common import data_folder

DIM = 384
QUERIES = 2_000
REAL_TEXTS = 48_000
_NEAR = 12  # how many neighbours of a real vector count as near
_BLOCK = 50_000

Array = np.ndarray[Any, Any]


def cache_folder() -> Path:
    """Where computed vectors are kept (`TRIPTYCH_BENCHMARK_CACHE`, by default below the user's cache)."""
    default = Path.home() / ".cache" / "triptych-benchmarks"
    folder = Path(os.environ.get("TRIPTYCH_BENCHMARK_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def real_texts() -> list[str]:
    """Different texts of the benchmark data: bank and home requests, finance news, dialogue turns, tweets."""
    root = data_folder("text/banking77", "text/hwu64", "finance/phrasebank", "finance/gold_news", "finance/stocknet")
    tables = [
        "text/banking77/train.csv", "text/banking77/test.csv", "text/hwu64/train.csv", "text/hwu64/test.csv",
        "finance/phrasebank/phrasebank.csv", "finance/gold_news/gold_news.csv", "text/multidogo/fastfood.csv.gz",
        "text/multidogo/insurance.csv.gz", "text/multidogo/software.csv.gz", "finance/stocknet/tweets.csv.gz",
    ]  # fmt: skip
    texts: dict[str, None] = {}
    for table in tables:
        raw = (root / table).read_bytes()
        content = gzip.decompress(raw) if table.endswith(".gz") else raw
        for row in csv.DictReader(io.StringIO(content.decode("utf-8"))):
            texts[row["text"].strip()] = None
    found = [text for text in texts if text]
    order = np.random.default_rng(0).permutation(len(found))[:REAL_TEXTS]
    return [found[i] for i in order]


def real_vectors() -> Array:
    """Float32 [texts, 384], unit length, cached: each of `real_texts` through all-MiniLM-L6-v2."""
    path = cache_folder() / f"minilm-{REAL_TEXTS}.npy"
    if not path.exists():
        from triptych.host import Host

        encoder_class, model = Host(installed=False).load_family("encoder", "sentence:all-MiniLM-L6-v2")
        vectors = encoder_class.create(model).encode(real_texts(), batch_size=64).numpy().astype(np.float32)
        np.save(path.with_suffix(".new.npy"), vectors)
        path.with_suffix(".new.npy").rename(path)
    loaded: Array = np.load(path)
    return loaded


def million(count: int = 1_000_000) -> tuple[Array, Array]:
    """Vectors float32 [count, 384] and held-out real queries [2000, 384], all of unit length.

    Each vector is a real one moved by the difference of two other real texts that are near each other, so that
    density and covariance are those of real text; the queries are real texts that took no part.
    """
    real = real_vectors()
    queries, base = real[:QUERIES], real[QUERIES:]
    path = cache_folder() / f"million-{count}.npy"
    if not path.exists():
        np.save(path.with_suffix(".new.npy"), _grown(base, count))
        path.with_suffix(".new.npy").rename(path)
    vectors: Array = np.load(path)
    return vectors, queries


def _grown(base: Array, count: int) -> Array:
    generator = np.random.default_rng(1)
    near = np.concatenate([_nearest(base, base[i : i + 2_000]) for i in range(0, len(base), 2_000)])
    grown = np.empty((count, DIM), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - start)
        origin = base[generator.integers(0, len(base), rows)]
        one = generator.integers(0, len(base), rows)
        other = near[one, generator.integers(0, _NEAR, rows)]
        moved = origin + 0.7 * (base[one] - base[other])
        grown[start : start + rows] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return grown


def _nearest(base: Array, queries: Array) -> Array:
    scores = queries @ base.T
    return np.argpartition(-scores, _NEAR + 1, axis=1)[:, 1 : _NEAR + 1]


if __name__ == "__main__":
    vectors, queries = million()
    print(f"{len(vectors):,} vectors and {len(queries):,} queries in {cache_folder()}")
