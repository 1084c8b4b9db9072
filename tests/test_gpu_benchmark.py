"""The GPU benchmark's own code, on the CPU and tiny: what cannot be run here must at least be right."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_search

    return gpu_search


def stay(index: Any) -> Any:
    return index


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it would run in earnest")
def test_without_a_gpu_it_says_so_and_is_content():
    done = subprocess.run([sys.executable, str(BENCHMARKS / "gpu.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no GPU was found" in done.stdout


@pytest.mark.slow
def test_every_part_runs(benchmark, tmp_path):
    texts = benchmark.synthetic_texts(train=240, test=60, labels=4)
    folder = benchmark.random_model([text for text, _ in texts.train], tmp_path, hidden=32, layers=3)
    sizes = benchmark.Sizes(
        embedded=300,
        batch=32,
        trained=240,
        tested=60,
        train_batch=16,
        epochs=2,
        vectors=3_000,
        dim=16,
        queries=20,
        rounds=1,
    )
    plan = benchmark.choose_device("cpu")
    tables, notes = benchmark.measure(plan, sizes, texts, folder, (stay, stay))
    assert list(tables) == ["Embedding", "Fine-tuning", "The same model on both", "Search"]
    assert tables["Embedding"][0]["mean cosine to the other's vectors"] > 0.999
    assert all(row["samples/s"] > 0 for row in tables["Fine-tuning"])
    assert all(row["points off the CPU"] == 0 for row in tables["The same model on both"])
    assert [row["search"].split(" ")[0] for row in tables["Search"]] == ["torch", "FAISS", "FAISS"]
    assert "device and host searches agree on 100.00 % of the neighbours" in notes


@pytest.mark.slow
def test_bfloat16_gives_nearly_the_same(benchmark, tmp_path):
    texts = benchmark.synthetic_texts(train=40, test=20, labels=4)
    folder = benchmark.random_model([text for text, _ in texts.train], tmp_path, hidden=32, layers=3)
    plan = dataclasses.replace(benchmark.choose_device("cpu"), dtype=torch.bfloat16)
    rows = benchmark.embedding(texts.repeated(60), folder, plan, benchmark.Sizes(batch=16, rounds=1))
    assert [row["precision"] for row in rows] == ["bfloat16", "bfloat16"]
    assert rows[0]["mean cosine to the other's vectors"] > 0.99
    encoder = benchmark.SentenceEncoder.create(str(folder))
    head = benchmark.ClassificationHead(encoder.dim, sorted({label for _, label in texts.test}))
    rows = benchmark.parity(benchmark.MultimodalModel({"text": encoder}, None, head), texts, plan)
    assert [row["computed on"] for row in rows] == ["cpu, float32", "cpu, float32", "cpu, bfloat16"]
    assert rows[1]["points off the CPU"] == 0
    assert rows[2]["same label"] > 0.8


def test_without_faiss_on_the_gpu_the_search_is_torchs_and_says_so(search):
    result = search.compare(2_000, 16, 20, torch.device("cpu"), None, 0)
    assert result.rows[0]["search"].startswith("torch exact")
    assert result.overlap == pytest.approx(1.0, abs=0.02)
    assert any("not FAISS" in note for note in result.notes)


def test_exact_search_over_blocks_is_exact(search, monkeypatch):
    monkeypatch.setattr(search, "BLOCK", 64)
    vectors, draw = search.clustered(1_000, 8, torch.device("cpu"), 0)
    queries = draw(5)
    wanted = (queries @ vectors.T).topk(search.K).indices
    assert torch.equal(search.exact(vectors, queries), wanted)


def test_what_does_not_fit_is_scaled_down_with_a_note(search):
    count, note = search.fitting(10**12, 384, torch.device("cpu"))
    assert count < 10**12
    assert f"{count:,}" in note


def test_banking77_is_read_where_it_is_at_hand(benchmark, shared_data, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_DATA", str(shared_data))
    texts = benchmark.read_texts()
    assert texts.name == "Banking77"
    assert (len(texts.train), len(texts.test)) == (10_003, 3_080)


def test_texts_are_synthetic_where_it_is_not(benchmark, monkeypatch, tmp_path):
    monkeypatch.setenv("TRIPTYCH_DATA", str(tmp_path))
    assert benchmark.read_texts().name == "synthetic texts"
