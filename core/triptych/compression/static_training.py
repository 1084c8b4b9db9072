"""How a static text encoder learns: the teacher's answers and vectors, on texts, misspelt texts and crossed texts.

A teacher is sure of the texts it was trained on; two texts crossed at a word they share it has never seen, and there
its answers tell more. They cost one forward pass of the teacher each.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.compression.base import CompressionContext
from triptych.compression.distil import answer_loss, vector_loss
from triptych.compression.quality import quality
from triptych.encoders.hashing import LONGEST
from triptych.encoders.static_text import StaticTextEncoder
from triptych.encoders.units import IDEOGRAPH, Vocabulary, split_words
from triptych.models.multimodal import Features, MultimodalModel
from triptych.tuning.base import Progress
from triptych.tuning.loop import LARGEST_GRADIENT, drop_modalities, schedule
from triptych.types import Modality

VIEWS = 220_000
"""Texts seen in a full recovery."""
MOST_EPOCHS = 40
MOST_CROSSED = 10_000
BATCH = 64
RATE, DECAY, WARMUP = 2e-3, 0.01, 0.1
TRUTH, LIKENESS = 0.3, 0.5
"""Weights of the true targets and of the distance between vectors, beside the teacher's answers."""
DROPPED, MISSPELT = 0.15, 0.05
"""Chances that a word is left out, and that it is read by its spelling alone."""
HIDDEN = 0.3
"""Chance that a part of a sample with several is hidden."""
LONGEST_CROSSED = 400
"""Characters of a text made of two: the teacher's time grows with them."""

Numbers = NDArray[np.int64]
_PIECE = re.compile(rf"{IDEOGRAPH.pattern}|\S+")


