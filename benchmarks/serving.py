"""Serving one classifier over HTTP: what a tutorial does, LitServe, and `triptych serve`, on loopback in the same run.

    python benchmarks/serving.py                        # about half an hour on two idle cores
    python benchmarks/serving.py --work DIR             # keep the trained bundles there, and use them again
    python benchmarks/serving.py --work DIR --quick     # a try: few training messages, seconds instead of minutes

MiniLM with a linear head is fine-tuned on Banking77 (the strategy `full`), and the product's own compression makes an
int8 model, a static one and a cascade of it, each in a bundle. One call of a model uses one core; all servers use both:
the tutorial's through FastAPI's pool of threads, LitServe with two workers, ours as it comes. The load comes from a
process of its own. CPU seconds are those of the server with all its processes, so that requests a CPU-second can be
compared whatever the load generator takes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from common import data_folder, save
from serving_plugin import MODEL

HERE = Path(__file__).resolve().parent
SEED = 7
EPOCHS = 4
CONNECTIONS = (1, 4, 16, 64)
LOADED = 16  # connections at which servers are compared
LONE = 0.05  # share of the greatest rate at which a request is nearly always alone
CHECKED = 500  # test messages whose answers are judged
WAIT_S = 180.0
ALONE = ", one core"
SERVERS = ("naive", "litserve", "ours int8", f"ours int8{ALONE}", "ours static", "ours cascade")
CHAINS = {  # of a bundle: the chains that are tried, the points that may be lost, and whether a cascade may be made
    "int8": (["int8"], 100.0, False),
    "static": (["static+int8"], 100.0, False),
    "cascade": (["static+int8", "layers:3+neurons:0.5+vocabulary:common+int8", "int8"], 1.0, True),
}
Row = dict[str, Any]


@dataclass
class Running:
    """A server process."""

    port: int
    path: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Of the process and those that it started."""
        total = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
        return total


