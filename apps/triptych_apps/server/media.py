"""Whether pictures and sounds that came over the network are what they should be, and not too large.

Only headers are read, where they tell enough: decoding is left to the model that needs the content, which has bounds
of its own.
"""

from __future__ import annotations

import io

from triptych.data.media import IMAGE_FORMATS, decode_audio
from triptych.errors import DataError
from triptych_apps.server.problems import Problem

_MOST_A_SECOND = 2 * 192_000  # numbers: stereo at the highest rate of studios


def check_picture(content: bytes, max_pixels: int) -> None:
    """Raises `Problem`: 415 for what is no picture, 413 for too many pixels, 422 for a damaged head."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as picture:
            width, height = picture.size
    except UnidentifiedImageError as error:
        known = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF"
        raise Problem(415, f"image: this is not a picture in a format that is read here ({known})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Problem(413, f"image: the picture has more than the {max_pixels:,} pixels that are allowed") from error
    except Exception as error:  # decoders raise whatever they stumble over in damaged bytes
        raise Problem(422, "image: the picture is damaged") from error
    if width * height > max_pixels:
        size = f"{width * height:,} pixels ({width} x {height})"
        raise Problem(413, f"image: the picture has {size}; {max_pixels:,} are allowed")


def check_sound(content: bytes, max_seconds: float) -> None:
    """Raises `Problem`: 415 for what is no sound, 413 for one that is too long."""
    seconds = _seconds(content, max_seconds)
    if seconds > max_seconds:
        raise Problem(413, f"audio: the recording is longer than the {max_seconds:g} seconds that are allowed")


def _seconds(content: bytes, max_seconds: float) -> float:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            seconds = float(file.frames) / float(file.samplerate)
            # a head may promise few seconds of very many numbers, for which a decoder would ask for memory at once
            return max(seconds, float(file.frames) * float(file.channels) / _MOST_A_SECOND)
    except (RuntimeError, TypeError, ZeroDivisionError):
        pass  # not one of libsndfile's formats; what browsers record often does not say how long it is
    try:
        samples, rate = decode_audio(content, max_seconds=max_seconds + 1)
    except DataError as error:
        raise Problem(415, f"audio: {error.reason}") from error
    return len(samples) / rate