def teach(model: MultimodalModel, context: CompressionContext) -> list[str]:
    """Train the static text encoder of `model`, its projections, fusion and head, in place; returns notes.

    Other encoders stay as they are. The weights kept are those that do best on validation data. On the CPU.
    """
    encoder = model.encoder("text")
    assert isinstance(encoder, StaticTextEncoder)
    lessons = _lessons(model, context)
    if not len(lessons.texts):
        return ["no training text: nothing learnt"]
    learnt = [*encoder.parameters(), *(p for n, p in model.named_parameters() if not n.startswith("encoders."))]
    table = encoder.table.weight
    groups: list[dict[str, Any]] = [
        {"params": [table], "lr": RATE, "weight_decay": 0.0},
        {"params": [p for p in learnt if p is not table], "lr": RATE, "weight_decay": DECAY},
    ]
    optimizer = torch.optim.AdamW(groups, fused=True)
    views = max(1, round(VIEWS * context.effort))
    epochs = max(1, min(round(MOST_EPOCHS * context.effort), round(views / len(lessons.texts))))
    size = min(len(lessons.texts), views)
    steps = epochs * -(-size // BATCH)
    best = _Best(model, context)
    begun = best.look()
    chance = np.random.default_rng(context.seed)
    units = Units(encoder.vocabulary, lessons.texts)
    done = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        for epoch in range(epochs):
            model.train()
            seen = units.disturbed(chance)
            for rows in np.split(chance.permutation(len(lessons.texts))[:size], range(BATCH, size, BATCH)):
                for group in optimizer.param_groups:
                    group["lr"] = RATE * schedule(done, steps, WARMUP)
                done += 1
                loss = lessons.loss(model, *seen.take(rows), torch.from_numpy(rows))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(learnt, LARGEST_GRADIENT)
                optimizer.step()
            found = best.look()
            context.progress(Progress("static", epoch + 1, epochs, f"quality {found:.4f}"))
    best.restore()
    note = f"{epochs} rounds of {size:,} texts, {lessons.crossed:,} of which were crossed from two"
    return [f"{note}: quality {begun:.4f} -> {best.value:.4f}" if len(context.validation) else note]


def crossed(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Up to `count` texts that begin as one text and go on, from a word both have, as another."""
    chance = random.Random(seed)
    pieces = [[(p.start(), p.group().casefold()) for p in _PIECE.finditer(text[:LONGEST])] for text in texts]
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, found in enumerate(pieces):
        for start, word in found:
            places[word].append((number, start))
    long = [number for number, found in enumerate(pieces) if len(found) > 2]
    made: dict[str, None] = {}
    known = set(texts)
    for _ in range(10 * count if long else 0):
        if len(made) == count:
            break
        first = chance.choice(long)
        start, word = chance.choice(pieces[first][1:-1])
        second, going_on = chance.choice(places[word])
        text = texts[first][:start] + texts[second][going_on:]
        if second != first and text not in known and len(text) <= LONGEST_CROSSED:
            made[text] = None
    return list(made)


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """The rows of many texts behind one another; those of text i begin at `starts[i]` and end at `starts[i + 1]`."""

    rows: Numbers
    starts: Numbers

    def take(self, texts: Numbers) -> tuple[Tensor, Tensor]:
        """The rows of some texts, and where each of them begins: int64 both."""
        lengths = self.starts[texts + 1] - self.starts[texts]
        offsets = np.cumsum(lengths) - lengths
        places = np.repeat(self.starts[texts] - offsets, lengths) + np.arange(int(lengths.sum()))
        return torch.from_numpy(self.rows[places]), torch.from_numpy(offsets)


class Units:
    """The units of texts with the words they come from, so that words can be left out and misspelt in no time.

    A unit counts where both `first` and `last` (numbers of words, over all texts) are read as they are. Spellings of
    known words (`spelt`) count only where the word is misspelt.
    """

    def __init__(self, vocabulary: Vocabulary, texts: Sequence[str]) -> None:
        rows, first, last, spelt, starts = [], [], [], [], [0]
        self.words = 0
        for text in texts:
            before = 0
            for word in split_words(text[:LONGEST]):
                row = vocabulary.word(word)
                known = [] if row is None else [row]
                both = vocabulary.pair(before, row) if row is not None and before else None
                spelling = vocabulary.spell(word)
                rows += [*known, *spelling]
                first += [self.words] * (len(known) + len(spelling))
                last += [self.words] * (len(known) + len(spelling))
                spelt += [False] * len(known) + [row is not None] * len(spelling)
                if both is not None:
                    rows.append(both)
                    first.append(self.words - 1)
                    last.append(self.words)
                    spelt.append(False)
                before = row or 0
                self.words += 1
            starts.append(len(rows))
        self.rows, self.starts = np.array(rows, dtype=np.int64), np.array(starts)
        self.first, self.last = np.array(first, dtype=np.int64), np.array(last, dtype=np.int64)
        self.spelt = np.array(spelt, dtype=bool)

    def disturbed(self, chance: np.random.Generator) -> Bags:
        """All texts with some words left out and some misspelt."""
        luck = chance.random(self.words)
        misspelt = luck < MISSPELT
        read = luck >= MISSPELT + DROPPED
        kept = np.where(self.spelt, misspelt[self.first], read[self.first] & read[self.last])
        return Bags(self.rows[kept], np.concatenate([[0], np.cumsum(kept)])[self.starts])


@dataclass(frozen=True, slots=True, eq=False)
class _Lessons:
    """Texts with the rest of their samples, and what the teacher says: the labelled ones, then those without a label.

    Crossed texts stand last and alone.

    `others` are the student's vectors of its other modalities, `taught` the teacher's of all of its own.
    """

    texts: list[str]
    crossed: int
    teacher: MultimodalModel
    taught: Features
    others: dict[Modality, Tensor]
    mask: Tensor  # bool [texts, the student's modalities]
    targets: Tensor

    def loss(self, model: MultimodalModel, rows: Tensor, offsets: Tensor, chosen: Tensor) -> Tensor:
        """How far the student is from the teacher on the texts `chosen`, whose table rows are given; a scalar."""
        encoder = model.encoder("text")
        assert isinstance(encoder, StaticTextEncoder)
        text = encoder.layers(nn.functional.embedding_bag(rows, encoder.table.weight, offsets, mode="sum"))
        vectors = {m: text if m == "text" else self.others[m][chosen] for m in model.modalities}
        keep = drop_modalities(self.mask[chosen], HIDDEN)
        output = model.fuse(Features(vectors, keep))
        taught = self.taught.rows(chosen)
        with torch.no_grad():
            mask = torch.zeros_like(taught.mask)
            mask[:, [self.teacher.modalities.index(m) for m in model.modalities]] = keep
            wanted = self.teacher.fuse(Features(taught.vectors, mask).to(self.teacher.device)).logits.cpu()
        loss = answer_loss(model.head.kind, output.logits, wanted)
        true = chosen < len(self.targets)
        if bool(true.any()) and model.head.kind != "embedding":
            loss = loss + TRUTH * model.head.loss(output.logits[true], self.targets[chosen[true]])
        if taught.vectors["text"].shape == text.shape:
            loss = loss + LIKENESS * vector_loss(text, taught.vectors["text"])
        return loss


def _lessons(model: MultimodalModel, context: CompressionContext) -> _Lessons:
    teacher, taught = context.teacher.model, context.teacher.train
    with_text = taught.mask[:, teacher.modalities.index("text")].nonzero().flatten()
    samples = [context.train[i] for i in with_text.tolist()]
    texts = [s.text for s in samples]
    labelled = with_text < len(context.train_targets)
    own_texts = texts[: int(labelled.sum())]  # what was labelled is most like what will be asked
    extra = crossed(own_texts, round(min(len(own_texts), MOST_CROSSED) * context.effort), context.seed)
    made = teacher.encoder("text").encode(extra)

    def lengthened(vectors: Tensor) -> Tensor:
        return torch.cat([vectors, torch.zeros(len(extra), vectors.shape[1], dtype=vectors.dtype)])

    taught = taught.rows(with_text)
    vectors = {m: torch.cat([v, made]) if m == "text" else lengthened(v) for m, v in taught.vectors.items()}
    mask = lengthened(taught.mask)
    mask[len(texts) :, teacher.modalities.index("text")] = True
    others: dict[Modality, Tensor] = {}
    for m in model.modalities:
        if m == "text":
            continue
        same = model.encoder(m).fingerprint == teacher.encoder(m).fingerprint
        others[m] = vectors[m] if same else lengthened(_encoded(model, m, [s.value(m) for s in samples]))
    own = mask[:, [teacher.modalities.index(m) for m in model.modalities]]
    targets = context.train_targets[with_text[labelled]]
    return _Lessons(texts + extra, len(extra), teacher, Features(vectors, mask), others, own, targets)


def _encoded(model: MultimodalModel, m: Modality, values: Sequence[Any]) -> Tensor:
    present = [i for i, value in enumerate(values) if value is not None]
    vectors = torch.zeros(len(values), model.encoder(m).dim)
    vectors[present] = model.encoder(m).encode([values[i] for i in present])
    return vectors


class _Best:
    """The weights that did best on validation data; without any, the latest."""

    def __init__(self, model: MultimodalModel, context: CompressionContext) -> None:
        self.model = model
        self.targets = context.validation_targets
        self.samples = context.validation
        self.value = -np.inf
        self._rank = (-np.inf, -np.inf)
        self._weights: dict[str, Tensor] = {}
        self._others = self._fixed()

    def look(self) -> float:
        """The quality now; the weights are kept where nothing was better before."""
        self.model.eval()
        value, rank = self._judge() if len(self.samples) else (0.0, (0.0, 0.0))
        if rank >= self._rank:
            self.value, self._rank = value, rank
            self._weights = {k: v.clone() for k, v in self.model.state_dict().items() if self._learns(k)}
        return value

    def restore(self) -> None:
        """Put them back, in evaluation mode."""
        self.model.load_state_dict(self._weights, strict=False)
        self.model.eval()

    @torch.no_grad()
    def _judge(self) -> tuple[float, tuple[float, float]]:
        """The quality with everything present; of equals, the lower loss is better.

        Text alone counts as much where there is more: a fusion may hide that the table says little.
        """
        vectors = {**self._others.vectors, "text": self._texts()}
        features = Features({m: vectors[m] for m in self.model.modalities}, self._others.mask)
        value = ranked = quality(self.model, features, self.targets)
        alone = features.only(["text"])
        some = alone.mask.any(dim=1)
        if self.model.fusion is not None and int(some.sum()) > 1:
            ranked += quality(self.model, alone.rows(some), self.targets[some])
        loss = float(self.model.head.loss(self.model.fuse(features).logits, self.targets))
        return value, (ranked, -loss)

    def _texts(self) -> Tensor:
        return _encoded(self.model, "text", [s.text for s in self.samples])

    @torch.no_grad()
    def _fixed(self) -> Features:
        """Vectors of the encoders that do not learn."""
        vectors: dict[Modality, Tensor] = {}
        for m in self.model.modalities:
            if m != "text":
                vectors[m] = _encoded(self.model, m, [s.value(m) for s in self.samples])
        mask = [[s.value(m) is not None for m in self.model.modalities] for s in self.samples]
        return Features(vectors, torch.tensor(mask, dtype=torch.bool).reshape(-1, len(self.model.modalities)))

    def _learns(self, name: str) -> bool:
        return name.startswith("encoders.text.") or not name.startswith("encoders.")
