"""Who guesses best what people choose next: Triptych's user models and its peers, ranking all items, in one run.

    python benchmarks/recommendation.py [--sets lastfm ...] [--work DIR] [--peer-python PYTHON] [--peer-minutes 12]

Sets, splits and protocol: `recommendation_data.py`. Every kind of model is tuned on the validation alone, as
`models/choose.py` does it for a bundle, then fitted to all that is before the test and evaluated there once.

Peers run in a process of their own (`recommendation_peers.py`) under `--peer-python`, an environment with `implicit`
and `recbole` in it; a peer that is not installed there is skipped with a message. SASRec may take `--peer-minutes` of
CPU for each set; whether that stopped it is in its row.

What is finished is kept in `--work` and not done again: a run that was stopped goes on. The tables are saved after
every set, of all sets that are finished there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other cost CPU

import click
import numpy as np
from numpy.typing import NDArray

from common import data_folder, metered, save
from recommendation_data import SEED, SETS, Benchmark, chosen, content_vectors, write_events
from triptych_recommendation.data.interactions import History
from triptych_recommendation.data.splits import Split
from triptych_recommendation.hindsight.evaluation import Evaluation, evaluate
from triptych_recommendation.hindsight.metrics import NAMES, difference
from triptych_recommendation.models.base import UserModel, load_model, model_class
from triptych_recommendation.models.blend import Blend
from triptych_recommendation.models.blending import Mixture
from triptych_recommendation.models.choose import BLEND, GUARD, Tuned, blend, decide, refit, sampled, tune
from triptych_recommendation.models.grids import GRIDS, Axes
from triptych_recommendation.models.sequence import SequenceModel
from triptych_recommendation.models.settings import KINDS, EaseSettings, ModelSettings

COSINE = "neighbours, no order"
COSINE_AXES: Axes = [
    [{"shrinkage": value} for value in (0.0, 30.0, 100.0)],
    [{"penalty": value} for value in (0.35, 0.65)],
    [{"neighbours": value} for value in (30, 300)],
    [{"active": value} for value in (0.3, 0.6)],
]
ORDER = {"window", "recency", "back", "last", "half_life", "half_life_days"}
PEERS = {"als": "implicit", "sasrec": "recbole"}
LABELS = {"als": "implicit ALS", "sasrec": "RecBole SASRec"}
METRICS = ("ndcg@10", "ndcg@20", "recall@10", "recall@20")
SETTINGS = ModelSettings(validation_users=3_000, ease=EaseSettings(most_items=5_000))
SMALL: dict[str, dict[str, Any]] = {
    "neighbours": {"int8": True},
    "ease": {"int8": True},
    "factors": {"int8": True},
    "sequence": {},
}


class Bench:
    """One set: its split, what is finished of it, and where that is kept."""

    def __init__(self, benchmark: Benchmark, data: Path, work: Path) -> None:
        self.benchmark, self.data = benchmark, data
        self.folder = work / benchmark.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.split: Split = benchmark.split(data / "rec")
        self.held = sampled(self.split.validation, SETTINGS.validation_users, SEED)

    def kept(self, name: str) -> dict[str, Any] | None:
        """What was kept about a model that is finished."""
        file = self.folder / name / "row.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def keep(
        self, name: str, row: Mapping[str, Any], test: Evaluation, validation: Evaluation | None = None
    ) -> dict[str, Any]:
        """Keep a row, and the metrics of each user; the row last, for it says that all is there."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        parts = {"test": test} | ({"validation": validation} if validation else {})
        for part, evaluation in parts.items():
            np.savez(folder / f"{part}.npz", lists=evaluation.lists, **evaluation.users)  # type: ignore[arg-type]
        (folder / "row.json").write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
        print(self.benchmark.name, name, {key: value for key, value in row.items() if key != "settings"}, flush=True)
        return dict(row)

    def evaluation(self, name: str, part: str) -> Evaluation:
        """What was kept of a part."""
        with np.load(self.folder / name / f"{part}.npz") as file:
            return Evaluation({metric: file[metric] for metric in NAMES}, file["lists"])


