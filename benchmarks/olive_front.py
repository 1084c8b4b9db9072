"""Microsoft Olive's search on the text classifier of `compression.py`, its Pareto front judged by our meter.

    python benchmarks/olive_front.py --teacher WORK/banking77/teacher       # WORK as given to compression.py
    python benchmarks/olive_front.py --teacher ... --ours WORK/banking77/search   # beside our exported variants

Olive gets the fine-tuned encoder, its pooling and its head as one torch module, validation texts for accuracy, training
texts to calibrate with, and `--seconds` for its own search over its own passes: the graph fused
for transformers or only tidied, and float32, float16, dynamic, static and weight-only quantization. Every model on the
front it finds answers the test texts, tokenized and padded as a server would, and is timed in turns with the same
weights in sentence-transformers.

It runs under a Python that has both `olive-ai` and Triptych; Olive's wishes for versions make an environment of its
own the easier way.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"
os.environ["CI"] = "1"  # Olive greets its maker before it reads the variable above, but never from an automatic build
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import importlib.util
import json
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import compression
from common import data_folder, metered, save
from triptych.compression.measure import measure_all, size_mb
from triptych.host import Host
from triptych.models.build import load_model
from triptych.runtime.exported import RUNTIME, ExportedModel
from triptych.runtime.graphs import open_graph
from triptych.runtime.text import open_tokenizer
from triptych.types import Sample

SECONDS = 600
BATCH = 32
CALIBRATION = 256  # texts
INPUTS = ("input_ids", "attention_mask")
DATASET = "banking77_feeds"
BASELINE = "sentence-transformers fp32"
PASSES = ("OnnxConversion", "OrtTransformersOptimization", "OnnxPeepholeOptimizer", "OnnxFloatToFloat16",
          "OnnxDynamicQuantization", "OnnxStaticQuantization", "OnnxBlockWiseRtnQuantization")  # fmt: skip
LIMITS = (
    "Olive 0.13 cannot search with TPE among alternative passes: the sampler always takes the first of them, so the "
    "search is its random one.",
    "It cannot take a custom metric (a run fails when it is written down), so accuracy is its built-in metric, on the "
    "same validation texts; nor an evaluator without a type.",
    "From the second trial on it fails on models that come from its cache; olive_front.py mends that line at run time.",
    "ONNX Runtime's symbolic shape inference stops at an `expand` in the token types and the normalisation as the "
    "libraries write them, and no attention is fused then; the torch module here writes them out. Of the dynamo "
    "exporter's graph OrtTransformersOptimization fuses none even so, and the search has the other exporter alone.",
    "Not tried: passes that need packages of their own (neural-compressor, OpenVINO, AIMET, Quark) and those for "
    "decoders or for other processors.",
)
SHOWN = ("bits", "precision", "quant_format", "per_channel")


# -- the classifier, as Olive takes it ------------------------------------------------------------------------------


class Classifier(nn.Module):
    """Encoder, pooling, normalisation and head: int64 [batch, tokens] twice to logits [batch, labels].

    Token types and normalisation are written out, because ONNX Runtime's shape inference stops at the library's, and
    then fusion finds no attention and quantization sees no shapes.
    """

    def __init__(self, teacher: Path) -> None:
        super().__init__()
        model = load_model(teacher, Host(installed=False))
        self.encoder, self.head = model.encoder("text"), model.head.linear
        self.encoder.backbone.set_attn_implementation("eager")  # plain products and a softmax, which fusions look for

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits."""
        types = input_ids * 0
        hidden = self.encoder.backbone(input_ids, attention_mask, token_type_ids=types).last_hidden_state
        kept = attention_mask.unsqueeze(-1).to(hidden.dtype)
        vectors = (hidden * kept).sum(dim=1)  # a mean's divisor is lost in the normalisation
        length = (vectors * vectors).sum(dim=-1, keepdim=True).clamp_min(1e-24).sqrt()
        logits: Tensor = self.head(vectors / length)
        return logits


class Graph:
    """An ONNX classifier that answers samples: sorted by length, in padded batches, one thread."""

    def __init__(self, graph: Path, teacher: Path) -> None:
        self.graph = open_graph(graph, threads=1)
        self.tokenizer = tokenizer_of(teacher)

    def __call__(self, samples: Sequence[Sample]) -> np.ndarray[Any, Any]:
        """Labels, by number."""
        ids = [e.ids for e in self.tokenizer.encode_batch_fast([s.text for s in samples])]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        labels = np.empty(len(ids), dtype=np.int64)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            labels[rows] = self.graph.run(None, padded([ids[i] for i in rows]))[0].argmax(axis=1)
        return labels


