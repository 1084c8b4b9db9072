"""Layers of the BERT family in shapes that their config cannot describe: fewer heads, thin pairs of matrices.

Attribute names stay (`query`, `intermediate.dense`, ...); a thin pair is an `nn.Sequential` of two linear maps in the
place of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

THIN = ("attention.output.dense", "intermediate.dense", "output.dense")
"""The matrices of a layer that are made thin pairs."""


def rows_of(linear: nn.Linear, kept: Tensor | list[int]) -> nn.Linear:
    """A smaller linear map with these outputs only (their indices)."""
    assert linear.bias is not None
    return linear_of(linear.weight[kept], linear.bias[kept])


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear map with weight [outputs, inputs] and bias [outputs]."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach().clone().contiguous())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear


def head_size(layer: nn.Module) -> int:
    """Outputs of a head of attention."""
    size: int = layer.attention.self.attention_head_size  # type: ignore[assignment,union-attr]
    return size


def head_rows(heads: Sequence[int], size: int) -> Tensor:
    """The places of some heads among the outputs of `query`: int64 [len(heads) * size]."""
    return (torch.tensor(list(heads)).unsqueeze(1) * size + torch.arange(size)).flatten()


def keep_heads(layer: nn.Module, heads: Sequence[int], output: nn.Linear | None = None) -> None:
    """Leave these heads in the attention of a layer. `output` replaces its dense map, by default cut to size."""
    attention = layer.attention.self  # type: ignore[union-attr]
    rows = head_rows(heads, head_size(layer))
    for name in ("query", "key", "value"):
        setattr(attention, name, rows_of(getattr(attention, name), rows))
    attention.num_attention_heads = len(heads)  # type: ignore[union-attr]
    attention.all_head_size = len(rows)  # type: ignore[union-attr]
    dense: nn.Linear = layer.get_submodule("attention.output.dense")  # type: ignore[assignment]
    layer.set_submodule("attention.output.dense", output or linear_of(dense.weight[:, rows], dense.bias))


def thin_rank(inputs: int, outputs: int, share: float) -> int:
    """The rank at which a pair of thin matrices makes that share of the multiplications of the whole."""
    return max(1, int(share * inputs * outputs / (inputs + outputs)))


def make_thin(layer: nn.Module, share: float) -> None:
    """Replace the matrices of a layer by untrained pairs of the right shapes, to be filled with saved weights."""
    for name in THIN:
        dense = layer.get_submodule(name)
        if isinstance(dense, nn.Linear):
            rank = thin_rank(dense.in_features, dense.out_features, share)
            pair = nn.Sequential(nn.Linear(dense.in_features, rank, bias=False), nn.Linear(rank, dense.out_features))
            layer.set_submodule(name, pair)