class Lists:
    """A peer's lists as scores: 20 for the best, 1 for the last, 0 for what is not in the list."""

    def __init__(self, lists: NDArray[np.int32], items: int) -> None:
        self.lists, self.items, self.next = lists, items, 0

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Those of the next users, in the order in which they are evaluated."""
        own = self.lists[self.next : self.next + len(histories)]
        self.next += len(histories)
        found = np.zeros((len(own), self.items), dtype=np.float32)
        np.put_along_axis(found, own, np.arange(own.shape[1], 0, -1, dtype=np.float32)[None, :], axis=1)
        return found


def main_kinds(bench: Bench) -> list[str]:
    """The kinds that the set allows: an order for sequences, content for content."""
    leave = {"sequence"} if not bench.benchmark.ordered else set()
    return [kind for kind in KINDS if kind not in leave and (kind != "content" or bench.benchmark.content)]


def axes_of(bench: Bench, kind: str) -> Axes | None:
    """What is tuned of a kind: all that a bundle tunes, without what knows an order where there is none."""
    if kind == COSINE:
        return COSINE_AXES
    if bench.benchmark.ordered:
        return None
    return [axis for axis in GRIDS.get(kind, []) if not ORDER & set(axis[-1])]


def ours(bench: Bench, kind: str, vectors: NDArray[np.float32] | None) -> None:
    """Tune a kind, fit it to all that is before the test, evaluate it."""
    name = kind if kind != COSINE else GUARD
    if bench.kept(kind):
        return
    with metered() as meter:
        tuned = tune(
            name, bench.split.train, bench.held, SETTINGS, vectors=vectors, seed=SEED,
            axes=axes_of(bench, kind),
        )  # fmt: skip
        model = refit(tuned, bench.split.before_test, vectors=vectors, seed=SEED)
    tuned.model.save(bench.folder / kind / "train")
    model.save(bench.folder / kind / "model")
    settings = tuned.settings.model_dump()
    row = {"settings": settings, "tried": tuned.tried, "CPU minutes": meter.cpu_seconds / 60}
    bench.keep(kind, row, evaluate(model, bench.split.before_test, bench.split.test), tuned.validation)


def mixed(bench: Bench, kinds: Sequence[str]) -> None:
    """Learn the blend from the models of the training part, and mix those of all before the test."""
    if bench.kept(BLEND):
        return
    parts = [
        Tuned(kind, SETTINGS, load_model(bench.folder / kind / "train"), bench.evaluation(kind, "validation"), 0)
        for kind in kinds
    ]
    with metered() as meter:
        mixture, validation, _ = blend(parts, bench.split.train, bench.held, SETTINGS.blend)
    model = Blend([load_model(bench.folder / kind / "model") for kind in kinds], mixture)
    row = {
        "settings": model.worth(), "tried": 1, "CPU minutes": meter.cpu_seconds / 60,
        "mixture": {"depth": mixture.depth, "bounds": mixture.bounds, "weights": mixture.weights.tolist()},
        "kinds": list(kinds),
    }  # fmt: skip
    bench.keep(BLEND, row, evaluate(model, bench.split.before_test, bench.split.test), validation)


def peer(bench: Bench, name: str, python: str | None, minutes: float) -> None:
    """Run a peer in its own process, unless its lists are there already."""
    if bench.kept(name):
        return
    lists = bench.folder / f"{name}.npz"
    if not lists.exists():
        if python is None or subprocess.run([python, "-c", f"import {PEERS[name]}"], capture_output=True).returncode:
            print(f"{bench.benchmark.name}: {name} is skipped: {PEERS[name]} is not installed (--peer-python)")
            return
        write_events(bench.split, bench.held, bench.benchmark, bench.folder / "events.npz")
        command = [python, str(Path(__file__).with_name("recommendation_peers.py")), name, "."]
        done = subprocess.run([*command, f"--cpu-minutes={minutes}"], cwd=bench.folder, check=False)
        if done.returncode:
            print(f"{bench.benchmark.name}: {name} is skipped: it ended with {done.returncode}")
            return
    found = json.loads((bench.folder / f"{name}.json").read_text(encoding="utf-8"))
    scorer = Lists(np.load(lists)["lists"], len(bench.split.train.items))
    row = {
        "settings": found["settings"], "tried": found["tried"], "CPU minutes": found["cpu_minutes"],
        "validation": found["validation"], "version": found["version"], "stopped by": found.get("stopped by"),
    }  # fmt: skip
    bench.keep(name, row, evaluate(scorer, bench.split.before_test, bench.split.test))


def reduce(bench: Bench, kind: str, model: UserModel, settings: Mapping[str, Any]) -> UserModel:
    """The same model with 8 bits; the linear ones are fitted again, which changes nothing else."""
    if isinstance(model, SequenceModel):
        return SequenceModel(model.reader.quantized(), model.centre)
    section = type(getattr(SETTINGS, kind)).model_validate({**settings, **SMALL[kind]})
    return model_class(kind).fit(bench.split.before_test, section, seed=SEED)


def small(bench: Bench, kinds: Sequence[str]) -> None:
    """The models with 8 bits and fewer weights, and the blend of them with the weights that it has."""
    blended = bench.kept(BLEND)
    assert blended is not None
    whole: list[UserModel] = []
    less: list[UserModel] = []
    for kind in kinds:
        model = load_model(bench.folder / kind / "model")
        whole.append(model)
        folder = bench.folder / f"{kind} small"
        if kind not in SMALL:
            less.append(model)
            continue
        if not bench.kept(folder.name):
            row = bench.kept(kind)
            assert row is not None
            reduced = reduce(bench, kind, model, row["settings"])
            reduced.save(folder / "model")
            sizes = {"before": megabytes(bench.folder / kind / "model"), "after": megabytes(folder / "model")}
            bench.keep(folder.name, {"MB": sizes}, evaluate(reduced, bench.split.before_test, bench.split.test))
        less.append(load_model(folder / "model"))
    name = f"{BLEND} small"
    if not bench.kept(name):
        given = blended["mixture"]
        mixture = Mixture(given["depth"], tuple(given["bounds"]), np.array(given["weights"], dtype=np.float32))
        sizes = {}
        for label, parts in (("before", whole), ("after", less)):
            Blend(parts, mixture).save(bench.folder / f"{BLEND} {label}")
            sizes[label] = megabytes(bench.folder / f"{BLEND} {label}")
        reduced = Blend(less, mixture)
        bench.keep(name, {"MB": sizes}, evaluate(reduced, bench.split.before_test, bench.split.test))


def megabytes(folder: Path) -> float:
    """What all files of a folder take."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def run(bench: Bench, python: str | None, minutes: float) -> None:
    """All that is not finished of a set, the quick first."""
    kinds = main_kinds(bench)
    vectors = content_vectors(bench.data, bench.split, bench.folder) if "content" in kinds else None
    for kind in (COSINE, *kinds):
        ours(bench, kind, vectors)
    mixed(bench, kinds)
    small(bench, kinds)
    for name in PEERS:
        if name != "sasrec" or bench.benchmark.ordered:
            peer(bench, name, python, minutes)


