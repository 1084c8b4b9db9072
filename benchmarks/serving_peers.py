"""The servers that `serving.py` is compared with: what a tutorial does with FastAPI, and LitServe with batches.

    python benchmarks/serving_peers.py naive|litserve BUNDLE PORT

Both answer with the very encoder and head that the bundle was trained with, through a transformers pipeline.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Classify = Callable[[Sequence[str]], list[dict[str, Any]]]


def classifier(bundle: Path) -> Classify:
    """A feature-extraction pipeline, the mean of its tokens at length one, and the trained head."""
    import numpy as np
    from transformers import pipeline

    from serving_plugin import MODEL
    from triptych.encoders.checkpoint import find_checkpoint
    from triptych.host import default_host
    from triptych.models.build import load_model

    model = load_model(bundle / "model", default_host())
    head, encoder = model.head, model.encoder("text")
    weight, bias = head.linear.weight.detach().numpy(), head.linear.bias.detach().numpy()
    with tempfile.TemporaryDirectory() as folder:  # the fine-tuned encoder beside its tokenizer
        shutil.copytree(find_checkpoint(MODEL), folder, dirs_exist_ok=True)
        encoder.backbone.save_pretrained(folder)
        encode = pipeline("feature-extraction", model=folder, device="cpu")

    def classify(texts: Sequence[str]) -> list[dict[str, Any]]:
        found = []
        for tokens in encode(list(texts), batch_size=len(texts)):
            vector = np.asarray(tokens[0], dtype=np.float32).mean(axis=0)
            logits = weight @ (vector / np.linalg.norm(vector)) + bias
            shares = np.exp(logits - logits.max())
            best = int(shares.argmax())
            found.append({"answer": head.labels[best], "confidence": float(shares[best] / shares.sum())})
        return found

    return classify


def naive(bundle: Path, port: int) -> None:
    """One function of FastAPI that answers one message."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Message(BaseModel):
        text: str

    classify = classifier(bundle)
    app = FastAPI()

    def answer(message: Message) -> dict[str, Any]:
        return classify([message.text])[0]

    answer.__annotations__["message"] = Message  # it is local, and annotations are strings in this file
    app.post("/answer")(answer)
    uvicorn.run(app, port=port, log_level="warning")


def litserve(bundle: Path, port: int) -> None:
    """LitServe, with batches. Raises `ImportError` where it is not installed."""
    import serving_litserve

    serving_litserve.run(bundle, port)


if __name__ == "__main__":
    command_line = argparse.ArgumentParser(description=__doc__)
    command_line.add_argument("server", choices=["naive", "litserve"])
    command_line.add_argument("bundle", type=Path, help="a version directory")
    command_line.add_argument("port", type=int)
    chosen = command_line.parse_args()
    try:
        (naive if chosen.server == "naive" else litserve)(chosen.bundle, chosen.port)
    except ImportError as missing:
        print(json.dumps({"missing": str(missing)}))
        raise SystemExit(3) from missing
