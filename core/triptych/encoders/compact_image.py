"""A compact image encoder that needs no pretrained weights: colours, edges and a small network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.encoders.base import Batch, Exportable
from triptych.encoders.chunks import in_chunks
from triptych.encoders.compact import Block, CompactEncoder
from triptych.encoders.framing import check_framing
from triptych.encoders.pictures import Standardise, prepare_pictures, to_float, vary
from triptych.errors import ConfigError

COLOUR_GRID, HUE_GRID, EDGE_GRID = 4, 2, 6  # cells on each side
HUES, EDGES, LEVELS = 12, 8, 4  # bins: of hue, of edge direction, of each colour in the joint histogram
CHANNELS = (24, 48, 96, 192, 192)


class CompactImageEncoder(CompactEncoder):
    """`compact:image`: 496 fixed descriptors and, where asked for, a network of 0.1 million parameters.

    The descriptors: mean and deviation of lightness and two opponent colours in 4 x 4 cells, a joint histogram of
    4 x 4 x 4 colours, histograms of hue weighted by colourfulness in 2 x 2 cells, and histograms of edge directions
    in 6 x 6 cells, normalised with their neighbours (Dalal and Triggs 2005). They tell layouts, colours and coarse
    shapes apart; they do not know what a thing is: where pretrained weights can be had, use them.

    Options of `create`: `image_size` (side in pixels), `framing` ("squash", "crop", "pad"), `learned` (size of the
    network's part, such as 128; by default 0, no network), `augment` (strength of the variation in training) and
    `flip` (mirror in training). On sets of up to 1,500 pictures the network added nothing to the descriptors, at ten
    times the training time: try it from several thousand on.
    """

    modality = "image"
    mean: Tensor
    std: Tensor

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        check_framing(settings["framing"], "bilinear", settings["image_size"])
        self._settings = settings
        self.name = "compact:image"
        half = torch.full((3,), 0.5)  # pixels in [-1, 1]
        self.register_buffer("mean", half, persistent=False)
        self.register_buffer("std", half.clone(), persistent=False)
        self.network = _network(settings["learned"]) if settings["learned"] else nn.Identity()
        known = COLOUR_GRID**2 * 6 + LEVELS**3 + HUE_GRID**2 * HUES + EDGE_GRID**2 * EDGES
        self.set_sizes(known, settings["learned"])

    @classmethod
    def create(  # type: ignore[override]  # options by name: a wrong one is refused
        cls,
        model: str = "",
        *,
        image_size: int = 96,
        framing: str = "squash",
        learned: int = 0,
        augment: float = 0.5,
        flip: bool = False,
    ) -> Self:
        """A fresh encoder; see the class for the options. Raises `ConfigError` for one that cannot be."""
        if model not in ("", "image"):
            raise ConfigError(f"the compact image encoder is called 'compact:image', not 'compact:{model}'")
        if learned < 0:
            raise ConfigError(f"learned must be 0 or more features (got {learned!r})")
        return cls(
            {
                "image_size": int(image_size),
                "framing": framing,
                "learned": int(learned),
                "augment": float(augment),
                "flip": bool(flip),
            }
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The options it was created with."""
        return self._settings

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Pictures to {"pixels": uint8 [batch, size, size, 3]}."""
        return {"pixels": prepare_pictures(values, self._settings["image_size"], framing=self._settings["framing"])}

    def vary(self, batch: Batch) -> Batch:
        """Random zoom, shift and light, as {"pictures": float [batch, 3, size, size] in [-1, 1]}."""
        pictures = self._pictures(batch)
        if self._settings["augment"] > 0:
            pictures = vary(pictures, self._settings["augment"], flip=self._settings["flip"]).clamp(-1, 1)
        return {"pictures": pictures}

    def describe(self, batch: Batch) -> Tensor:
        """The fixed descriptors [batch, known]."""
        return self.statistics((self._pictures(batch) + 1) / 2)

    def statistics(self, colours: Tensor) -> Tensor:
        """Pictures [batch, 3, size, size] in [0, 1] to descriptors [batch, known]."""
        return torch.cat(
            [cell_colours(colours), colour_histogram(colours), hue_histograms(colours), edge_histograms(colours)], dim=1
        )

    def learn(self, batch: Batch) -> Tensor:
        """The network's features [batch, learned]."""
        return in_chunks(self.network, self._pictures(batch), on_cpu=8)

    def exportable(self) -> Exportable:
        """The graph takes bytes of pixels; see `triptych.runtime.media.Pictures`."""
        size = self._settings["image_size"]
        settings = {k: self._settings[k] for k in ("image_size", "framing")}
        example = {"pixels": torch.arange(2 * size * size * 3).remainder(251).to(torch.uint8).view(2, size, size, 3)}
        return Exportable(_Graph(self), example, {"pixels": {0: "batch"}}, "pictures", settings)

    def _pictures(self, batch: Batch) -> Tensor:
        return batch["pictures"] if "pictures" in batch else to_float(batch["pixels"], self.mean, self.std)


class _Graph(nn.Module):
    """The encoder from bytes of pixels on, for export."""

    def __init__(self, encoder: CompactImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.silent = encoder.silent
        self.standardise = Standardise(encoder.mean, encoder.std)

    def forward(self, pixels: Tensor) -> Tensor:
        pictures = self.standardise(pixels)
        statistics = self.encoder.statistics((pictures + 1) / 2)
        return self.encoder.assemble(statistics, None if self.silent else self.encoder.network(pictures))


def _network(learned: int) -> nn.Module:
    """[batch, 3, size, size] to [batch, learned]."""
    blocks = [Block(a, b, 2 if a != b else 1) for a, b in pairwise(CHANNELS)]
    stem = nn.Conv2d(3, CHANNELS[0], 3, 2, padding=1)
    network = nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS[-1], learned))
    return network.to(memory_format=torch.channels_last)


