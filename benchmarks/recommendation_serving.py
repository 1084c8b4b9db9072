"""Serving recommendations from 100,000 items: what a list costs, how soon a new item is there, what vectors weigh.

All data is synthetic: items of 500 tastes with vectors of 384 dimensions around them, users of two tastes each, a
million events. The script writes the events as CSV and reads them as the suite does, fits item-kNN, writes a bundle's
files, and then measures what users wait for. The sequence model has weights drawn by chance: what it answers means
nothing here, but it takes the time that a trained one of its size takes (64 dimensions, 2 layers, 50 events). The
blend is of item-kNN, that model and the content model, all weighing as much.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from common import data_folder, save
from triptych_recommendation.catalogue.store import Store
from triptych_recommendation.codes import Codes, nearest_exactly
from triptych_recommendation.content.model import Content
from triptych_recommendation.content.settings import ContentSettings
from triptych_recommendation.data.events import Events, read_events
from triptych_recommendation.data.items import Item
from triptych_recommendation.models.base import UserModel, load_model
from triptych_recommendation.models.blend import Blend
from triptych_recommendation.models.blending import FEATURES, Mixture
from triptych_recommendation.models.neighbours import Neighbours
from triptych_recommendation.models.sequence import SequenceModel
from triptych_recommendation.models.sequence_inference import WIDTH, Reader
from triptych_recommendation.models.sequence_table import Table
from triptych_recommendation.models.settings import NeighbourSettings
from triptych_recommendation.serving.answers import Context
from triptych_recommendation.serving.files import Files, write_files
from triptych_recommendation.serving.recommender import Recommender
from triptych_recommendation.serving.settings import RuleSettings
from triptych_recommendation.serving.vectors import LiveVectors

Floats = NDArray[np.float32]
Row = dict[str, Any]
SEED = 0
DIM = 384
TASTES = 500
NEEDED_MS, NEEDED_S, NEEDED_SHARE, NEEDED_READ_S = 15.0, 2.0, 0.25, 60.0
MODELS = ("neighbours", "sequence", "blend")
PREPARED = "prepared.json"
START = 1_700_000_000  # seconds since 1970


def catalogue(count: int, rng: np.random.Generator) -> tuple[list[Item], Floats, NDArray[np.int64]]:
    """Items, their unit vectors float32 [items, DIM], and the taste of each."""
    centres = rng.normal(size=(TASTES, DIM)).astype(np.float32)
    taste = rng.integers(0, TASTES, count)
    vectors = 0.7 * centres[taste] + rng.normal(size=(count, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prices, stock = rng.gamma(2, 15, count).round(2), rng.integers(0, 30, count)
    items = [
        Item(
            f"item{n}",
            f"Taste{taste[n]} number {n}",
            f"An item of taste {taste[n]}.",
            category=f"taste{taste[n]}",
            price=float(prices[n]),
            stock=int(stock[n]),
            tags=(f"shade{n % 40}", f"size{n % 7}"),
        )
        for n in range(count)
    ]
    return items, vectors.astype(np.float32), taste


def write_events(path: Path, count: int, taste: NDArray[np.int64], rng: np.random.Generator) -> None:
    """A CSV of events: users choose by popularity among the items of their two tastes, one in ten anything."""
    users = max(1, count // 20)
    popularity = 1 / (1 + rng.permutation(len(taste))) ** 0.8
    by_taste = [np.flatnonzero(taste == one) for one in range(TASTES)]
    chances = [np.cumsum(popularity[rows]) for rows in by_taste]
    own = rng.integers(0, TASTES, (users, 2))
    who = rng.integers(0, users, count)
    chosen = own[who, rng.integers(0, 2, count)]
    draws = rng.random(count)
    drawn = zip(chosen, draws, strict=True)
    what = np.array([by_taste[one][np.searchsorted(chances[one], draw * chances[one][-1])] for one, draw in drawn])
    anything = rng.random(count) < 0.1
    what[anything] = rng.integers(0, len(taste), int(anything.sum()))
    kinds = np.array(["view", "click", "purchase"])[rng.choice(3, count, p=[0.7, 0.2, 0.1])]
    times = START + np.sort(rng.integers(0, 90 * 86_400, count))
    with path.open("w", encoding="utf-8") as file:
        file.write("user,item,type,time\n")
        for row in zip(who.tolist(), what.tolist(), kinds.tolist(), times.tolist(), strict=True):
            file.write("u{},item{},{},{}\n".format(*row))


def sequence_model(items: int, rng: np.random.Generator, dim: int = 64, layers: int = 2, length: int = 50) -> UserModel:
    """A transformer of that size with weights drawn by chance and an int8 table."""

    def drawn(*shape: int) -> Floats:
        return rng.normal(0, 0.05, shape).astype(np.float32)

    weights = {"place": drawn(length, dim), "norm.weight": np.ones(dim, np.float32), "norm.bias": drawn(dim)}
    for layer in range(layers):
        for name in ("norm_attention", "norm_dense"):
            weights |= {f"layers.{layer}.{name}.weight": np.ones(dim, np.float32)}
            weights |= {f"layers.{layer}.{name}.bias": drawn(dim)}
        shapes = {"read": (3 * dim, dim), "write": (dim, dim), "inner": (WIDTH * dim, dim), "outer": (dim, WIDTH * dim)}
        for name, shape in shapes.items():
            weights |= {f"layers.{layer}.{name}.weight": drawn(*shape), f"layers.{layer}.{name}.bias": drawn(shape[0])}
    return SequenceModel(Reader(Table.quantized(drawn(items + 1, dim)), weights, heads=2), 0.0)


def blend_of(parts: Sequence[UserModel]) -> Blend:
    """A blend in which each part weighs as much as the others."""
    return Blend(parts, Mixture(100, (), np.ones((1, len(parts) * FEATURES), dtype=np.float32)))


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The middle and the 95th of a hundred, in milliseconds."""
    middle, high = np.percentile(np.array(seconds) * 1e3, [50, 95])
    return float(middle), float(high)


