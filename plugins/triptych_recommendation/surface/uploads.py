"""Pictures and sounds that came with a new item: decoded, and written anew, so that nothing else of a file is kept."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path

from triptych.data.media import decode_audio, load_image
from triptych.errors import DataError
from triptych.files import sync

MOST_BYTES = 8_000_000
_EDGE = 1_600  # pixels of a picture that is kept
_SECONDS = 120.0


def keep_picture(content: bytes, directory: Path) -> Path:
    """Write a picture as JPEG into the directory; its name is the hash of what is written.

    Raises `DataError` for what is too large or no picture.
    """
    from PIL import Image

    _check_size(content, "picture")
    picture = load_image(content)
    picture.thumbnail((_EDGE, _EDGE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return _written(out.getvalue(), directory, ".jpg")


def keep_sound(content: bytes, directory: Path) -> Path:
    """Write the first two minutes of a sound as FLAC, mono, into the directory; as `keep_picture`."""
    import soundfile

    _check_size(content, "sound")
    samples, rate = decode_audio(content, max_seconds=_SECONDS)
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="FLAC")
    return _written(out.getvalue(), directory, ".flac")


def _check_size(content: bytes, what: str) -> None:
    if len(content) > MOST_BYTES:
        raise DataError(f"the {what} has {len(content):,} bytes; at most {MOST_BYTES:,} are taken")


def _written(content: bytes, directory: Path, suffix: str) -> Path:
    """The file with this content, whole and on the disk."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory.resolve() / f"{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
    if path.exists():
        return path
    with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
    sync(directory)
    return path
