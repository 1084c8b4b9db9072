"""What can be set of the sequence model: its size, its training, and how it is saved."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from triptych.config import Section


class SequenceSettings(Section):
    """The user model "sequence": a transformer that reads a history and guesses the item that comes next."""

    dim: Annotated[int, Field(ge=4, le=512)] = 64  # of an item's vector
    layers: Annotated[int, Field(ge=1, le=12)] = 2
    heads: Annotated[int, Field(ge=1, le=16)] = 2  # of each layer's attention; divides `dim`
    length: Annotated[int, Field(ge=2, le=1000)] = 100  # newest events that are read
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    negatives: Annotated[int, Field(ge=0)] = 2048  # items drawn a step; 0, or not less than there are items: all items
    epochs: Annotated[int, Field(ge=1)] = 60  # at most
    patience: Annotated[int, Field(ge=1)] = 8  # epochs without a better validation after which training ends
    batch: Annotated[int, Field(ge=2)] = 2048  # events a step
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.002
    precision: Literal["float32", "int8"] = "float32"  # of the saved model

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim = {self.dim} is not a multiple of heads = {self.heads}")
        return self
