"""What one GPU gives: embedding and fine-tuning in bfloat16, neighbours among millions, the same answers as a CPU.

    python benchmarks/gpu.py

Takes at most 8 minutes on one CUDA GPU, needs no network, and writes `results/gpu.md` and `results/gpu.json`. Beside
every figure of ours stands the rival's, measured in the same run on the same texts and weights: sentence-transformers
for embedding, a plain transformers `Trainer` for fine-tuning, FAISS on the CPU for search. Without a GPU it says so and
ends with exit code 0. Texts are those of Banking77 where `TRIPTYCH_DATA` has them, otherwise synthetic.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from common import REPOSITORY, save
from gpu_search import compare, gpu_movers
from triptych.config import TrainingConfig
from triptych.device import DevicePlan, choose_device, seed_everything
from triptych.encoders.checkpoint import find_checkpoint
from triptych.encoders.sentence import SentenceEncoder
from triptych.errors import MissingError
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.tuning.base import TuningContext
from triptych.tuning.full import Full
from triptych.types import Sample, Task

MODEL = "all-MiniLM-L6-v2"
SEED = 42


@dataclass(frozen=True)
class Sizes:
    """How much is done; the defaults suit 8 minutes, tests take tiny ones."""

    embedded: int = 50_000
    batch: int = 256
    trained: int = 10_000
    tested: int = 3_000
    train_batch: int = 64
    epochs: int = 3
    vectors: int = 10_000_000
    dim: int = 384
    queries: int = 1_000
    rounds: int = 3
    seconds: float = 480.0


@dataclass(frozen=True)
class Texts:
    """Labelled texts, and what they are called in the report."""

    name: str
    train: list[tuple[str, str]]
    test: list[tuple[str, str]]

    def cut(self, train: int, test: int) -> Texts:
        """Not more than so many of each."""
        return dataclasses.replace(self, train=self.train[:train], test=self.test[:test])

    def repeated(self, count: int) -> list[str]:
        """As many texts as asked for, the same ones again where there are fewer."""
        own = [text for text, _ in self.train]
        return (own * (count // len(own) + 1))[:count]


def read_texts() -> Texts:
    """Banking77, or synthetic messages where it is not at hand."""
    folder = Path(os.environ.get("TRIPTYCH_DATA", REPOSITORY.parent / "shared" / "data")) / "text" / "banking77"
    if not (folder / "train.csv").is_file():
        return synthetic_texts()
    rows = {}
    for split in ("train", "test"):
        with (folder / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            rows[split] = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    random.Random(SEED).shuffle(rows["train"])
    return Texts("Banking77", rows["train"], rows["test"])


def synthetic_texts(train: int = 10_000, test: int = 3_000, labels: int = 77) -> Texts:
    """Texts of 5 to 40 invented words, each label with a few words of its own."""
    generator = random.Random(SEED)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 3))) for _ in range(3_000)]
    marks = [generator.sample(words, 6) for _ in range(labels)]

    def row(number: int) -> tuple[str, str]:
        label = number % labels
        text = generator.choices(words, k=generator.randint(4, 35)) + generator.sample(marks[label], 2)
        generator.shuffle(text)
        return " ".join(text), f"label{label:02d}"

    rows = [row(number) for number in range(train + test)]
    return Texts("synthetic texts", rows[:train], rows[train:])


def open_model(texts: Texts, folder: Path) -> tuple[Path, str]:
    """The folder of MiniLM; where it is not at hand, a network of the same shape with random weights, called so."""
    try:
        return find_checkpoint(MODEL, organisation="sentence-transformers"), MODEL
    except MissingError:
        return random_model([text for text, _ in texts.train], folder), f"{MODEL}'s shape with random weights"


def random_model(texts: Sequence[str], folder: Path, *, hidden: int = 384, layers: int = 6) -> Path:
    """An untrained sentence-transformers folder; its tokenizer learns its vocabulary from the texts."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel

    inner = folder / "random-model"
    inner.mkdir(parents=True)
    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=8_000, show_progress=False)
    tokenizer.save_model(str(inner))
    # only one that is made from a vocabulary puts [CLS] and [SEP] around a text
    BertWordPieceTokenizer(str(inner / "vocab.txt")).save(str(inner / "tokenizer.json"))
    (inner / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "model_max_length": 256}')
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        intermediate_size=4 * hidden,
    )
    BertModel(config).save_pretrained(inner)
    return inner