def lists(recommender: Recommender, name: str, what: str, users: Sequence[str], requests: int, **options: Any) -> Row:
    """What a list of ten costs: wall clock, and processor time of the thread that asks."""
    walls, processor, cited, made = [], [], 0, 0
    for number in range(requests + 50):
        wall, own = time.perf_counter(), time.thread_time()
        found = recommender.recommend(users[number % len(users)], 10, **options)
        if number >= 50:  # the first ones warm up
            walls.append(time.perf_counter() - wall)
            processor.append(time.thread_time() - own)
            cited += sum(bool(one.explanation and one.explanation.cited) for one in found.items)
            made += len(found.items)
    recommender.flush()
    (middle, high), (own_middle, own_high) = percentiles(walls), percentiles(processor)
    return {
        "model": name,
        "request": what,
        "p50 ms": middle,
        "p95 ms": high,
        "p50 CPU ms": own_middle,
        "p95 CPU ms": own_high,
        "explained by events": f"{cited / max(made, 1):.0%}",
    }


def adding(
    recommender: Recommender,
    encode: Callable[[Item], Floats] | None,
    items: list[Item],
    vectors: Floats,
    count: int,
    prefix: str,
) -> tuple[list[float], list[float]]:
    """Seconds from an item's content until a list for its like, made in the same process, has it; and of CPU time."""
    seconds, processor = [], []
    for number in range(count):
        near = items[number * 7 % len(items)]
        new = Item(f"{prefix}-{number}", near.title, near.description, category=near.category, price=9.0, stock=3)
        started, own = time.perf_counter(), time.process_time()
        made = vectors[number * 7 % len(items)] if encode is None else encode(new)
        recommender.add_items([new], vectors=made[None])
        found = recommender.recommend(None, 10, context=Context(query=made), record=False)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - own)
        assert new.id in found.ids, found
    return seconds, processor


def item_encoder(picture: Path) -> Callable[[Item], Floats]:
    """Text by MiniLM-L6, a picture of 224 by 224 by MobileNetV2, both as the suite reads them.

    The vector is the text's: the others here are drawn, and what is measured is the time.
    """
    from triptych.encoders.sentence import SentenceEncoder
    from triptych.encoders.timm import TimmEncoder

    weights = data_folder() / "weights" / "mobilenetv2_100_in1k_fp16.safetensors"
    text = SentenceEncoder.create("all-MiniLM-L6-v2")
    image = TimmEncoder.create(
        "mobilenetv2_100", weights=str(weights), image_size=224, mean=(0.5,) * 3, std=(0.5,) * 3, pad_type="same"
    )

    def encode(item: Item) -> Floats:
        image.encode([picture])
        return text.encode([item.text]).numpy().astype(np.float32)[0]

    return encode


