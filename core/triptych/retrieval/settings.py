"""How a collection searches: chosen when it is made, and kept with it."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.errors import DataError
from triptych.retrieval import log as truth
from triptych.retrieval.engines.base import Kind
from triptych.retrieval.log import Log


class CollectionSettings(BaseModel):
    """How a collection searches; kept with it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Kind = "auto"  # auto: measured
    recall: float = Field(default=0.95, gt=0, le=1)  # of the ten nearest, held by tuning
    flat_below: int = Field(default=20_000, ge=0)  # exact below this many vectors
    words: Literal["unicode", "porter", "trigram"] = "unicode"  # how text is cut; trigram for Chinese and Japanese


def read_settings(keep: Log) -> CollectionSettings:
    """What was kept with a collection. Raises `DataError` for another format."""
    with keep.frozen() as connection:
        number = truth.read_meta(connection, "format")
        text = truth.read_meta(connection, "settings")
    if number != str(truth.FORMAT):
        raise DataError(f"has format {number or 'unknown'}, this triptych reads {truth.FORMAT}", file=keep.path)
    try:
        return CollectionSettings.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise DataError(f"has settings that cannot be read: {error}", file=keep.path) from error