def embedding(texts: Sequence[str], folder: Path, plan: DevicePlan, sizes: Sizes) -> list[dict[str, Any]]:
    """Texts to vectors in the plan's precision: ours and sentence-transformers, alternating, the best round of each."""
    from sentence_transformers import SentenceTransformer

    ours = SentenceEncoder.create(str(folder)).to(plan.device, plan.dtype)
    theirs = SentenceTransformer(str(folder), device=str(plan.device), model_kwargs={"dtype": plan.dtype})
    ways = {
        "triptych": lambda some: ours.encode(some, batch_size=sizes.batch),
        "sentence-transformers": lambda some: torch.from_numpy(
            theirs.encode(list(some), batch_size=sizes.batch, show_progress_bar=False)
        ),
    }
    best = dict.fromkeys(ways, float("inf"))
    for way in ways.values():
        way(texts[: 4 * sizes.batch])
    vectors = {}
    for _ in range(sizes.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            vectors[name] = way(texts)
            best[name] = min(best[name], time.perf_counter() - started)
    one, other = (torch.nn.functional.normalize(v.float(), dim=-1) for v in vectors.values())
    return [
        {
            "embedding": name,
            "precision": str(plan.dtype).removeprefix("torch."),
            "texts": len(texts),
            "seconds": seconds,
            "texts/s": len(texts) / seconds,
            "mean cosine to the other's vectors": float((one * other).sum(dim=1).mean()),
        }
        for name, seconds in best.items()
    ]


def tune_ours(texts: Texts, folder: Path, plan: DevicePlan, sizes: Sizes) -> tuple[dict[str, Any], MultimodalModel]:
    """The strategy `full` with its own defaults but batch size and epochs; its seconds hold the linear start."""
    seed_everything(SEED)
    labels = sorted({label for _, label in texts.train})
    encoder = SentenceEncoder.create(str(folder))
    model = MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, labels))
    settings = TrainingConfig(strategy="full", epochs=sizes.epochs, batch_size=sizes.train_batch)
    samples = [Sample(str(number), text=text, target=label) for number, (text, label) in enumerate(texts.train)]
    with tempfile.TemporaryDirectory() as workspace:
        context = TuningContext(Path(workspace), plan, SEED, Task("classification"))
        report = Full().tune(model.to(plan.device), samples, [], settings, context)
    accuracy, _ = classify(model, texts, plan, torch.float32)
    return {
        "fine-tuning": "triptych, full",
        "samples/s": sizes.epochs * len(samples) / report.seconds,
        "samples/s, loop alone": report.samples_per_second,
        "seconds": report.seconds,
        "epochs": sizes.epochs,
        "test accuracy": accuracy,
    }, model


def tune_theirs(texts: Texts, folder: Path, plan: DevicePlan, sizes: Sizes) -> dict[str, Any]:
    """A plain `Trainer`: its defaults, with the same batch size and epochs and the usual learning rate."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    seed_everything(SEED)
    labels = sorted({label for _, label in texts.train})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))

    def rows(pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
        encoded = tokenizer([text for text, _ in pairs], truncation=True)["input_ids"]
        return [
            {"input_ids": ids, "label": labels.index(label)} for ids, (_, label) in zip(encoded, pairs, strict=True)
        ]

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as workspace:
        arguments = TrainingArguments(
            output_dir=workspace,
            num_train_epochs=sizes.epochs,
            per_device_train_batch_size=sizes.train_batch,
            per_device_eval_batch_size=256,
            learning_rate=5e-5,
            bf16=plan.mixed_precision == "bf16",
            use_cpu=plan.device.type == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=SEED,
        )
        trainer = Trainer(model, arguments, train_dataset=rows(texts.train), processing_class=tokenizer)
        done = trainer.train()
        seconds = time.perf_counter() - started
        predicted = trainer.predict(rows(texts.test)).predictions.argmax(axis=1)
    right = [labels[guess] == label for guess, (_, label) in zip(predicted, texts.test, strict=True)]
    return {
        "fine-tuning": "transformers Trainer",
        "samples/s": sizes.epochs * len(texts.train) / seconds,
        "samples/s, loop alone": done.metrics["train_samples_per_second"],
        "seconds": seconds,
        "epochs": sizes.epochs,
        "test accuracy": sum(right) / len(right),
    }


@torch.inference_mode()
def classify(model: MultimodalModel, texts: Texts, plan: DevicePlan, dtype: torch.dtype) -> tuple[float, torch.Tensor]:
    """Test accuracy and probabilities [texts, labels] on the plan's device, computed in `dtype`."""
    model.to(plan.device).eval()
    samples = [Sample(str(number), text=text) for number, (text, _) in enumerate(texts.test)]
    found = []
    with torch.autocast(plan.device.type, dtype=dtype, enabled=dtype != torch.float32):
        for start in range(0, len(samples), 256):
            output = model(model.prepare(samples[start : start + 256]).to(plan.device))
            found.append(model.head.probabilities(output.logits.float()).cpu())
    probabilities = torch.cat(found)
    wanted = model.head.encode([label for _, label in texts.test])
    return float((probabilities.argmax(dim=1) == wanted).float().mean()), probabilities