def memory(vectors: Floats, codes: Codes, queries: int, rng: np.random.Generator) -> list[Row]:
    """Bytes of the vectors, and how many of the ten nearest are found."""
    halves = vectors.astype(np.float16)
    rows = np.arange(len(vectors))
    chosen = rng.permutation(rows)[:queries]
    asked = vectors[chosen] + rng.normal(0, 0.02, (queries, DIM)).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    exact = nearest_exactly(vectors, rows, asked, 10)
    live = LiveVectors(halves, codes)
    allowed = np.ones(len(vectors), dtype=np.bool_)
    seconds, hits, in_halves = [], [], nearest_exactly(halves, rows, asked, 10)
    for query, true in zip(asked, exact, strict=True):
        started = time.perf_counter()
        found, _ = live.nearest(query, 10, allowed)
        seconds.append(time.perf_counter() - started)
        hits.append(np.isin(true, found).mean())
    whole = vectors.nbytes
    held = live.nbytes
    same = float(np.mean([np.isin(a, b).mean() for a, b in zip(exact, in_halves, strict=True)]))
    middle, high = percentiles(seconds)
    return [
        {"form": "float32, compared one by one", "MB in memory": whole / 1e6, "share": 1.0, "recall@10": 1.0},
        {"form": "float16, compared one by one", "MB in memory": halves.nbytes / 1e6, "share": 0.5, "recall@10": same},
        {
            "form": f"served: RaBitQ codes ({codes.probes} lists of {round(len(vectors) ** 0.5)}), candidates scored "
            "exactly from the mapped file",
            "MB in memory": held["memory"] / 1e6,
            "share": held["memory"] / whole,
            "MB mapped": held["mapped"] / 1e6,
            "recall@10": float(np.mean(hits)),
            "p50 ms": middle,
            "p95 ms": high,
        },
    ]


RESIDENT = """
import json, sys
from pathlib import Path
import numpy as np
from triptych_recommendation.serving.files import Files
from triptych_recommendation.serving.vectors import LiveVectors

def resident(name):
    found, inside = {"Rss": 0}, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            inside = line.endswith(name)
        elif inside and line.startswith("Rss:"):
            found["Rss"] += int(line.split()[1])
    return found["Rss"] * 1024

files = Files.open(Path(sys.argv[1]))
live = LiveVectors(files.vectors, files.codes, files.there)
before = resident("vectors.safetensors")
rng = np.random.default_rng(0)
allowed = np.ones(len(live), dtype=np.bool_)
for query in files.vectors[rng.integers(0, len(live), 1000)].astype(np.float32):
    live.nearest(query, 100, allowed)
print(json.dumps([before, resident("vectors.safetensors")]))
"""


def resident(files: Path) -> tuple[float, float]:
    """MB of the mapped vectors that are in memory, after opening them and after 1,000 searches."""
    done = subprocess.run([sys.executable, "-c", RESIDENT, str(files)], stdout=subprocess.PIPE, text=True, check=True)
    before, after = json.loads(done.stdout)
    return before / 1e6, after / 1e6


def timed_reading(path: Path) -> tuple[Events, Row]:
    """The events, and what reading them took."""
    wall, own = time.perf_counter(), time.process_time()
    events = read_events(path)
    row = {
        "events": f"{len(events):,}",
        "CSV MB": path.stat().st_size / 1e6,
        "seconds": time.perf_counter() - wall,
        "CPU seconds": time.process_time() - own,
        "at most": NEEDED_READ_S,
    }
    return events, row