def environment(work: Path) -> dict[str, str]:
    """One thread of computation, and the plugin of this benchmark installed."""
    info = work / "plugin" / "banking-0.1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: banking\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[triptych]\nbanking = serving_plugin\n")
    path = [str(info.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
    threads = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    return {
        **os.environ,
        **threads,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "TRIPTYCH_HOME": str(work / "home"),
    }


def build(work: Path, *, quick: bool) -> None:
    """The bundles, in a process that has the plugin; those that are there are kept."""
    command = [sys.executable, __file__, "--build", "--work", str(work), *(["--quick"] if quick else [])]
    subprocess.run(command, env=environment(work), check=True)


def build_here(work: Path, *, quick: bool) -> None:
    """Train once, and compress copies of what was trained."""
    import csv

    from triptych.config import CompressionConfig, load_config
    from triptych.host import default_host
    from triptych.pipeline import run
    from triptych.recompress import compress

    source = data_folder("text/banking77") / "text" / "banking77"
    data = work / "data"
    data.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        with (source / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        step = 20 if quick else 1
        with (data / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows({"text": row["text"], "label": row["label"]} for row in rows[::step])
    overrides = [
        f"seed={SEED}",
        f"data.path={data / 'train.csv'}",
        f"data.test_path={data / 'test.csv'}",
        "training.strategy=full",
        f"training.epochs={EPOCHS}",
        f"training.patience={EPOCHS}",
        "compression.enabled=false",
        "device=cpu",
    ]
    trained = work / "bundles" / "trained"
    if not (trained / "CURRENT").is_file():
        config = load_config(default_host().vertical("banking").defaults(), overrides=overrides)
        run("banking", config, output=trained)
    for name, (chains, drop, cascade) in CHAINS.items():
        output = work / "bundles" / name
        if (work / f"{name}.done").is_file():
            continue
        if not output.is_dir():
            shutil.copytree(trained, output)
        seconds = 60.0 if quick else 1200.0
        wanted = chains[:2] if quick else chains
        settings = CompressionConfig(chains=wanted, max_drop=drop, cascade=cascade, seconds=seconds, memory=False)
        result = compress(output, settings, data=str(data / "train.csv"))
        print(f"{name}: {result.chosen}", file=sys.stderr)
        (work / f"{name}.done").touch()


def bundle_of(server: str) -> str:
    """The bundle that one of our servers answers from."""
    return server.removeprefix("ours ").removesuffix(ALONE)


def version_of(bundle: Path) -> Path:
    """The directory of a bundle's newest version."""
    return bundle / "versions" / (bundle / "CURRENT").read_text(encoding="ascii").strip()


@contextmanager
def started(server: str, work: Path) -> Iterator[Running | None]:
    """A server that answers; None where it is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        import socket

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        kind = server.partition(" ")[0]
        alone = server.endswith(ALONE)
        if kind == "ours":
            code = "from triptych_apps.cli import main; main()"
            place = str(work / "bundles" / bundle_of(server))
            command = [sys.executable, "-c", code, "serve", place, "--port", str(port), "--drain", "0"]
            command += ["--decisions", "off"]  # its peers write nothing down either
            path, probe = "/v1/banking/answer", "/health/ready"
        else:
            place = str(version_of(work / "bundles" / "int8"))
            command = [sys.executable, str(HERE / "serving_peers.py"), server, place, str(port)]
            path, probe = "/answer", {"naive": "/openapi.json", "litserve": "/health"}[server]
        log, variables = Path(folder) / "log", environment(work)
        if kind == "ours" and not alone:
            del variables["OMP_NUM_THREADS"]  # it shares the cores among its threads by itself
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=variables)
        try:
            if not _wait(process, port, probe):
                if "missing" in log.read_text():
                    yield None
                    return
                raise SystemExit(f"{server} did not start:\n{log.read_text()[-3000:]}")
            yield Running(port, path, psutil.Process(process.pid))
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it started: workers that outlive it would take from the next server's time."""
    workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    psutil.wait_procs(workers, 10)


def _wait(process: subprocess.Popen[bytes], port: int, probe: str) -> bool:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{probe}", timeout=5):
                return True
        except OSError:
            time.sleep(0.2)
    return False


def load(running: Running, texts: Path, mode: str, **options: float) -> Row:
    """What the load generator saw, with the server's CPU seconds."""
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, str(HERE / "serving_load.py"), str(running.port), running.path, str(texts), mode, *words]
    before = running.cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: Row = json.loads(done.stdout)
    answered = found["statuses"].get("200", 0)
    found["per_cpu_s"] = answered / max(running.cpu_seconds() - before, 0.01)
    return found


def threads_of(running: Running) -> int:
    """How many threads of ours answer, as it says itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/v1/banking", timeout=30) as answer:
        return int(json.load(answer)["threads"])


def accuracy(running: Running, work: Path, count: int) -> float:
    """Of the answers that really come over HTTP."""
    import csv

    with (work / "data" / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [rows[place * len(rows) // count] for place in range(min(count, len(rows)))]  # they are sorted by label
    right = 0
    for row in rows:
        body = json.dumps({"text": row["text"]}).encode()
        url = f"http://127.0.0.1:{running.port}{running.path}"
        call = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(call, timeout=30) as answer:
            right += json.load(answer)["answer"] == row["label"]
    return 100 * right / len(rows)


def runtime(work: Path, bundle: str, texts: Path, seconds: float) -> Row:
    """The same predictor without any server: batches of 32, one thread."""
    command = [sys.executable, __file__, "--runtime", str(work / "bundles" / bundle), "--texts", str(texts)]
    command += ["--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(work))
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def runtime_here(bundle: Path, texts: Sequence[str], seconds: float) -> Row:
    """See `runtime`."""
    from triptych.predictor import load as load_bundle

    predictor = load_bundle(bundle)
    requests = [predictor.request(text=text) for text in texts]
    batches = [requests[start : start + 32] for start in range(0, len(requests) - 31, 32)]
    predictor.answer_batch(batches[0])
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < wall + seconds:
        done += len(predictor.answer_batch(batches[(done // 32) % len(batches)]))
    return {"per_s": done / (time.perf_counter() - wall), "per_cpu_s": done / (time.process_time() - cpu)}


def measure(server: str, running: Running, work: Path, texts: Path, seconds: float) -> tuple[list[Row], Row]:
    """One row for each load, and one that sums up."""
    right = accuracy(running, work, CHECKED)
    load(running, texts, "closed", connections=4, seconds=min(2.0, seconds))  # warm
    rows = [
        {"server": server, "connections": n, **_shown(load(running, texts, "closed", connections=n, seconds=seconds))}
        for n in CONNECTIONS
    ]
    at = next(row for row in rows if row["connections"] == LOADED)
    capacity = max(row["requests/s"] for row in rows)
    lone = load(running, texts, "open", rate=LONE * capacity, seconds=2 * seconds)
    half = load(running, texts, "open", rate=at["requests/s"] / 2, seconds=2 * seconds)
    most = load(running, texts, "open", rate=capacity / 2, seconds=2 * seconds)
    over = load(running, texts, "open", rate=3 * capacity, seconds=seconds)
    after = load(running, texts, "closed", connections=1, seconds=min(3.0, seconds))
    others = {status: n for status, n in over["statuses"].items() if status not in ("200", "429", "503")}
    return rows, {
        "server": server,
        "accuracy": right,
        "requests/s": at["requests/s"],
        "a CPU-second": at["a CPU-second"],
        "greatest requests/s": capacity,
        "greatest a CPU-second": max(row["a CPU-second"] for row in rows),
        "lone: p50 ms": lone["p50_ms"],
        "lone: p99 ms": lone["p99_ms"],
        "half load: p50 ms": half["p50_ms"],
        "half load: p99 ms": half["p99_ms"],
        "half load / lone, p99 / p50": _ratio(half["p99_ms"], lone["p50_ms"]),
        "half load / lone, p99 / p99": _ratio(half["p99_ms"], lone["p99_ms"]),
        "half of greatest: p99 ms": most["p99_ms"],
        "half of greatest / lone, p99 / p99": _ratio(most["p99_ms"], lone["p99_ms"]),
        "3x: asked/s": over["sent"] / seconds,
        "3x: answered/s": over["per_s"],
        "3x: refused": over["statuses"].get("503", 0) + over["statuses"].get("429", 0),
        "3x: failed": sum(others.values()),
        "after: p50 ms": after["p50_ms"],
        "after: not answered": sum(n for status, n in after["statuses"].items() if status != "200"),
    }


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


def _shown(found: Row) -> Row:
    return {
        "requests/s": found["per_s"],
        "p50 ms": found["p50_ms"],
        "p99 ms": found["p99_ms"],
        "a CPU-second": found["per_cpu_s"],
        "not answered": sum(n for status, n in found["statuses"].items() if status != "200"),
    }


def against(summaries: list[Row], runtimes: dict[str, Row]) -> list[Row]:
    """Ours beside the naive server and the runtime itself."""
    naive = next((row for row in summaries if row["server"] == "naive"), None)
    found = []
    for row in summaries:
        alone = runtimes.get(bundle_of(row["server"]))
        found.append(
            {
                "server": row["server"],
                "x naive, requests/s": row["requests/s"] / naive["requests/s"] if naive else None,
                "x naive, a CPU-second": row["a CPU-second"] / naive["a CPU-second"] if naive else None,
                "runtime alone, requests/s": alone["per_s"] if alone else None,
                "greatest requests/s, share of it": row["greatest requests/s"] / alone["per_s"] if alone else None,
                "runtime alone, a CPU-second": alone["per_cpu_s"] if alone else None,
                "greatest a CPU-second, share of it": row["greatest a CPU-second"] / alone["per_cpu_s"]
                if alone
                else None,
            }
        )
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="where bundles are kept; by default a folder that is removed")
    parser.add_argument("--servers", nargs="+", default=list(SERVERS), choices=SERVERS)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the data and short loads; saves nothing")
    parser.add_argument("--no-save", action="store_true", help="print the tables only")
    parser.add_argument("--name", default="serving", help="of the saved table, beside those of other machines")
    parser.add_argument("--build", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--runtime", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.runtime is not None:
        texts = json.loads(asked.texts.read_text(encoding="utf-8"))
        print(json.dumps(runtime_here(asked.runtime, texts, asked.seconds)))
    elif asked.build:
        build_here(asked.work, quick=asked.quick)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(asked, asked.work or Path(folder))


def run(asked: argparse.Namespace, work: Path) -> None:
    """Build, measure server after server, and save."""
    import csv

    data_folder("text/banking77")
    work = work.resolve()
    build(work, quick=asked.quick)
    with (work / "data" / "test.csv").open(encoding="utf-8", newline="") as file:
        messages = [row["text"] for row in csv.DictReader(file)]
    texts = work / "texts.json"
    texts.write_text(json.dumps(messages), encoding="utf-8")
    seconds = 2.0 if asked.quick else asked.seconds
    rows, summaries, notes = [], [], []
    threads: dict[str, int] = {}
    for server in asked.servers:
        with started(server, work) as running:
            if running is None:
                notes.append(f"{server} is not installed and was left out.")
                continue
            if server.startswith("ours "):
                threads[server.removeprefix("ours ")] = threads_of(running)
            loads, summed = measure(server, running, work, texts, seconds)
            rows += loads
            summaries.append(summed)
            print(json.dumps(summed), file=sys.stderr)
    bundles = sorted({bundle_of(server) for server in asked.servers if server.startswith("ours ")})
    runtimes = {bundle: runtime(work, bundle, texts, seconds) for bundle in bundles}
    for bundle in bundles:
        manifest = json.loads((version_of(work / "bundles" / bundle) / "manifest.json").read_text(encoding="utf-8"))
        notes.append(f"ours {bundle} answers with {manifest['ledger']['chosen']}.")
    notes += [
        f"Every server has {MODEL} with the same head, or what was compressed from it; one call of a model uses one "
        "core. The naive server has FastAPI's pool of threads, LitServe two workers, ours as many threads as it finds "
        f"to pay: {', '.join(f'{name} {count}' for name, count in threads.items())}.",
        f"Servers are compared at {LOADED} connections, and with the runtime where each does most.",
        f"Accuracy is of {CHECKED} test messages, asked over HTTP.",
        "Under 3x the load generator, which shares the cores, sends what it can.",
        f"Half load is half of the rate at {LOADED} connections. Lone ({LONE:.0%}), half of greatest and 3x are shares "
        "of the server's own greatest rate. Requests come at random moments, and a time counts from the moment at "
        "which the request was due. A lone request finds every thread asleep, which takes longer than one that follows "
        "upon another (one connection).",
        "The runtime alone answers batches of 32 in a process without a server.",
        "Ours runs with `--decisions off`, for the others write nothing down.",
    ]
    tables = {
        "Summary": summaries,
        "Against the naive server and the runtime": against(summaries, runtimes),
        "Load": rows,
    }
    if asked.quick or asked.no_save:
        from common import markdown

        print("\n\n".join(f"{heading}\n{markdown(table)}" for heading, table in tables.items()), *notes, sep="\n")
        return
    save(asked.name, "Serving one classifier over HTTP", tables, seed=SEED, notes=notes)


if __name__ == "__main__":
    main()