def models_table(bench: Bench) -> list[dict[str, Any]]:
    """A row for each model that is finished, with the interval of NDCG@10."""
    rows = []
    for name in (*KINDS[:1], COSINE, *KINDS[1:], BLEND, *PEERS):
        row = bench.kept(name)
        if row is None:
            continue
        metrics = bench.evaluation(name, "test").metrics
        valid = row.get("validation") or bench.evaluation(name, "validation").metrics["ndcg@10"]
        rows.append(
            {"model": LABELS.get(name, name), **{metric: metrics[metric] for metric in METRICS[:1]},
             "low": metrics["low"], "high": metrics["high"], **{metric: metrics[metric] for metric in METRICS[1:]},
             "validation ndcg@10": valid, "tried": row["tried"], "CPU minutes": row["CPU minutes"],
             "settings": told(name, row)}
        )  # fmt: skip
    return rows


def told(name: str, row: Mapping[str, Any]) -> str:
    """The settings of a row in short: those that are not the defaults."""
    settings = row["settings"]
    if name in (*KINDS, COSINE):
        default = type(getattr(SETTINGS, name if name != COSINE else GUARD))().model_dump()
        settings = {key: value for key, value in settings.items() if value != default[key]}
    if name == BLEND:
        rounded = {part: [[round(value, 3) for value in pair] for pair in pairs] for part, pairs in settings.items()}
        settings = {part: pairs if pairs != pairs[:1] * len(pairs) else pairs[:1] for part, pairs in rounded.items()}
    words = ", ".join(f"{key} {value}" for key, value in settings.items())
    return words + (f"; stopped by {row['stopped by']}" if row.get("stopped by") else "")


def verdict(bench: Bench) -> tuple[list[dict[str, Any]], list[str]]:
    """What the validation chose against every rival on the test; and in words who is best."""
    ran = [name for name in (*main_kinds(bench), BLEND) if bench.kept(name)]
    name, why = decide({one: bench.evaluation(one, "validation") for one in ran})
    own = bench.evaluation(name, "test")
    rows = []
    for rival in ("popularity", COSINE, *KINDS[1:], *PEERS):
        if rival != name and bench.kept(rival):
            other = bench.evaluation(rival, "test")
            gap = difference(own.users, other.users)
            rows.append(
                {"set": bench.benchmark.name, "chosen": name, "rival": LABELS.get(rival, rival),
                 "difference": gap.value, "low": gap.low, "high": gap.high,
                 "relative": gap.value / max(other.metrics["ndcg@10"], 1e-12)}
            )  # fmt: skip
    best = max((one for one in (*ran, COSINE, *PEERS) if bench.kept(one)), key=lambda one: ndcg(bench, one))
    words = (
        f"{bench.benchmark.name}: {why}. Best NDCG@10 on the test: {LABELS.get(best, best)} ({ndcg(bench, best):.4f})"
    )
    missing = [peer for peer in PEERS if not bench.kept(peer) and (peer != "sasrec" or bench.benchmark.ordered)]
    late = f"; not finished in this run: {', '.join(missing)}" if missing else ""
    return rows, [words + (", which is what serves" if best == name else f"; what serves, {name}, has "
                           f"{ndcg(bench, name):.4f}") + late + "."]  # fmt: skip


