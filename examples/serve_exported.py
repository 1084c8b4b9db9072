"""Labels and logits of texts from an exported text classifier, without Triptych and without torch.

    python serve_exported.py DIRECTORY "first text" "second text"
    python serve_exported.py DIRECTORY < texts.txt

DIRECTORY holds `runtime.json`, as `variants/NAME` in the newest version of a bundle does. One line for each text is
printed: the label, a tab, and the logits in the order of the labels, as JSON.

It needs numpy, onnxruntime, tokenizers and safetensors, and can be copied into any program.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file
from tokenizers import Tokenizer


class Classifier:
    """An exported model whose only modality is text, read by a transformer."""

    def __init__(self, directory: Path) -> None:
        about = json.loads((directory / "runtime.json").read_text(encoding="utf-8"))
        text = about["modalities"].get("text", {})
        if list(about["modalities"]) != ["text"] or text["runner"] != "packed-text" or text["settings"]["lexical"]:
            raise SystemExit(f"{directory} is no transformer for texts alone; let Triptych answer with it")
        self.labels = about["head"]["labels"]
        self.tokenizer = Tokenizer.from_file(str(directory / "text" / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(text["settings"]["max_length"])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        graph = str(directory / "text" / "graph.onnx")
        self.graph = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        head = load_file(directory / "head.safetensors")
        self.weight, self.bias = head["weight"], head["bias"]  # [labels, dim] and [labels]

    def logits(self, text: str) -> np.ndarray:
        """One number for each label, float32 [labels]."""
        ids = np.array([self.tokenizer.encode(text).ids], dtype=np.int64)
        tokens = {
            "input_ids": ids,  # [1, tokens]
            "positions": np.arange(ids.shape[1], dtype=np.int64)[None],  # they count from 0 in each text
            "segments": np.ones_like(ids),  # all tokens belong to text 1
            "texts": np.array([1], dtype=np.int64),
        }
        (vectors,) = self.graph.run(["vectors"], tokens)  # [1, dim]
        return vectors[0] @ self.weight.T + self.bias


def main(arguments: list[str]) -> None:
    """Answer the texts of the arguments, or of standard input, one a line."""
    if not arguments:
        raise SystemExit("usage: serve_exported.py DIRECTORY [TEXT ...]")
    classifier = Classifier(Path(arguments[0]))
    for text in arguments[1:] or (line.rstrip("\n") for line in sys.stdin):
        logits = classifier.logits(text)
        print(classifier.labels[int(logits.argmax())], json.dumps([round(float(x), 5) for x in logits]), sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:])
