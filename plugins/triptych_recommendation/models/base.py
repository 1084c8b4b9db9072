"""What every user model does: a history in, a score for each item out; and how models are kept in folders."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from triptych.errors import BundleError, UnknownNameError
from triptych.files import write_synced
from triptych_recommendation.data.interactions import History, Interactions

if TYPE_CHECKING:
    from triptych.tuning.base import Progress
    from triptych_recommendation.codes import Codes

T = TypeVar("T")
Report = Callable[["Progress"], None]
Rescore = Callable[[NDArray[np.bool_]], NDArray[np.float32]]
"""Bool [parts, events], the events that each part of a history has, to float32 [parts, rows]: what rows score then."""
_SORTED = 8  # where so many times the wanted scores are not there, all are sorted
FORMAT, META, TENSORS = 1, "model.json", "model.safetensors"
CLASSES = {
    "popularity": "triptych_recommendation.models.popularity:Popularity",
    "neighbours": "triptych_recommendation.models.neighbours:Neighbours",
    "ease": "triptych_recommendation.models.ease:Ease",
    "factors": "triptych_recommendation.models.factors:Factors",
    "sequence": "triptych_recommendation.models.sequence:SequenceModel",
    "content": "triptych_recommendation.content.model:Content",
    "blend": "triptych_recommendation.models.blend:Blend",
}
"""The models that a folder may hold: a folder names one of these, so that no folder decides what is imported."""


def silent(_: Progress) -> None:
    """Report progress to nobody."""


class UserModel(ABC):
    """A fitted model; it does not change afterwards, so that any number of threads may ask it.

    An implementer writes `fit`, `scores`, `save` and `load`; what it can do faster for a lone history or a few rows,
    it overrides. Rows of items that came after the fitting (`items` and more) score 0.
    """

    name: ClassVar[str]
    items: int
    """How many rows it knows: 0 to items - 1."""

    @classmethod
    @abstractmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: Any,
        *,
        seed: int,
        vectors: NDArray[np.float32] | None = None,
        progress: Report = silent,
    ) -> Self:
        """Learn from events. `vectors` is float32 [items, d], unit rows or zeros: what items are like."""

    @abstractmethod
    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Float32 [histories, items], 0 or more, higher is better. Items of the history are not removed."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the model into a folder, which is made where it is missing (`write_model`)."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path) -> Self:
        """What `save` wrote. Raises `BundleError` where it is missing, damaged or of another format."""

    def score(self, history: History, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """Float32 [rows], equal to `scores([history])[0, rows]`."""
        found: NDArray[np.float32] = self.scores([history])[0, rows]
        return found

    def rescorer(self, history: History, rows: NDArray[np.int32]) -> Rescore:
        """What tells what rows would score under parts of a history, measured as `score(history, rows)` is.

        For explanations, which leave events out and look how far scores fall. Override it where several parts at once
        take less time than one after the other, or where `score` is measured against the history's own best: what is
        measured against stays that of the whole history.
        """

        def rescore(kept: NDArray[np.bool_]) -> NDArray[np.float32]:
            found = np.empty((len(kept), len(rows)), dtype=np.float32)
            for part, scores in zip(kept, found, strict=True):
                scores[:] = self.score(history.where(part), rows)
            return found

        return rescore

    def candidates(self, history: History, k: int) -> NDArray[np.int32]:
        """At most k rows with a score above 0, the best first, of equals the lower row first. Seen items are in it."""
        return best(self.scores([history])[0], k)

    def share(self, vectors: NDArray[np.float16], codes: Codes) -> None:  # noqa: B027 most have no use for them
        """Be told of codes of the items' vectors, float16 [items, d], that are in memory anyway."""

    def contributions(self, history: History, row: int) -> NDArray[np.float32] | None:
        """Float32 [events]: how much of the score of a row each event of the history gives.

        None where the score is not a sum over events.
        """
        return None


class Latest(Generic[T]):
    """What was made of the history that was asked about last: one list asks a model several times about one.

    Nobody may change what it gives. Threads that ask about other histories cost time, nothing else.
    """

    def __init__(self, make: Callable[[History], T]) -> None:
        self._make = make
        self._kept: tuple[History, bytes, T] | None = None

    def __call__(self, history: History) -> T:
        """What is made of a history."""
        kept = self._kept
        if kept is not None and kept[0] is history:
            return kept[2]
        key = key_of(history)
        if kept is None or kept[1] != key:
            kept = (history, key, self._make(history))
        self._kept = kept = (history, key, kept[2])
        return kept[2]