def ndcg(bench: Bench, name: str) -> float:
    """NDCG@10 on the test."""
    return bench.evaluation(name, "test").metrics["ndcg@10"]


def sizes_table(bench: Bench) -> list[dict[str, Any]]:
    """Each model that was made smaller: NDCG@10 and megabytes, before and after."""
    rows = []
    for name in (*SMALL, BLEND):
        row = bench.kept(f"{name} small")
        if row is None:
            continue
        before, after = ndcg(bench, name), ndcg(bench, f"{name} small")
        rows.append(
            {"set": bench.benchmark.name, "model": name, "ndcg@10 before": before, "after": after,
             "relative loss": 1 - after / before, "MB before": row["MB"]["before"], "MB after": row["MB"]["after"]}
        )  # fmt: skip
    return rows


def report(benches: Sequence[Bench], minutes: float) -> None:
    """Save the tables of all sets that have a blend."""
    tables: dict[str, Sequence[dict[str, Any]]] = {}
    gaps, sizes, notes = [], [], []
    for bench in benches:
        split, name = bench.split, bench.benchmark.name
        tables[f"{name}: full ranking over {len(split.train.items):,} items, {len(split.test):,} test users"] = (
            models_table(bench)
        )
        rows, words = verdict(bench)
        gaps += rows
        sizes += sizes_table(bench)
        notes += [*words, f"{name}: {bench.benchmark.protocol}. Published: {bench.benchmark.published}."]
    tables["What the validation chose, less each rival: NDCG@10 on the test"] = gaps
    tables["The user model before and after compression"] = sizes
    versions = {row["version"] for bench in benches for name in PEERS if (row := bench.kept(name))}
    notes += [
        "Every item is ranked, none is sampled; items that the user had to do with are left out of the ranking; a "
        "target among equals stands last. Intervals: 95 %, bootstrap over users, paired for differences.",
        f"Settings are chosen by NDCG@10 on {SETTINGS.validation_users:,} validation users at most, each model is "
        "fitted again with the validation items and evaluated once on the test; the blend's validation is "
        "cross-fitted. `tried`: settings or epochs that were looked at.",
        "lastfm: test figures of earlier runs had been seen when the grids and the model `factors` were made, so its "
        "test is not blind to them.",
        "blend: for each part the weights of its two features, of each bucket of history lengths or one for all.",
        "neighbours may use the order of a history (a window, recency), as the tuning decides; `neighbours, no order` "
        "is the plain cosine with shrinkage, tuned too. ease has weights for the "
        f"{SETTINGS.ease.most_items:,} most popular items.",
        f"Peers, in the same run: {', '.join(sorted(versions)) or 'none was installed'}. als: tuned over alpha, "
        "regularization, factors and iterations. sasrec: RecBole's network, cross entropy at every place of a "
        "history over all items, or over 1,000 that are drawn for each step where there are more than 5,000, at most "
        f"{minutes:g} CPU minutes, half of them to find the number of epochs, the rest to train again with the "
        "validation items.",
        "Compression: weights of neighbours and ease as int8 with a scale for each item, "
        "the sequence model's item table and the vectors of factors as int8; the blend of these with the weights it "
        "had. MB: all files of the model.",
    ]
    save("recommendation", "Recommendation: next items by user models and peers", tables, seed=SEED, notes=notes)


@click.command()
@click.option("--sets", multiple=True, type=click.Choice([one.name for one in SETS]), help="Only these.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("recommendation-work"), show_default=True,
              help="Where finished rows and models are kept.")  # fmt: skip
@click.option("--peer-python", help="The Python of an environment with implicit and recbole.")
@click.option("--peer-minutes", type=float, default=12.0, show_default=True, help="CPU minutes for a peer on a set.")
def main(sets: tuple[str, ...], work: Path, peer_python: str | None, peer_minutes: float) -> None:
    """Do what is not finished, then save the tables."""
    wanted = chosen(sets)
    data = data_folder(*(f"rec/{one.name}" for one in wanted))
    for one in wanted:
        run(Bench(one, data, work.absolute()), peer_python, peer_minutes)
        finished = [one for one in SETS if (work / one.name / BLEND / "row.json").exists()]
        report([Bench(one, data, work.absolute()) for one in finished], peer_minutes)


if __name__ == "__main__":
    main()
