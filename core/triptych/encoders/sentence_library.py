"""Sentence models with modules of their own (static embeddings, CLIP text towers, ...), run by the library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder
from triptych.encoders.hashing import as_text


class LibrarySentenceEncoder(Encoder):
    """A `SentenceTransformer`, whose saved folder is the asset. Its weights are in the asset and in the model file."""

    modality = "text"

    def __init__(self, body: nn.Module, settings: dict[str, Any]) -> None:
        super().__init__()
        self.body = body
        self._settings = settings
        self.name = f"sentence:{settings['model']}"
        self.dim = int(body.get_embedding_dimension())  # type: ignore[operator]
        self.pretrained = True

    @classmethod
    def create(cls, model: str = "", **options: Any) -> Self:
        """Use `SentenceEncoder.create`, which comes here where it must."""
        from triptych.encoders.sentence import SentenceEncoder

        return SentenceEncoder.create(model, **options)  # type: ignore[return-value]

    @classmethod
    def open(cls, folder: Path, model: str, max_length: int | None) -> Self:
        """The model in `folder`."""
        body = _library_model(folder)
        if max_length is not None:
            body.max_seq_length = max_length  # type: ignore[assignment]
        return cls(body, {"model": model, "library": True})

    @classmethod
    def reopen(cls, settings: dict[str, Any], assets: Path) -> Self:
        """The model as `save_assets` left it."""
        return cls(_library_model(assets), settings)

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """The model as `save_assets` left it."""
        return cls.reopen(settings, assets)

    def save_assets(self, directory: Path) -> None:
        """The library's own folder, as safetensors."""
        self.body.save(str(directory), create_model_card=False, safe_serialization=True)  # type: ignore[operator]

    @property
    def settings(self) -> dict[str, Any]:
        """`model`, and `library` to tell it from a model that is rebuilt without the library."""
        return dict(self._settings)

    def prepare(self, values: Sequence[Any]) -> Batch:
        """What the model's own tokenizer makes of the texts; `rows` says how many there are."""
        features = self.body.preprocess([as_text(v) for v in values])  # type: ignore[operator]
        batch = {k: v for k, v in features.items() if isinstance(v, Tensor)}
        return {**batch, "rows": torch.ones(len(values), dtype=torch.int64)}

    def costs(self, values: Sequence[Any]) -> list[int]:
        """Characters in each text."""
        return [len(as_text(value)) for value in values]

    def forward(self, batch: Batch) -> Tensor:
        """[batch, dim]."""
        vectors: Tensor = self.body({k: v for k, v in batch.items() if k != "rows"})["sentence_embedding"]
        return vectors


def _library_model(folder: Path) -> nn.Module:
    from sentence_transformers import SentenceTransformer  # many seconds: only for a model that needs it

    model: nn.Module = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return model