class Told:
    """The scores of rows for one history, each computed once: a list asks about some of them several times.

    Any number of threads may ask; what two of them compute at once may be forgotten again.
    """

    def __init__(self) -> None:
        self._kept = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)

    def add(self, rows: NDArray[np.int32], scores: NDArray[np.float32]) -> None:
        """These are known: rows that rise, each once."""
        self._kept = rows, scores

    def __call__(
        self, rows: NDArray[np.int32], compute: Callable[[NDArray[np.int32]], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Float32 [rows]; `compute` gives those of rows that nobody asked about yet."""
        known, scores = self._kept
        if not len(known):
            return compute(rows)
        places = np.minimum(np.searchsorted(known, rows), len(known) - 1)
        found = scores[places]
        missing = np.flatnonzero(known[places] != rows)
        if len(missing):
            found[missing] = own = compute(rows[missing])
            new, first = np.unique(rows[missing], return_index=True)
            at = np.searchsorted(known, new)
            self._kept = np.insert(known, at, new), np.insert(scores, at, own[first])
        return found


def key_of(history: History) -> bytes:
    """The same for the same events in the same order."""
    return b"".join(part.tobytes() for part in (history.items, history.times, history.weights))


def best(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """The places of the k highest of scores [items] above 0, the highest first, of equals the lower place first."""
    if k * _SORTED < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
        places = np.flatnonzero(scores > least)
        places = np.concatenate([places, np.flatnonzero(scores == least)[: k - len(places)]])
        places = places[np.argsort(-scores[places], kind="stable")]
    else:
        places = np.argsort(-scores, kind="stable")[:k]
    return places[scores[places] > 0].astype(np.int32)


def distinct(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows that rise, each once; for some hundreds in less time than `np.unique` takes."""
    ordered = np.sort(rows)
    first = np.ones(len(ordered), dtype=np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    found: NDArray[Any] = ordered[first]
    return found


def write_model(
    directory: Path, model: UserModel, meta: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> None:
    """Write `model.json` and `model.safetensors`, with the model's name, its `items` and the format."""
    from safetensors.numpy import save_file

    directory.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, directory / TENSORS)
    head = {"format": FORMAT, "model": model.name, "items": model.items}
    write_synced(directory / META, json.dumps({**head, **meta}, indent=1) + "\n")


def read_model(directory: Path, name: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What `write_model` wrote for a model of that name: meta and tensors.

    Raises `BundleError` where it is missing, damaged, of another format or another model's.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    meta = _meta(directory)
    if meta["model"] != name:
        raise BundleError(f"{directory} holds a model {meta['model']!r}, expected {name!r}; fit it again")
    try:
        return meta, load_file(directory / TENSORS)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{directory / TENSORS} is missing or damaged ({error}); fit the model again") from error


def model_class(name: str) -> type[UserModel]:
    """The class of a model of that name. Raises `UnknownNameError`."""
    if name not in CLASSES:
        raise UnknownNameError("user model", name, list(CLASSES))
    module, attribute = CLASSES[name].split(":")
    found: type[UserModel] = getattr(import_module(module), attribute)
    return found


def load_model(directory: Path) -> UserModel:
    """Whichever model a folder holds. Raises `BundleError` where there is none that this version knows."""
    name = _meta(directory)["model"]
    if name not in CLASSES:
        raise BundleError(f"{directory / META} names a model {name!r}, known are {', '.join(CLASSES)}")
    return model_class(name).load(directory)


def _meta(directory: Path) -> dict[str, Any]:
    path = directory / META
    try:
        meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found, _, _ = meta["format"], meta["model"], meta["items"]
    except FileNotFoundError as error:
        raise BundleError(f"{directory} holds no user model: {META} is missing") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error!r}); fit the model again") from error
    if found != FORMAT:
        raise BundleError(f"{path} has format {found}, this version reads {FORMAT}; fit the model again")
    return meta
