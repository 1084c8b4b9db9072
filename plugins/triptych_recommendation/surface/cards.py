"""Items as the page shows them, with their pictures and sounds made small."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from triptych.data.media import decode_audio, load_image, resample
from triptych.errors import DataError
from triptych.types import Media
from triptych_recommendation.data.items import Item
from triptych_recommendation.surface.views import Card

PREVIEW_SECONDS = 30.0
_RATE_HZ = 22_050
_SHORT = 400  # characters of a description on a card


def card_of(item: Item, *, whole: bool = False) -> Card:
    """The card of an item; its description is cut unless the `whole` of it is wanted."""
    words = item.description
    if not whole and len(words) > _SHORT:
        words = words[:_SHORT].rsplit(" ", 1)[0] + "\u2026"
    return Card(
        id=item.id,
        title=item.title,
        description=words,
        category=item.category,
        price=item.price,
        stock=item.stock,
        tags=list(item.tags),
        picture=_mark(item.image),
        sound=_mark(item.audio),
    )


def thumbnail(item: Item, edge: int) -> Media:
    """The picture of an item as WebP, at most `edge` pixels wide and high.

    Raises `DataError` where it has none, or one that cannot be read.
    """
    if item.image is None or not (mark := _mark(item.image)):
        raise DataError(f"item {item.id!r} has no picture here")
    with _named(item, "picture"):
        return Media(_thumbnail(item.image, edge, mark), "image/webp")


def preview(item: Item) -> Media:
    """The first half minute of an item's sound as MP3, mono. Raises `DataError` as `thumbnail` does."""
    if item.audio is None or not (mark := _mark(item.audio)):
        raise DataError(f"item {item.id!r} has no sound here")
    with _named(item, "sound"):
        return Media(_preview(item.audio, mark), "audio/mpeg")


@contextmanager
def _named(item: Item, what: str) -> Iterator[None]:
    """Errors name the item, not where its file lies on the server."""
    try:
        yield
    except (DataError, OSError) as error:
        raise DataError(f"the {what} of item {item.id!r} cannot be read") from error


def _mark(path: Path | None) -> str:
    """Another text when a file changes; "" where it is not there."""
    if path is None:
        return ""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(f"{path} {state.st_mtime_ns} {state.st_size}".encode()).hexdigest()[:16]


@lru_cache(maxsize=2_000)  # of about 10 kB
def _thumbnail(path: Path, edge: int, _mark: str) -> bytes:
    from PIL import Image

    picture = load_image(path, at_least=edge)
    picture.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=82)
    return out.getvalue()


@lru_cache(maxsize=64)  # of about 200 kB
def _preview(path: Path, _mark: str) -> bytes:
    import soundfile

    samples, rate = decode_audio(path, max_seconds=PREVIEW_SECONDS)
    out = io.BytesIO()
    soundfile.write(out, resample(samples, rate, _RATE_HZ), _RATE_HZ, format="MP3")
    return out.getvalue()
