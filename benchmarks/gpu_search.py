"""Nearest neighbours among millions of vectors: FAISS on the GPU beside FAISS on the CPU, and exact search.

Part of `gpu.py`. Where FAISS has no GPU build (or is not installed), torch searches exactly on the device and the
row says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

K = 10
BLOCK = 500_000  # vectors generated, multiplied and copied at a time
LEAST_RECALL = 0.95
TRAIN_PER_LIST = 64
MOST_PROBES = 1024  # a GPU index takes at most 2048


@dataclass
class SearchResult:
    """`rows` of the table; `overlap` is the share of neighbours that GPU and CPU agree on (None: not compared)."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    overlap: float | None = None
    notes: list[str] = field(default_factory=list)


def fitting(wanted: int, dim: int, device: torch.device) -> tuple[int, str | None]:
    """How many vectors fit into device and host as a matrix and in an index, and a note if that is fewer."""
    host = psutil.virtual_memory().available
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host
    # the lists of an index grow by doubling, so that they may take twice what they hold
    most = int(min(0.85 * free, 0.7 * host) / (3.2 * dim * 4))
    if most >= wanted:
        return wanted, None
    return most, (
        f"{wanted:,} x {dim} vectors do not fit, as a matrix and in an index, into {free / 1e9:.0f} GB on the device "
        f"and {host / 1e9:.0f} GB on the host: {most:,} were searched instead"
    )