def parity(model: MultimodalModel, texts: Texts, plan: DevicePlan) -> list[dict[str, Any]]:
    """The same trained model on the CPU in float32, on the device in float32, and there in the plan's precision."""
    cpu = choose_device("cpu")
    base, reference = classify(model, texts, cpu, torch.float32)
    rows = [{"computed on": "cpu, float32", "test accuracy": base, "points off the CPU": 0.0, "same label": 1.0}]
    for dtype in dict.fromkeys((torch.float32, plan.dtype)):
        accuracy, probabilities = classify(model, texts, plan, dtype)
        rows.append(
            {
                "computed on": f"{plan.device.type}, {str(dtype).removeprefix('torch.')}",
                "test accuracy": accuracy,
                "points off the CPU": 100 * (accuracy - base),
                "same label": float((probabilities.argmax(1) == reference.argmax(1)).float().mean()),
            }
        )
    return rows


def measure(
    plan: DevicePlan, sizes: Sizes, texts: Texts, folder: Path, movers: Any
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """All tables, and what must be said beside them. A part for which no time is left is skipped and named."""
    started = time.perf_counter()
    tables: dict[str, list[dict[str, Any]]] = {}
    notes: list[str] = []

    def in_time(part: str) -> bool:
        if time.perf_counter() - started < 0.75 * sizes.seconds:
            return True
        notes.append(f"{part}: skipped, for the parts before it took too long")
        return False

    torch.backends.cuda.matmul.allow_tf32 = False  # float32 means float32 in the comparison with the CPU
    cut = texts.cut(sizes.trained, sizes.tested)
    tables["Embedding"] = embedding(texts.repeated(sizes.embedded), folder, plan, sizes)
    if in_time("fine-tuning"):
        ours, model = tune_ours(cut, folder, plan, sizes)
        tables["Fine-tuning"] = [ours, tune_theirs(cut, folder, plan, sizes)]
        tables["The same model on both"] = parity(model, cut, plan)
        worst = max(abs(row["points off the CPU"]) for row in tables["The same model on both"])
        notes.append(f"accuracy differs by at most {worst:.2f} points from the CPU (wanted: at most 0.2)")
    if in_time("search"):
        result = compare(sizes.vectors, sizes.dim, sizes.queries, plan.device, movers, SEED)
        tables["Search"] = result.rows
        notes += result.notes
        if result.overlap is not None:
            notes.append(f"device and host searches agree on {100 * result.overlap:.2f} % of the neighbours")
    notes.append(f"{time.perf_counter() - started:.0f} s in all")
    return tables, notes


def main() -> None:
    """Measure and save, or say that there is no GPU."""
    plan = choose_device("auto")
    if plan.device.type != "cuda":
        print(f"skipped: {'; '.join(plan.reasons)}. This benchmark compares a CUDA GPU with the CPU.")
        sys.exit(0)
    texts = read_texts()
    with tempfile.TemporaryDirectory() as work:
        folder, model_name = open_model(texts, Path(work))
        tables, notes = measure(plan, Sizes(), texts, folder, gpu_movers())
    about = [f"{torch.cuda.get_device_name(plan.device)}; {model_name}; {texts.name}", *plan.reasons]
    save("gpu", "One GPU", tables, seed=SEED, notes=[*about, *notes])


if __name__ == "__main__":
    main()
