"""The files of a bundle that recommending needs: written when it is built, opened by a recommender."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError
from triptych_recommendation.catalogue.schema import item_json, item_of
from triptych_recommendation.codes import Codes
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.items import Item
from triptych_recommendation.data.times import microseconds_of
from triptych_recommendation.mapped import any_by_row, mapped_halves
from triptych_recommendation.models.base import UserModel, load_model

FORMAT = 1
_CODES_FROM = 5_000  # vectors; fewer are compared one by one
_HEAD, _ITEMS, _USERS = "recommendation.json", "items.jsonl", "users.json"
_HISTORY, _MODEL, _VECTORS, _CODES = "history.safetensors", "model", "vectors.safetensors", "codes.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """What a bundle knows: row i of everything is item i of `items`."""

    built: int  # microseconds since 1970
    encoder: str  # fingerprint of what made the vectors; "": there are none
    items: list[Item]
    past: Interactions
    model: UserModel
    vectors: NDArray[np.float16]  # [items, dim], mapped; unit rows, a row of zeros is an item without content
    there: NDArray[np.bool_]  # [items], which rows of the vectors are not zero
    codes: Codes | None  # of those rows; None: they are few

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Read what `write_files` wrote. Raises `BundleError` naming the file that is missing or damaged."""
        try:
            return cls._read(directory)
        except KeyError as error:
            raise BundleError(f"{directory} lacks {error}; build the bundle again") from error

    @classmethod
    def _read(cls, directory: Path) -> Self:
        head = _read_json(directory / _HEAD)
        if head.get("format") != FORMAT:
            raise BundleError(f"{directory / _HEAD} has format {head.get('format')}, this version reads {FORMAT}")
        items = _read_items(directory / _ITEMS)
        users = _read_json(directory / _USERS)
        history = _tensors(directory / _HISTORY)
        vectors = mapped_halves(directory / _VECTORS, "vectors")
        model = load_model(directory / _MODEL)
        if not len(items) == head["items"] == len(vectors) or model.items > len(items):
            raise BundleError(
                f"{directory}: {len(items)} items, {head['items']} expected, {len(vectors)} vectors, and a model of "
                f"{model.items}; build the bundle again"
            )
        codes = Codes.of(_tensors(directory / _CODES)) if head["coded"] else None
        there = np.zeros(len(items), dtype=np.bool_)
        there[history.pop("content")] = True
        past = Interactions(
            users=tuple(users),
            items=tuple(item.id for item in items),
            user=np.repeat(np.arange(len(users), dtype=np.int32), np.diff(history["starts"])),
            kinds=tuple(head["kinds"]),
            **history,
        )
        return cls(head["built"], head["encoder"], items, past, model, vectors, there, codes)


def write_files(
    directory: Path,
    *,
    items: Sequence[Item],
    past: Interactions,
    model: UserModel,
    vectors: NDArray[np.float32] | None,
    encoder: str,
    built: datetime,
) -> None:
    """Write all that a recommender needs into a folder, which is made where it is missing.

    `past` are the events that histories begin with; its items, in their order, are those of `items`, and the rows that
    `model` was fitted on are the first of them. `vectors` is float32 [items, dim]: content vectors, unit rows, or
    zeros for an item without content; None: there are none. `encoder` is the fingerprint of what made them.

    Raises `ValueError` where these do not fit together.
    """
    from safetensors.numpy import save_file

    if past.items != tuple(item.id for item in items) or model.items > len(items):
        raise ValueError("the items are not those of the events, in their order, or fewer than the model knows")
    if vectors is None:
        vectors = np.zeros((len(items), 1), dtype=np.float32)
    if len(vectors) != len(items) or not np.isfinite(vectors).all():
        raise ValueError(f"{len(items)} items need as many vectors of finite numbers, not {vectors.shape}")
    directory.mkdir(parents=True, exist_ok=True)
    halves = np.ascontiguousarray(vectors, dtype=np.float16)
    there = np.flatnonzero(any_by_row(halves))
    coded = len(there) >= _CODES_FROM
    head = {"format": FORMAT, "built": microseconds_of(built), "encoder": encoder}
    head |= {"items": len(items), "kinds": past.kinds, "coded": coded}
    (directory / _HEAD).write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
    with (directory / _ITEMS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(item_json(item)) + "\n" for item in items)
    (directory / _USERS).write_text(json.dumps(past.users), encoding="utf-8")
    arrays = {name: getattr(past, name) for name in ("starts", "item", "time", "weight", "kind")} | {"content": there}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, directory / _HISTORY)
    save_file({"vectors": halves}, directory / _VECTORS)
    if coded:
        save_file(Codes.build(halves, there).tensors(), directory / _CODES)
    model.save(directory / _MODEL)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing: this bundle cannot recommend; build it again") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is damaged ({error}); build the bundle again") from error


def _read_items(path: Path) -> list[Item]:
    try:
        with path.open(encoding="utf-8") as file:
            return [item_of(json.loads(line)) for line in file]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is missing or damaged ({error}); build the bundle again") from error


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path} is missing or damaged ({error}); build the bundle again") from error