def clustered(count: int, dim: int, device: torch.device, seed: int) -> tuple[Tensor, Callable[[int], Tensor]]:
    """Unit vectors float32 [count, dim] around random centres, and a function that draws queries among the same.

    Made on the device, block by block. Vectors without any structure would be a task that no index can help with.
    """
    generator = torch.Generator(device=device).manual_seed(seed)
    centres = torch.randn(max(16, count // 500), dim, generator=generator, device=device)

    def draw(rows: int) -> Tensor:
        chosen = torch.randint(len(centres), (rows,), generator=generator, device=device)
        noise = torch.randn(rows, dim, generator=generator, device=device)
        return torch.nn.functional.normalize(centres[chosen] + 0.7 * noise, dim=-1)

    vectors = torch.empty(count, dim, device=device)
    for start in range(0, count, BLOCK):
        vectors[start : start + BLOCK] = draw(min(BLOCK, count - start))
    return vectors, draw


def exact(vectors: Tensor, queries: Tensor, k: int = K) -> Tensor:
    """The `k` rows of the largest inner products, int64 [queries, k], by matrix products over blocks."""
    best, rows = queries.new_empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    rows = rows.to(queries.device)
    for start in range(0, len(vectors), BLOCK):
        scores, found = (queries @ vectors[start : start + BLOCK].T).topk(min(k, len(vectors) - start), dim=1)
        best, rows = torch.cat([best, scores], 1), torch.cat([rows, found + start], 1)
        best, chosen = best.topk(min(k, best.shape[1]), dim=1)
        rows = rows.gather(1, chosen)
    return rows


def overlap(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    """The mean share of `wanted` neighbours among the `found` ones, both [queries, k]."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, wanted, strict=True)]))


def seconds_of(work: Callable[[], Any], *, rounds: int = 3) -> float:
    """The best of a few rounds after one that warms up; what `work` returns must be on the host when it returns."""
    work()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def row_of(name: str, search: Callable[[Any], Any], queries: Any, recall: float, megabytes: float) -> dict[str, Any]:
    """One line of the table: a batch of all queries, and one query alone."""
    together, alone = seconds_of(lambda: search(queries)), seconds_of(lambda: search(queries[:1]), rounds=20)
    return {
        "search": name,
        "queries/s, batch": len(queries) / together,
        "batch": len(queries),
        "ms, one query": 1000 * alone,
        f"recall@{K}": recall,
        "MB": megabytes,
    }


def gpu_movers() -> tuple[Callable[[Any], Any], Callable[[Any], Any]] | None:
    """How to move a FAISS index to the first GPU and back; None where FAISS is absent or sees no GPU."""
    try:
        import faiss
    except ImportError:
        return None
    if getattr(faiss, "get_num_gpus", lambda: 0)() == 0:
        return None
    resources = faiss.StandardGpuResources()  # must outlive the index, and does in the closure

    def to_gpu(index: Any) -> Any:
        return faiss.index_cpu_to_gpu(resources, 0, index)

    return to_gpu, faiss.index_gpu_to_cpu


def inverted_lists(vectors: Tensor, to_device: Callable[[Any], Any]) -> tuple[Any, int]:
    """A FAISS IVF index over the vectors, trained and filled wherever `to_device` puts it, and its lists."""
    import faiss

    count, dim = vectors.shape
    lists = max(1, round(2 * math.sqrt(count)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.cp.max_points_per_centroid = TRAIN_PER_LIST
    index = to_device(index)
    sample = torch.randperm(count, device=vectors.device)[: TRAIN_PER_LIST * lists]
    index.train(vectors[sample].cpu().numpy())
    for start in range(0, count, BLOCK):
        index.add(vectors[start : start + BLOCK].cpu().numpy())
    return index, lists


def choose_probes(index: Any, lists: int, queries: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> int:
    """The least power of two of lists to look into that reaches `LEAST_RECALL`; sets it."""
    probes = 1
    while probes < min(lists, MOST_PROBES):
        index.nprobe = probes
        if overlap(index.search(queries, K)[1], wanted) >= LEAST_RECALL:
            break
        probes *= 2
    index.nprobe = min(probes, lists)
    return min(probes, lists)


def compare(
    count: int,
    dim: int,
    queries: int,
    device: torch.device,
    movers: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None,
    seed: int,
) -> SearchResult:
    """The table. `movers` are those of `gpu_movers`."""
    result = SearchResult()
    count, note = fitting(count, dim, device)
    result.notes += [note] if note else []
    vectors, draw = clustered(count, dim, device, seed)
    asked, tuned_on = draw(queries), draw(min(queries, 256))
    megabytes = count * dim * 4 / 1e6
    truth = exact(vectors, asked).cpu().numpy()
    shape = f"{count:,} x {dim}"
    result.rows.append(
        row_of(f"torch exact on {device.type}, {shape}", lambda q: exact(vectors, q).cpu(), asked, 1.0, megabytes)
    )
    host_queries = asked.cpu().numpy()
    if movers is None:
        result.notes.append("FAISS sees no GPU here: the device row is torch's exact search, not FAISS")
        _exact_on_host(result, vectors, host_queries, truth, shape)
        return result
    to_gpu, to_cpu = movers
    started = time.perf_counter()
    on_gpu, lists = inverted_lists(vectors, to_gpu)
    built = time.perf_counter() - started
    probes = choose_probes(on_gpu, lists, tuned_on.cpu().numpy(), exact(vectors, tuned_on).cpu().numpy())
    found = on_gpu.search(host_queries, K)[1]
    name = f"IVF{lists},Flat, {probes} probes, {shape}"
    result.rows.append(
        row_of(f"FAISS GPU {name}", lambda q: on_gpu.search(q, K), host_queries, overlap(found, truth), megabytes)
    )
    on_cpu = to_cpu(on_gpu)
    on_cpu.nprobe = probes
    few = host_queries[: max(1, queries // 4)]
    same = on_cpu.search(few, K)[1]
    result.rows.append(
        row_of(f"FAISS CPU {name}", lambda q: on_cpu.search(q, K), few, overlap(same, truth[: len(few)]), megabytes)
    )
    result.overlap = overlap(same, found[: len(few)])
    result.notes.append(f"the inverted lists were trained and filled on the GPU in {built:.0f} s")
    return result


def _exact_on_host(
    result: SearchResult, vectors: Tensor, queries: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], shape: str
) -> None:
    few = queries[: max(1, min(64, len(queries)))]
    host = vectors.cpu()
    search, name = _host_search(host)
    found = search(few)
    share = overlap(found, truth[: len(few)])
    result.overlap = share
    result.rows.append(row_of(f"{name}, {shape}", search, few, share, host.numel() * 4 / 1e6))


def _host_search(host: Tensor) -> tuple[Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], str]:
    try:
        import faiss
    except ImportError:
        return lambda q: exact(host, torch.from_numpy(q)).numpy(), "torch exact on cpu"
    matrix = host.numpy()
    return lambda q: faiss.knn(q, matrix, K, metric=faiss.METRIC_INNER_PRODUCT)[1], "FAISS CPU exact"
