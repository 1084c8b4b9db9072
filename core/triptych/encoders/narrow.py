"""Convolutional networks with fewer channels than their builder makes: their sizes as JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

Sizes = dict[str, list[int]]
"""By the name of a layer: a convolution's [outputs, inputs, groups], the channels of a normalisation, a linear map's
[outputs, inputs]."""


def sizes_of(network: nn.Module) -> Sizes:
    """The sizes of all layers that can be narrow."""
    sizes: Sizes = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            sizes[name] = [module.out_channels, module.in_channels, module.groups]
        elif isinstance(module, nn.BatchNorm2d):
            sizes[name] = [module.num_features]
        elif isinstance(module, nn.Linear):
            sizes[name] = [module.out_features, module.in_features]
    return sizes


def resize(network: nn.Module, sizes: Mapping[str, Sequence[int]]) -> None:
    """Give layers these sizes, in place; those that change get weights that mean nothing, to be set by the caller.

    Raises `KeyError` or `AttributeError` for a layer that the network does not have.
    """
    for name, wanted in sizes.items():
        module = network.get_submodule(name)
        if isinstance(module, nn.Conv2d):
            _resize_convolution(module, *wanted)
        elif isinstance(module, nn.BatchNorm2d):
            _resize_normalisation(module, *wanted)
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = wanted
            _replace(module, "weight", wanted)
            _replace(module, "bias", wanted[:1])


def _resize_convolution(module: nn.Conv2d, outputs: int, inputs: int, groups: int) -> None:
    module.out_channels, module.in_channels, module.groups = outputs, inputs, groups
    _replace(module, "weight", (outputs, inputs // groups, *module.kernel_size))
    _replace(module, "bias", (outputs,))


def _resize_normalisation(module: nn.BatchNorm2d, channels: int) -> None:
    module.num_features = channels
    for name in ("weight", "bias", "running_mean", "running_var"):
        _replace(module, name, (channels,))


def _replace(module: nn.Module, name: str, shape: Sequence[int]) -> None:
    """A tensor of ones in the place of a parameter or buffer of another shape; nothing where there is none."""
    old = getattr(module, name)
    if old is None or tuple(old.shape) == tuple(shape):
        return
    new = torch.ones(tuple(shape), dtype=old.dtype)
    setattr(module, name, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)
