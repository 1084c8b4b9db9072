"""The interaction sets of `recommendation.py`: read, split, and written for the peers."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.splits import Held, Split, leave_one_out

DAY = 86_400_000_000
SEED = 0


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A set: how it is read and split, in words too, and what others have published on its like."""

    name: str
    split: Callable[[Path], Split]
    protocol: str
    ordered: bool  # whether events have an order
    published: str
    longest: int = 50  # events that SASRec reads
    dropout: float = 0.5  # of SASRec: what its authors took for sparse sets; 0.2 for dense ones
    content: bool = False  # whether the items have texts and pictures


def _rows(file: Path) -> list[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def movielens(folder: Path) -> Split:
    """Leave-one-out by time; every rating is an event."""
    rows = _rows(folder / "movielens_mm" / "ratings.csv.gz")
    times = [1_000_000 * int(row["timestamp"]) for row in rows]
    return leave_one_out(Interactions.of([r["user_id"] for r in rows], [r["movie_id"] for r in rows], times))


def video_games(folder: Path) -> Split:
    """Leave-one-out by the order of the file."""
    rows = _rows(folder / "amazon_video_games" / "interactions.csv.gz")
    return leave_one_out(Interactions.of([r["user_id"] for r in rows], [r["item_id"] for r in rows]))


def lastfm(folder: Path) -> Split:
    """The given test; a tenth of each user's training events, drawn at random, is the validation."""
    given = {part: _rows(folder / "lastfm" / f"{part}.csv.gz") for part in ("train", "test")}
    rows = [*given["train"], *given["test"]]
    weights = [max(1.0, float(row["weight"])) for row in rows]
    whole = Interactions.of([r["user_id"] for r in rows], [r["item_id"] for r in rows], None, weights)
    last = np.array([*(False for _ in given["train"]), *(True for _ in given["test"])])[whole.time]
    drawn = np.random.default_rng(SEED).random(len(whole)) < 0.1
    firsts = np.zeros(len(whole), dtype=bool)
    kept = np.flatnonzero(~last)
    firsts[kept[np.unique(whole.user[kept], return_index=True)[1]]] = True  # somebody keeps one event at least
    held = drawn & ~last & ~firsts
    return Split(
        "leave-one-out", whole.where(~last & ~held), _held(whole, held), _held(whole, last), whole.where(~last)
    )


def _held(events: Interactions, marked: np.ndarray) -> Held:
    users = np.unique(events.user[marked])
    targets = [events.item[marked & (events.user == user)] for user in users]
    return Held(users, targets, np.full(len(users), np.iinfo(np.int64).max))


def write_events(split: Split, validation: Held, benchmark: Benchmark, file: Path) -> None:
    """What a peer needs, as arrays; it is tuned on the same validation users as ours."""
    arrays: dict[str, np.ndarray] = {
        "users": np.array(len(split.train.users)),
        "items": np.array(len(split.train.items)),
        "longest": np.array(benchmark.longest),
        "dropout": np.array(benchmark.dropout),
    }
    for name, part in (("train", split.train), ("before", split.before_test)):
        arrays |= {f"{name}_user": part.user, f"{name}_item": part.item}
    for name, held in (("dev", validation), ("test", split.test)):
        counts = [len(target) for target in held.targets]
        arrays |= {f"{name}_user": np.repeat(held.users, counts), f"{name}_item": np.concatenate(held.targets)}
    np.savez(file, **arrays)  # type: ignore[arg-type]


def content_vectors(data: Path, split: Split, work: Path) -> NDArray[np.float32]:
    """Float32 [items, d] of movielens_mm: title, genres and plot by MiniLM beside the poster by MobileNetV2.

    Both as they were pretrained, each of length 1, and together. Kept in the work folder.
    """
    file = work / "vectors.npy"
    if not file.exists():
        from triptych.encoders.sentence import SentenceEncoder
        from triptych.encoders.timm import TimmEncoder

        folder = data / "rec" / "movielens_mm"
        with (folder / "items.csv").open(encoding="utf-8", newline="") as stream:
            rows = {row["movie_id"]: row for row in csv.DictReader(stream)}
        known = [rows[item] for item in split.train.items]
        weights = str(data / "weights" / "mobilenetv2_100_in1k_fp16.safetensors")
        half = (0.5, 0.5, 0.5)
        text = SentenceEncoder.create("all-MiniLM-L6-v2")
        image = TimmEncoder.create(
            "mobilenetv2_100", weights=weights, image_size=192, mean=half, std=half, pad_type="same"
        )
        words = [f"{row['title']}. {row['genres'].replace('|', ', ')}. {row['overview']}" for row in known]
        read = np.concatenate([text.encode(words[at : at + 64]).numpy() for at in range(0, len(words), 64)])
        seen = np.zeros((len(known), image.dim), dtype=np.float32)
        with_poster = [place for place, row in enumerate(known) if row["poster"]]
        for at in range(0, len(with_poster), 64):
            own = with_poster[at : at + 64]
            seen[own] = image.encode([folder / known[place]["poster"] for place in own]).numpy()
        seen[with_poster] -= seen[with_poster].mean(axis=0)
        np.save(file, _unit(np.concatenate([_unit(read), _unit(seen)], axis=1)))
    found: NDArray[np.float32] = np.load(file)
    return found


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return found


def chosen(names: Iterable[str]) -> list[Benchmark]:
    """The sets of these names, all where there are none."""
    wanted = list(names)
    return [one for one in SETS if not wanted or one.name in wanted]


SETS = (
    Benchmark(
        "movielens_mm", movielens,
        "leave-one-out by time: each user's last item is the test, the one before the validation; every rating counts",
        True, "none with this catalogue", 50, 0.2, True,
    ),
    Benchmark(
        "amazon_video_games", video_games,
        "leave-one-out by order: each user's last item is the test, the one before the validation",
        True,
        "SASRec HR@10 0.7410, NDCG@10 0.5360; PopRec 0.4724 / 0.2779 (Kang and McAuley 2018, Games: against 100 "
        "sampled negatives, not all items, so not comparable; recalled)",
    ),
    Benchmark(
        "lastfm", lastfm,
        "the given test, about 5.7 items a user; a tenth of the training events is the validation; no times, so no "
        "order and no sequence models; the weight of an event is how often the artist was played",
        False, "none recorded",
    ),
)  # fmt: skip
