"""A transformer that reads a history in order and guesses the next item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError, DataError
from triptych_recommendation.data.interactions import History, Interactions
from triptych_recommendation.models.base import (
    Latest,
    Report,
    Rescore,
    Told,
    UserModel,
    best,
    read_model,
    silent,
    write_model,
)
from triptych_recommendation.models.sequence_batches import Corpus
from triptych_recommendation.models.sequence_inference import Reader
from triptych_recommendation.models.sequence_settings import SequenceSettings
from triptych_recommendation.models.sequence_table import Table

MOST = np.float32(80)  # of a logit: its exponential is still a float32


class SequenceModel(UserModel):
    """SASRec (Kang and McAuley 2018), trained with a softmax over all items or a drawn part of them.

    It is trained by torch and asked by NumPy. A score is log(1 + exp(z - c)), where z is the inner product of what is
    looked for next with the item, and c is such that exp(z - c) is about how many times more probable the item is than
    one drawn evenly: 0 or more, rising with z. Times and weights of events do not count, only their order; the same
    item several times in a row is read as once. A history without any known item is answered with what users choose
    first.
    """

    name: ClassVar[str] = "sequence"

    def __init__(self, reader: Reader, centre: float) -> None:
        self.reader, self.centre = reader, centre
        self.items = reader.items
        self._read = Latest(lambda history: (reader.read(history.items), Told()))

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: SequenceSettings,
        *,
        seed: int,
        vectors: NDArray[np.float32] | None = None,
        progress: Report = silent,
    ) -> Self:
        """Train until the last items of up to 500 users, which are held out for that, no longer come out better.

        Raises `DataError` for no events, `ValueError` for vectors of another number of items.
        """
        from triptych.device import choose_device
        from triptych_recommendation.models.sequence_training import train

        if not len(interactions):
            raise DataError("there are no events to learn sequences from")
        if vectors is not None and len(vectors) != len(interactions.items):
            raise ValueError(f"{len(vectors)} content vectors for {len(interactions.items)} items")
        rng = np.random.default_rng(seed)
        corpus = Corpus.of(interactions, rng)
        reader, _ = train(corpus, settings, vectors, choose_device(), rng, progress)
        if settings.precision == "int8":
            reader = reader.quantized()
        return cls(reader, _centre(reader, interactions))

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Float32 [histories, items]; see the class for what a score is."""
        logits = self.reader.table.products(self.reader.guesses([history.items for history in histories]))
        return self._score(logits)

    def score(self, history: History, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """Float32 [rows]; rows that the model does not know score 0. No other item is looked at."""
        reading, told = self._read(history)

        def compute(rows: NDArray[np.int32]) -> NDArray[np.float32]:
            known = (rows >= 0) & (rows < self.items)
            found = np.zeros(len(rows), dtype=np.float32)
            found[known] = self._score(self.reader.table.rows(rows[known]) @ reading.guess)
            return found

        return told(rows, compute)

    def rescorer(self, history: History, rows: NDArray[np.int32]) -> Rescore:
        """See the base; the parts are read together, and what the whole begins with is not read again."""
        known = (rows >= 0) & (rows < self.items)
        vectors, (reading, _) = self.reader.table.rows(rows[known]), self._read(history)

        def rescore(kept: NDArray[np.bool_]) -> NDArray[np.float32]:
            found = np.zeros((len(kept), len(rows)), dtype=np.float32)
            found[:, known] = self._score(self.reader.parts(reading, kept) @ vectors.T)
            return found

        return rescore

    def candidates(self, history: History, k: int) -> NDArray[np.int32]:
        """The k rows with the highest inner products: these rise with the scores, and all scores are above 0."""
        reading, told = self._read(history)
        rows, logits = self.reader.table.largest(reading.guess, k)
        if len(rows) < self.items:
            told.add(rows, self._score(logits))
        return rows[best(logits - (logits.min(initial=0) - 1), k)]

    def _score(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.log1p(np.exp(np.minimum(logits - np.float32(self.centre), MOST)))
        return found

    def save(self, directory: Path) -> None:
        """Write the table and the weights: all float32, or an int8 table with a scale for each row and float16."""
        table = self.reader.table
        kept = np.float32 if table.scales is None else np.float16
        tensors: dict[str, NDArray[Any]] = {name: weight.astype(kept) for name, weight in self.reader.weights.items()}
        tensors["table"] = table.values
        if table.scales is not None:
            tensors["scales"] = table.scales
        write_model(directory, self, {"heads": self.reader.heads, "centre": self.centre}, tensors)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """What `save` wrote. Raises `BundleError`."""
        meta, tensors = read_model(directory, cls.name)
        try:
            table = Table(tensors.pop("table"), tensors.pop("scales", None))
            weights = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
            found = cls(Reader(table, weights, int(meta["heads"])), float(meta["centre"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{directory} holds no sequence model ({error!r}); fit it again") from error
        if found.items != meta["items"]:
            raise BundleError(f"{directory} names {meta['items']} items and holds {found.items}; fit it again")
        return found


def _centre(reader: Reader, interactions: Interactions) -> float:
    """The log of the mean of exp(z) over all items, on average over some histories."""
    users = np.linspace(0, len(interactions.users) - 1, min(100, len(interactions.users))).astype(int)
    logits = reader.table.products(reader.guesses([interactions.history(int(user)).items for user in users]))
    most = logits.max(axis=1, keepdims=True)
    return float(np.mean(most[:, 0] + np.log(np.exp(logits - most).mean(axis=1))))
