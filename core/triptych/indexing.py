"""The indexes of a model's space: training examples in the fused space, documents in every space they are found in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from triptych.config import RetrievalConfig
from triptych.errors import DataError
from triptych.retrieval.index import VectorIndex
from triptych.runtime.base import Encoded, SpaceSession
from triptych.types import Document, Sample

EXAMPLES, DOCUMENTS = "index/examples", "index/documents"  # directories in a session's home; documents-SPACE
FUSED = "fused"
EXTENSION = "vertical"  # directory of a bundle with the files of the vertical's own


def write_examples(
    home: Path,
    samples: Sequence[Sample],
    session: SpaceSession,
    settings: RetrievalConfig,
    *,
    encoded: Encoded | None = None,
) -> None:
    """Index training samples by their fused embeddings; target and text go along.

    `encoded` is what `session.encode` gives of the samples, where that is at hand.
    """
    embeddings = session.fuse(session.encode(samples) if encoded is None else encoded).embedding
    index = VectorIndex(embeddings.shape[1], metric=settings.metric, flat_below=settings.flat_below)
    metadata = [{"target": s.target, "text": s.text if isinstance(s.text, str) else ""} for s in samples]
    index.add([s.id for s in samples], embeddings, metadata)
    index.save(home / EXAMPLES)


def write_documents(
    home: Path, documents: Sequence[Document], session: SpaceSession, settings: RetrievalConfig
) -> None:
    """Index documents in the fused space, and by each encoder whose modality all of them have.

    Raises `DataError` for a document that the model can make nothing of.
    """
    samples = [document.sample.only(session.modalities) for document in documents]
    mute = [sample.id for sample in samples if not sample.modalities]
    if mute:
        raise DataError(f"documents with nothing that the model can encode: {', '.join(mute[:5])}")
    encoded = session.encode(samples)
    spaces = {FUSED: session.fuse(encoded).embedding}
    for column, modality in enumerate(session.modalities):
        if encoded.mask[:, column].all():
            spaces[modality] = encoded.vectors[modality]
    for space, vectors in spaces.items():
        index = VectorIndex(vectors.shape[1], metric=settings.metric, flat_below=settings.flat_below)
        index.add([s.id for s in samples], vectors, [dict(document.metadata) for document in documents])
        index.save(home / f"{DOCUMENTS}-{space}")
