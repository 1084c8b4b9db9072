"""The transformer as torch trains it, and its loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych_recommendation.models.sequence_inference import WIDTH
from triptych_recommendation.models.sequence_settings import SequenceSettings

CHUNK = 256  # positions whose scores are computed at a time: they stay in the processor's cache
STORE = 1 << 16  # at least so many random numbers that dropout cuts its masks from


class Dropout:
    """Dropout whose masks are cut from a store of random numbers, each at a random place.

    On a CPU drawing a mask takes longer than the layer that it is for. `renew` draws the store again.
    """

    def __init__(self, rate: float, device: torch.device, rng: np.random.Generator) -> None:
        self.rate, self.device, self.rng = rate, device, rng
        self.renew(1)

    def renew(self, least: int) -> None:
        """Draw the store, with room for masks of at least that many numbers."""
        kept = self.rng.random(max(STORE, 2 * least), dtype=np.float32) >= self.rate
        self.store = torch.from_numpy(kept.astype(np.float32) / (1 - self.rate)).to(self.device)

    def __call__(self, x: Tensor) -> Tensor:
        """The same shape, some numbers 0 and the others larger."""
        if not self.rate:
            return x
        start = int(self.rng.integers(0, len(self.store) - x.numel() + 1))
        return x * self.store[start : start + x.numel()].view_as(x)


class Layer(nn.Module):
    """Causal self-attention and two dense layers, each after a layer norm and added to what came in."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_dense = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.read, self.write = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.inner, self.outer = nn.Linear(dim, WIDTH * dim), nn.Linear(WIDTH * dim, dim)

    def forward(self, x: Tensor, mask: Tensor, drop: Dropout) -> Tensor:
        """Float32 [rows, length, dim] from the same; mask is bool [rows, 1, length, length], true: may be read."""
        rows, length, dim = x.shape
        parts = self.read(self.norm_attention(x)).view(rows, length, 3, self.heads, dim // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + drop(self.write(seen.transpose(1, 2).reshape(rows, length, dim)))
        return x + drop(self.outer(drop(F.relu(self.inner(self.norm_dense(x))))))


class Network(nn.Module):
    """SASRec (Kang and McAuley 2018) with layer norms before the layers, over items that may have content vectors.

    An item's vector is its own row of a table plus a linear map of its content vector; it is both what is read and
    what is guessed.
    """

    vectors: Tensor

    def __init__(self, items: int, settings: SequenceSettings, vectors: NDArray[np.float32] | None) -> None:
        super().__init__()
        dim = settings.dim
        self.items = items
        self.table = nn.Parameter(torch.empty(items + 1, dim))  # the last row is the start of a history
        self.place = nn.Parameter(torch.empty(settings.length, dim))
        self.layers = nn.ModuleList(Layer(dim, settings.heads) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(dim)
        self.content = None if vectors is None else nn.Linear(vectors.shape[1], dim, bias=False)
        if vectors is not None:
            self.register_buffer("vectors", torch.from_numpy(np.pad(vectors, ((0, 1), (0, 0)))))

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw every weight from `rng`, so that a seed means one model on every device."""
        for name, weight in self.named_parameters():
            if weight.dim() == 1:
                weight.data.fill_(float("norm" in name and name.endswith("weight")))
            else:
                spread = 0.02 if name in ("table", "place") else math.sqrt(2 / sum(weight.shape))
                drawn = rng.standard_normal(weight.shape, dtype=np.float32) * spread
                weight.data.copy_(torch.from_numpy(drawn))

    def rows(self, index: Tensor) -> Tensor:
        """Float32 [..., dim]: the vectors of items."""
        found = F.embedding(index, self.table)
        return found if self.content is None else found + self.content(self.vectors[index])

    def forward(self, inputs: Tensor, starts: Tensor, drop: Dropout) -> Tensor:
        """Float32 [rows, length, dim], what is guessed at each place, from tokens and where their histories begin."""
        place = torch.arange(inputs.shape[1], device=inputs.device)
        x = drop(self.rows(inputs) * math.sqrt(self.table.shape[1]) + F.embedding(place - starts, self.place))
        mask = (place[None, None, :] >= starts[:, :, None]) & (place[None, None, :] <= place[None, :, None])
        for layer in self.layers:
            x = layer(x, mask[:, None], drop)
        found: Tensor = self.norm(x)
        return found


class SoftmaxLoss(torch.autograd.Function):
    """Mean cross entropy of guesses over candidates, whose gradients are computed with it, a chunk at a time.

    With candidates that are drawn, a candidate stands for 1 / P(it is among them) items, its own target for itself:
    an estimate of the softmax over all items (Horvitz and Thompson 1952; what is called logQ correction).
    """

    @staticmethod
    def forward(ctx: Any, guess: Tensor, candidates: Tensor, weight: Tensor | None, column: Tensor) -> Tensor:
        """Guess float32 [n, dim], candidates float32 [c, dim], log weight float32 [c], column int64 [n]: the target."""
        across = candidates.T.contiguous()
        to_guess, to_candidates = torch.empty_like(guess), torch.zeros_like(candidates)
        total = guess.new_zeros(())
        for start in range(0, len(guess), CHUNK):
            part = slice(start, start + CHUNK)
            x, own = guess[part], column[part, None]
            logits = x @ across
            right = logits.gather(1, own)
            if weight is not None:
                logits += weight
                logits.scatter_(1, own, right)
            most = logits.amax(1, keepdim=True)
            sums = logits.sub_(most).exp_().sum(1, keepdim=True)
            total += (sums.log() + most - right).sum()
            scale = 1 / sums
            target = F.embedding(own[:, 0], candidates)
            to_guess[part] = (logits @ candidates) * scale - target
            to_candidates.addmm_(logits.T, x * scale)
        to_candidates.index_add_(0, column, guess, alpha=-1)
        ctx.save_for_backward(to_guess, to_candidates)
        return total / len(guess)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The gradients that `forward` computed, times the one from above."""
        to_guess, to_candidates = ctx.saved_tensors
        scale = above[0] / len(to_guess)
        return to_guess * scale, to_candidates * scale, None, None
