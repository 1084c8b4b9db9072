"""Text by a table look-up and a sum (`static:text`): rows of words and of pairs of words, and two small layers.

A transformer's sentence vector can be had from a table of word vectors at a hundredth of its cost where words matter
more than their order. Pairs of words bring back some order, and a hidden layer lets words change what others mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder
from triptych.encoders.hashing import as_text
from triptych.encoders.options import refuse_unknown
from triptych.encoders.units import PADDING, Vocabulary
from triptych.errors import ConfigError

VOCABULARY = "vocabulary.json"
OPTIONS = ("dim", "table", "hidden", "buckets", "rows", "dropout", "normalize")


class StaticTextEncoder(Encoder):
    """The sum of a text's rows [table], layer norm, a hidden layer [hidden] and a linear one to [dim].

    `settings` has those sizes, `buckets` (rows for spellings of unknown words), `rows` (most words and pairs that
    `fit` may take), `dropout`, and `normalize`: whether vectors get unit length.
    """

    modality = "text"

    def __init__(self, settings: dict[str, Any], vocabulary: Vocabulary) -> None:
        super().__init__()
        self.name = "static:text"
        self._settings = dict(settings)
        self.dim: int = settings["dim"]
        self.norm = nn.LayerNorm(settings["table"])
        self.hidden = nn.Linear(settings["table"], settings["hidden"])
        self.output = nn.Linear(settings["hidden"], self.dim)
        self.dropout = nn.Dropout(settings["dropout"])
        self._take(vocabulary)

    @classmethod
    def create(
        cls,
        model: str = "",
        *,
        dim: int = 256,
        table: int = 256,
        hidden: int = 256,
        buckets: int = 1024,
        rows: int = 8_000,
        dropout: float = 0.2,
        normalize: bool = False,
        **unknown: Any,
    ) -> Self:
        """An encoder without words, which `fit` finds. Raises `ConfigError` for options that make no table."""
        refuse_unknown("static:text", unknown, OPTIONS)
        if min(dim, table, hidden, buckets, rows) < 1 or not 0 <= dropout < 1:
            raise ConfigError("[encoders.text] static:text needs sizes of at least 1 and 0 <= dropout < 1")
        settings = {"dim": dim, "table": table, "hidden": hidden, "buckets": buckets, "rows": rows}
        return cls({**settings, "dropout": dropout, "normalize": normalize}, Vocabulary([], [], buckets))

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """From `settings` and the saved vocabulary."""
        saved = json.loads((assets / VOCABULARY).read_text(encoding="utf-8"))
        return cls(settings, Vocabulary(saved["words"], saved["pairs"], settings["buckets"]))

    def save_assets(self, directory: Path) -> None:
        """The vocabulary."""
        content = {"words": self.vocabulary.words, "pairs": self.vocabulary.pairs}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (directory / VOCABULARY).write_text(text, encoding="utf-8")

    @property
    def settings(self) -> dict[str, Any]:
        """See the class."""
        return dict(self._settings)

    def fit(self, values: Sequence[Any]) -> None:
        """Take the frequent words and pairs of the training texts, unless there is a vocabulary already."""
        if not self.vocabulary.words:
            self._take(Vocabulary.learn(values, rows=self._settings["rows"], buckets=self._settings["buckets"]))

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Texts to `rows`, int64 [batch, most units of a text], padded with zeros."""
        found = [torch.tensor(self.vocabulary.look_up(value)) for value in values]
        rows = nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=PADDING) if found else torch.zeros(0, 1)
        return {"rows": rows.long()}

    def costs(self, values: Sequence[Any]) -> list[int]:
        """Characters in each text."""
        return [len(as_text(value)) for value in values]

    def forward(self, batch: Batch) -> Tensor:
        """[batch, dim]."""
        return self.layers(self.table(batch["rows"]))

    def layers(self, sums: Tensor) -> Tensor:
        """Sums of rows [batch, table] to vectors [batch, dim]."""
        inner = F.gelu(self.hidden(self.dropout(self.norm(sums))), approximate="tanh")
        vectors: Tensor = self.output(self.dropout(inner))
        return F.normalize(vectors, dim=-1) if self._settings["normalize"] else vectors

    def _take(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.table = nn.EmbeddingBag(vocabulary.rows, self._settings["table"], mode="sum", padding_idx=PADDING)
        nn.init.normal_(self.table.weight, std=0.02)
        with torch.no_grad():
            self.table.weight[PADDING] = 0.0
