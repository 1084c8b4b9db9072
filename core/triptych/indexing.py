"""The indexes of a bundle: training examples in the fused space, documents in every space they can be found in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triptych.config import RetrievalConfig
from triptych.errors import DataError
from triptych.retrieval.index import VectorIndex
from triptych.runtime.session import TorchSession
from triptych.types import Document, Sample

EXAMPLES, DOCUMENTS = "index/examples", "index/documents"  # directories in a bundle; documents-SPACE
FUSED = "fused"


def write_examples(
    bundle: Path, samples: Sequence[Sample], embeddings: np.ndarray[Any, Any], settings: RetrievalConfig
) -> None:
    """Index training samples by their fused embeddings, float32 [samples, dim]; target and text go along."""
    index = VectorIndex(embeddings.shape[1], metric=settings.metric, flat_below=settings.flat_below)
    metadata = [{"target": s.target, "text": s.text if isinstance(s.text, str) else ""} for s in samples]
    index.add([s.id for s in samples], embeddings, metadata)
    index.save(bundle / EXAMPLES)


def write_documents(
    bundle: Path, documents: Sequence[Document], session: TorchSession, settings: RetrievalConfig
) -> None:
    """Index documents in the fused space, and by each encoder whose modality all of them have.

    Raises `DataError` for a document that the model can make nothing of.
    """
    samples = [document.sample.only(session.modalities) for document in documents]
    mute = [sample.id for sample in samples if not sample.modalities]
    if mute:
        raise DataError(f"documents with nothing that the model can encode: {', '.join(mute[:5])}")
    features = session.features(samples)
    spaces = {FUSED: session.embed(features)}
    for column, modality in enumerate(session.modalities):
        if bool(features.mask[:, column].all()):
            spaces[modality] = features.vectors[modality].numpy()
    for space, vectors in spaces.items():
        index = VectorIndex(vectors.shape[1], metric=settings.metric, flat_below=settings.flat_below)
        index.add([s.id for s in samples], vectors, [dict(document.metadata) for document in documents])
        index.save(bundle / f"{DOCUMENTS}-{space}")