def main() -> None:
    """Prepare what is not there yet, measure, and save the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--added", type=int, default=100)
    parser.add_argument("--work", type=Path, help="a folder that keeps what was prepared, for another run")
    parser.add_argument("--no-save", action="store_true", help="print the tables and save nothing")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory() as name:
        folder = given.work or Path(name)
        if not (folder / PREPARED).exists():
            prepare(folder, given)
        reading, *notes = json.loads((folder / PREPARED).read_text())
        notes.append(f"Other processes ran meanwhile: load average {os.getloadavg()[0]:.1f} when the lists began.")
        tables = {"Reading events": [reading], **measured(folder, given, notes)}
    if given.no_save:
        print(json.dumps([tables, notes], indent=1))
    else:
        save("recommendation_serving", "Serving recommendations", tables, seed=SEED, notes=notes)


def prepare(folder: Path, given: argparse.Namespace) -> None:
    """Draw the shop, read its events, fit the models and write a bundle's files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    items, vectors, taste = catalogue(given.items, rng)
    write_events(folder / "events.csv", given.events, taste, rng)
    events, reading = timed_reading(folder / "events.csv")
    past = events.interactions().with_items([item.id for item in items])
    row_of = {item.id: row for row, item in enumerate(items)}
    order = np.array([row_of[name] for name in past.items])
    items, vectors = [items[row] for row in order], vectors[order]
    started = time.process_time()
    neighbours = Neighbours.fit(past, NeighbourSettings(int8=True), seed=SEED)
    fitting = time.process_time() - started
    sequence = sequence_model(len(items), rng)
    content = Content.fit(past, ContentSettings(), seed=SEED, vectors=vectors)
    blend = blend_of([neighbours, sequence, content])
    for name, model in zip(MODELS, (neighbours, sequence, blend), strict=True):
        model.save(folder / "models" / name)
    started = time.process_time()
    write_files(
        folder / "files", items=items, past=past, model=neighbours, vectors=vectors, encoder="drawn",
        built=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    writing = time.process_time() - started
    save_file({"vectors": vectors}, folder / "vectors.safetensors")
    notes = [
        f"All data is synthetic: {given.items:,} items of {TASTES} tastes, {given.events:,} events.",
        f"Item-kNN (100 neighbours, int8) was fitted in {fitting:.0f} s of CPU time; the files were written in "
        f"{writing:.0f} s, k-means and codes of the index included.",
    ]
    (folder / PREPARED).write_text(json.dumps([reading, *notes]))


def measured(folder: Path, given: argparse.Namespace, notes: list[str]) -> dict[str, list[Row]]:
    """Everything that is asked of a bundle's files."""
    rng = np.random.default_rng(SEED + 1)
    vectors = load_file(folder / "vectors.safetensors")["vectors"]
    files = Files.open(folder / "files")
    assert files.codes is not None
    users = [files.past.users[row] for row in rng.permutation(len(files.past.users))[:2_000]]
    few = given.requests // 2
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for number, model in enumerate(MODELS):
            known = replace(files, model=load_model(folder / "models" / model))
            store = Store.open(Path(name) / f"{number}.sqlite3", writer=True)
            with Recommender(known, store, RuleSettings()) as recommender:
                found.append(lists(recommender, model, "all", users, given.requests))
                if number == 0:
                    where = {"category": {"in": [f"taste{n}" for n in range(25)]}}
                    found += [
                        lists(recommender, model, "a twentieth of the categories", users, few, where=where),
                        lists(recommender, model, "without explanations", users, few, explain=False),
                        lists(recommender, model, "users that nobody knows", [f"new{n}" for n in range(few)], few),
                    ]
                    picture = drawn_picture(Path(name), rng)
                    adding_table = added_rows(recommender, files.items, vectors, picture, given.added, notes)
    reached = max(row["p95 ms"] for row in found), max(row["p95 CPU ms"] for row in found)
    notes.append(
        f"Needed: a list within {NEEDED_MS:.0f} ms (p95), with rules, variety, explanations and the list on record; "
        f"here at most {reached[0]:.1f} ms by the clock, {reached[1]:.1f} ms of CPU time."
    )
    table = memory(vectors, files.codes, 500, rng)
    before, after = resident(folder / "files")
    notes.append(
        f"Needed: vectors at {NEEDED_SHARE:.0%} of the memory or less. Of the mapped file {before:.0f} MB were "
        f"resident after opening and {after:.0f} MB after 1,000 searches for 100 neighbours each; the system drops "
        "such pages when memory is short."
    )
    return {"Lists of ten": found, "One item added": adding_table, "Vectors of items": table}


def added_rows(
    recommender: Recommender, items: list[Item], vectors: Floats, picture: Path, count: int, notes: list[str]
) -> list[Row]:
    """What an item costs from `add_items` to the first answer with it, without and with reading its content."""
    found = []
    ways: dict[str, Callable[[Item], Floats] | None] = {"vector given": None}
    try:
        ways["text by MiniLM-L6, picture by MobileNetV2"] = item_encoder(picture)
    except Exception as error:  # weights are not at hand
        notes.append(f"Adding items with encoders was not measured: {str(error).splitlines()[0]}")
    for number, (name, encode) in enumerate(ways.items()):
        walls, processor = adding(recommender, encode, items, vectors, count, f"new{number}")
        (middle, high), (_, own) = percentiles(walls), percentiles(processor)
        row = {"encoding": name, "items": count, "p50 s": middle / 1e3, "p95 s": high / 1e3, "p95 CPU s": own / 1e3}
        found.append({**row, "at most": NEEDED_S})
    return found


def drawn_picture(folder: Path, rng: np.random.Generator) -> Path:
    """A JPEG of noise."""
    from PIL import Image

    path = folder / "picture.jpg"
    Image.fromarray(rng.integers(0, 255, (224, 224, 3), dtype=np.uint8)).save(path)
    return path


if __name__ == "__main__":
    main()