def tokenizer_of(teacher: Path) -> Any:
    settings = json.loads((teacher / "config.json").read_text(encoding="utf-8"))["encoders"]["text"]["settings"]
    return open_tokenizer(teacher / "assets" / "text" / "tokenizer.json", int(settings["max_length"]))


def padded(ids: Sequence[Sequence[int]], width: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Token ids of texts to the inputs of the classifier, as wide as the longest of them or `width`."""
    wide = max(width, *map(len, ids))
    feed = {name: np.zeros((len(ids), wide), dtype=np.int64) for name in INPUTS}
    for row, text in enumerate(ids):
        feed["input_ids"][row, : len(text)] = text
        feed["attention_mask"][row, : len(text)] = 1
    return feed


@lru_cache(1)
def problem() -> compression.Problem:
    return compression.banking77()


# -- what Olive calls: it loads this file again and finds these by their names ---------------------------------------


def load_classifier(teacher: str) -> nn.Module:
    return Classifier(Path(teacher)).eval()


def example(model: Any) -> dict[str, Tensor]:
    feed = padded([e.ids for e in tokenizer_of(Path(model.model_path)).encode_batch_fast(["where is my card?", "no"])])
    return {name: torch.from_numpy(values) for name, values in feed.items()}


@lru_cache(2)
def _labels(teacher: Path) -> list[str]:
    head = json.loads((teacher / "config.json").read_text(encoding="utf-8"))["head"]
    return list(head["labels"])


def numbers(teacher: Path, samples: Iterable[Sample]) -> np.ndarray[Any, Any]:
    """The true labels, by number."""
    labels = _labels(teacher)
    return np.array([labels.index(s.target) for s in samples])


def feeds(kind: str, teacher: str) -> Any:
    """The data that Olive asks for: one batch, texts to calibrate with, or validation texts and labels."""
    from olive.data.component.dataset import BaseDataset

    if kind == "validation":
        held = sorted(problem().validation, key=lambda s: len(s.text))
        batches = [held[i : i + BATCH] for i in range(0, len(held), BATCH)]
        tokenizer = tokenizer_of(Path(teacher))
        texts = [padded([e.ids for e in tokenizer.encode_batch_fast([s.text for s in batch])]) for batch in batches]
        return BaseDataset(list(zip(texts, (numbers(Path(teacher), batch) for batch in batches), strict=True)))
    ids = [e.ids for e in tokenizer_of(Path(teacher)).encode_batch_fast([s.text for s in problem().train])]
    random.Random(compression.SEED).shuffle(ids)
    if kind == "batch":
        return BaseDataset([padded(ids[:BATCH])])
    chosen = ids[:CALIBRATION]
    width = max(map(len, chosen))  # histograms of a tensor want one shape in every batch
    return BaseDataset([padded(chosen[i : i + BATCH], width) for i in range(0, CALIBRATION, BATCH)])


# -- the search -----------------------------------------------------------------------------------------------------


def passes(encoder: Any) -> dict[str, list[dict[str, Any]]]:
    """Alternatives for each step; parameters that are not given are searched where Olive has values for them."""
    shape = {"num_heads": encoder.num_attention_heads, "hidden_size": encoder.hidden_size}
    fuse = {"type": "OrtTransformersOptimization", "model_type": "bert", **shape}
    nothing = {"onnxscript_optimize": False, "onnxoptimizer_optimize": False, "fuse_reshape_operations": False}
    weights = {"type": "OnnxBlockWiseRtnQuantization", "block_size": 32, "accuracy_level": 4}
    eight = {"precision": ["int8", "uint8"], "per_channel": [False, True]}
    fixed = {"reduce_range": False, "quant_preprocess": True}  # seven bits are for processors without VNNI
    static = {
        "data_config": "calibration",
        "calibrate_method": "MinMax",
        "quant_format": "SEARCHABLE_VALUES",
        "activation_type": "SEARCHABLE_VALUES",
    }
    return {
        # of the other exporter's graph the optimizer fuses no attention
        "convert": [{"type": "OnnxConversion", "use_dynamo_exporter": False}],
        "fuse": [{**fuse, "opt_level": 0}, {"type": "OnnxPeepholeOptimizer"}],
        "shrink": [
            {"type": "OnnxPeepholeOptimizer", **nothing},
            {"type": "OnnxFloatToFloat16"},
            {"type": "OnnxDynamicQuantization", **eight, **fixed},
            {"type": "OnnxStaticQuantization", **eight, **fixed, **static},
            {**weights, "bits": 8},
            {**weights, "bits": 4},
        ],
    }


def run_config(teacher: Path, seconds: int, work: Path) -> dict[str, Any]:
    script = str(Path(__file__).resolve())
    axes = {name: {"0": "batch", "1": "tokens"} for name in INPUTS}
    encoder = load_model(teacher, Host(installed=False)).encoder("text").model_config
    one_thread = {"onnx": {"session_options": {"intra_op_num_threads": 1, "inter_op_num_threads": 1}}}

    score = {"task": "multiclass", "num_classes": len(_labels(teacher))}
    accuracy = {
        "name": "validation",
        "type": "accuracy",
        "sub_types": [{"name": "accuracy_score", "priority": 1, "metric_config": score}],
        "data_config": "validation",
        "user_config": {"inference_settings": one_thread},
    }
    latency = {
        "name": "batch_ms",
        "type": "latency",
        "sub_types": [{"name": "p50", "priority": 2, "metric_config": {"warmup_num": 1, "repeat_test_num": 7}}],
        "data_config": "batch",
        "user_config": {"inference_settings": one_thread},
    }
    return {
        "input_model": {
            "type": "PyTorchModel",
            "model_path": str(teacher),
            "model_loader": "load_classifier",
            "model_script": script,
            "dummy_inputs_func": "example",
            "io_config": {
                "input_names": list(INPUTS),
                "output_names": ["logits"],
                "dynamic_axes": axes | {"logits": {"0": "batch"}},
                "dynamic_shapes": axes,
            },
        },
        "systems": {
            "cpu": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "data_configs": [
            {
                "name": name,
                "load_dataset_config": {"type": DATASET, "params": {"kind": name, "teacher": str(teacher)}},
                "pre_process_data_config": {"type": "skip_pre_process"},
                "post_process_data_config": {"type": "text_classification_post_process"},
                "dataloader_config": {"type": "no_auto_batch_dataloader"},
            }
            for name in ("validation", "batch", "calibration")
        ],
        "evaluators": {"meter": {"type": "OnnxEvaluator", "metrics": [accuracy, latency]}},
        "passes": passes(encoder),
        "search_strategy": {
            "execution_order": "joint",
            "sampler": "random",
            "sampler_config": {"seed": compression.SEED},
            "max_time": seconds,
        },
        "evaluator": "meter",
        "evaluate_input_model": False,
        "host": "cpu",
        "target": "cpu",
        "cache_dir": str(work / "cache"),
        "output_dir": str(work / "output"),
        "log_severity_level": 1,
    }


class Failures(logging.Handler):
    """What went wrong in Olive's log, and in which pass."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.running = ""
        self.tried: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the pass that begins, and an error or warning with its exception."""
        message = record.getMessage()
        if message.startswith("Running pass"):
            self.running = message.rpartition(":")[2]
            self.tried[self.running] += 1
        elif record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            cause = error.__cause__ or error
            line = (str(cause).strip().splitlines() or [""])[0]
            self.seen[f"{self.running}: {type(cause).__name__}: {line[:200]}"] += 1


def mend() -> None:
    """Let Olive 0.13 take a model from its cache: it then sets a field by its alias, and every later trial fails."""
    from olive.engine.footprint import FootprintNode

    def update(node: Any, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(node, "model_config_data" if name == "model_config" else name, value)

    FootprintNode.update = update


def search(config: dict[str, Any], failures: Failures) -> Any:
    """Olive's own run; its output has the front."""
    from olive.data.registry import Registry
    from olive.workflows import run

    mend()
    Registry.register_dataset(DATASET)(feeds)
    logging.getLogger("olive").addHandler(failures)
    return run(config, tempdir=config["cache_dir"])


def described(output: Any, model_id: str) -> str:
    """The passes that made a model, with the settings that were searched."""
    titles = {name.lower(): name for name in PASSES}
    nodes, steps = output.footprint.nodes, []
    while nodes[model_id].parent_model_id is not None:
        node = nodes[model_id]
        config = node.pass_run_config or {}
        chosen = [f"{k}={config[k]}" for k in SHOWN if config.get(k) not in (None, "OLIVE_IGNORED_PARAM_VALUE")]
        nothing = node.from_pass.lower() == "onnxpeepholeoptimizer" and not config.get("onnxscript_optimize", True)
        if not nothing:
            name = titles.get(node.from_pass.lower(), node.from_pass)
            steps.append(f"{name}({', '.join(chosen)})" if chosen else name)
        model_id = node.parent_model_id
    return " > ".join(reversed(steps))


# -- judging --------------------------------------------------------------------------------------------------------


def judged(teacher: Path, found: Sequence[Any], names: Sequence[str], ours: Path | None, work: Path) -> Any:
    """A row for the baseline, every model of Olive's front and each of our variants."""
    test = list(problem().test)
    tokenizer_mb = size_mb(teacher / "assets" / "text" / "tokenizer.json")
    model: Any = load_model(teacher, Host(installed=False))
    answers: dict[str, Any] = {BASELINE: compression.sentence_transformers(model, work / "checkpoint")}
    sizes: dict[str, float | None] = {BASELINE: None}
    for name, result in zip(names, found, strict=True):
        answers[name] = Graph(Path(result.model_path), teacher)
        sizes[name] = size_mb(Path(result.model_path).parent) + tokenizer_mb
    for path in sorted(ours.rglob(RUNTIME)) if ours else []:
        session = ExportedModel.load(path.parent, Host(installed=False), threads=1)
        name = f"Triptych: {session.variant}"
        answers[name], sizes[name] = compression.answer_of(session), size_mb(path.parent)
    targets = numbers(teacher, test)
    accuracy = {name: 100 * float((np.asarray(a(test)) == targets).mean()) for name, a in answers.items()}
    random.Random(compression.SEED).shuffle(test)
    speeds = measure_all(answers, test, rounds=compression.ROUNDS, single_requests=60, batches=6)
    return [
        compression._row(name, accuracy[name], accuracy[BASELINE], speed, speeds[BASELINE], sizes[name])
        for name, speed in speeds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="the folder of the trained model")
    parser.add_argument("--ours", type=Path, help="a folder with exported models in it, to be timed beside Olive's")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of Olive's search")
    parser.add_argument("--work", type=Path, help="where Olive's models are kept; by default nowhere")
    given = parser.parse_args()
    if not (given.teacher / "config.json").exists():
        parser.error(
            f"{given.teacher} holds no trained model; compression.py banking77 --work DIR writes DIR/banking77/teacher"
        )
    data = data_folder("text/banking77", "weights")
    os.environ.setdefault("TRIPTYCH_WEIGHTS", str(data / "weights"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary)).resolve()
        failures = Failures()
        with metered() as meter:
            try:
                output = search(run_config(given.teacher.resolve(), given.seconds, work), failures)
            except Exception as error:  # of whatever kind: the comparison ends, and says why
                print(f"Olive cannot search for a front of this classifier: {error!r}", *failures.seen, sep="\n  ")
                return
        found = output.get_output_models()
        if not found:
            print("Olive cannot make a model of this classifier:", *failures.seen, sep="\n  ")
            return
        names = [f"Olive: {described(output, model.model_id)}" for model in found]
        rows = judged(given.teacher.resolve(), found, names, given.ours, work)
        told = [
            {"variant": name, "validation accuracy": values["validation-accuracy_score"]["value"],
             "batch ms": values["batch_ms-p50"]["value"]}
            for name, values in zip(names, (model.metrics_value for model in found), strict=True)
        ]  # fmt: skip
        judged_models = sum(1 for node in output.footprint.nodes.values() if node.metrics)
    tables = {"The front by our meter": rows, "The front by Olive's own measure (validation)": told}
    notes = [
        f"Olive {version('olive-ai')} with onnxruntime {version('onnxruntime')}: search for {meter.seconds:.0f} s "
        f"({meter.cpu_seconds:.0f} CPU-s), a joint random search by accuracy on the validation texts and the p50 of a "
        f"batch of {BATCH}; {judged_models} models judged, {len(found)} on its front.",
        "Runs of each pass: " + ", ".join(f"{name} {count}" for name, count in sorted(failures.tried.items())) + ".",
        "MB of an Olive model is its ONNX file and the tokenizer.",
        f"A batch is {BATCH} mixed requests: Olive's graphs, like sentence-transformers, pad it to its longest text, "
        "Triptych's packs texts behind one another. Single requests compare the graphs, batches what is served with "
        "them.",
        "Olive times each model once and by the wall clock; with other work on the machine that is noise, and its "
        "front is chosen by it. Only the table by our meter, in turns, compares.",
        *LIMITS,
    ]
    notes += [f"Failed {count} times: {what}" for what, count in failures.seen.most_common()]
    save("compression_olive", "Compression: Microsoft Olive's front on Banking77", tables,
         seed=compression.SEED, notes=notes)  # fmt: skip


if __name__ == "__main__":
    if importlib.util.find_spec("olive") is None:
        print("skipped: Olive is not importable here; pip install olive-ai (and Triptych) into an environment")
        sys.exit(0)
    main()