def cell_colours(colours: Tensor) -> Tensor:
    """Mean and deviation of lightness, red-green and yellow-blue in each cell: [batch, 3, h, w] to [batch, 96]."""
    red, green, blue = colours.unbind(1)
    opponent = torch.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], dim=1)
    mean = _means(opponent, COLOUR_GRID)
    variance = _means(opponent.square(), COLOUR_GRID) - mean.square()
    return torch.cat([mean.flatten(1), (variance.clamp_min(0) + 1e-6).sqrt().flatten(1)], dim=1)


def colour_histogram(colours: Tensor) -> Tensor:
    """Square roots of the shares of 4 x 4 x 4 colours: [batch, 3, h, w] in [0, 1] to [batch, 64]."""
    red, green, blue = (colours * LEVELS).long().clamp(0, LEVELS - 1).unbind(1)
    first, second = (red * LEVELS + green).flatten(1), blue.flatten(1)  # [batch, pixels]
    counts = _one_hot(first, LEVELS**2, colours.dtype) @ _one_hot(second, LEVELS, colours.dtype).transpose(1, 2)
    return (counts.flatten(1) / first.shape[1]).sqrt()


def hue_histograms(colours: Tensor) -> Tensor:
    """Square roots of hue histograms, each pixel weighing as much as it is colourful: to [batch, 48]."""
    red, green, blue = colours.unbind(1)
    along, across = red - (green + blue) / 2, (green - blue) * (math.sqrt(3) / 2)
    hue = _turns(across, along) + 0.5
    chroma = (along.square() + across.square()).sqrt()
    # where two primaries are equal, hue lies on a border: the last bit of an arc tangent should not decide
    bins = (hue * HUES + 1e-3).long().clamp(0, HUES - 1)
    return _cells(bins, chroma, HUES, HUE_GRID).flatten(1).sqrt()


def edge_histograms(colours: Tensor) -> Tensor:
    """Histograms of edge direction, each cell relative to its neighbourhood: to [batch, 288]."""
    grey = F.pad(colours.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate").squeeze(1)
    across = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    down = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    strength = (across.square() + down.square()).sqrt()
    turns = _turns(down, across)
    place = torch.where(turns < 0, turns + 1, turns) * EDGES  # between two bins, both get their share
    lower = place.long().clamp(0, EDGES - 1)
    share = place - lower
    cells = _cells(lower, strength * (1 - share), EDGES, EDGE_GRID)
    upper = torch.where(lower == EDGES - 1, 0, lower + 1)
    cells = cells + _cells(upper, strength * share, EDGES, EDGE_GRID)
    energy = F.pad(cells.square().sum(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    neighbourhood = (F.avg_pool2d(energy, 3, stride=1) + 1e-4).sqrt()
    return (cells / neighbourhood).clamp_max(1.5).sqrt().flatten(1)


def _turns(up: Tensor, along: Tensor) -> Tensor:
    """The angle of a vector in whole turns, in [-0.5, 0.5]; zero for a vector of zeros. ONNX knows no atan2."""
    angle = torch.atan(up / torch.where(along == 0, 1e-20, along)) / (2 * math.pi)
    beyond = torch.where(up >= 0, 0.5, -0.5)
    return torch.where(along < 0, angle + beyond, angle)


def _one_hot(bins: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """int64 [batch, n] to [batch, size, n] of zeros and ones."""
    return (bins.unsqueeze(1) == torch.arange(size, device=bins.device)[None, :, None]).to(dtype)


def _means(maps: Tensor, grid: int) -> Tensor:
    """The mean in each cell: [batch, n, h, w] to [batch, n, grid, grid]; cells share a row where h does not divide."""
    rows, columns = (_shares(size, grid, maps) for size in maps.shape[2:])
    return rows @ maps @ columns.T


def _shares(size: int, grid: int, like: Tensor) -> Tensor:
    """What each of `size` rows adds to the mean of each cell, [grid, size]: as adaptive average pooling cuts them."""
    place = torch.arange(size, device=like.device)
    cell = torch.arange(grid, device=like.device)[:, None]
    first, last = cell * size // grid, ((cell + 1) * size + grid - 1) // grid
    inside = ((place >= first) & (place < last)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def _cells(bins: Tensor, weight: Tensor, size: int, grid: int) -> Tensor:
    """int64 and float [batch, h, w] to the mean weight of each bin in each cell: [batch, size, grid, grid]."""
    height, width = bins.shape[1:]
    cell = torch.arange(grid, device=bins.device)[:, None]
    rows = (torch.arange(height, device=bins.device) * grid // height == cell).to(weight.dtype)  # [grid, h]
    columns = (torch.arange(width, device=bins.device) * grid // width == cell).to(weight.dtype)
    spread = _one_hot(bins.flatten(1), size, weight.dtype).view(-1, size, height, width) * weight.unsqueeze(1)
    return rows @ spread @ columns.T * (grid * grid / (height * width))
