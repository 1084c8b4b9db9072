"""Decoding of pictures and sound, and a digest of any value.

Everything that cannot be decoded raises `DataError` naming the file. Pillow, soundfile and PyAV are imported
when something is decoded, so that this module stays light.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import math
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.types import Modality, Sample, Waveform

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm", ".pgm")
AUDIO_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aiff", ".aif", ".webm", ".weba", ".mp4", ".amr"
)  # fmt: skip
TEXT_SUFFIXES = (".txt",)
# Pillow knows more, and hands some of those (PostScript) to other programs
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")

# FFmpeg knows more, and some of those (playlists, lists of files, descriptions of streams) open other files and sockets
_SOUND_FORMATS = "wav,w64,flac,ogg,mp3,aac,aiff,au,caf,amr,amrnb,amrwb,ac3,tta,wv,matroska,mov,avi,asf,flv,mpeg,mpegts"

# Outside of these the header is damaged; a resampling filter for an absurd rate would also fill the memory.
_SAMPLE_RATES_HZ = range(1_000, 768_001)


def load_image(value: Any, *, max_pixels: int = 40_000_000, at_least: int | None = None) -> Image.Image:
    """A picture as an upright RGB PIL image; `value` is a path, bytes, a PIL image or an array.

    Arrays are [height, width] or [height, width, 1, 3 or 4]: integers in 0..255, or floats in 0..1. EXIF rotation is
    applied, transparency is laid on white, of an animation the first frame is taken. With `at_least`, a JPEG may be
    decoded at 1/2, 1/4 or 1/8 of its size as long as both sides keep that many pixels, which is several times faster.

    Raises `DataError` for what is no picture, is cut short or damaged, or has more than `max_pixels` (checked before
    the pixels are decoded).
    """
    from PIL import Image

    if isinstance(value, np.ndarray):
        return Image.fromarray(_bytes_of_pixels(value))
    name = describe(value)
    with contextlib.nullcontext(value) if isinstance(value, Image.Image) else _open_image(value, name) as image:
        pixels = image.width * image.height
        if pixels > max_pixels:
            size = f"{pixels:,} pixels ({image.width} x {image.height})"
            reason = f"the picture has {size}, more than the {max_pixels:,} that data.max_image_pixels allows"
            raise DataError(f"{reason}; make it smaller or raise that key", file=name)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        return _decode_image(image, name)


def load_audio(value: Any, sample_rate_hz: int, *, max_seconds: float = 120.0) -> NDArray[np.float32]:
    """Sound as float32 [frames], mono, at `sample_rate_hz`; `value` is a path, bytes or a `Waveform`.

    Channels are averaged. What is longer than `max_seconds` is cut there; a recording that ends early (a header that
    promises more) is used as far as it goes. WAV, FLAC, OGG, MP3 and AIFF are read by libsndfile, everything else
    (WebM, M4A, AMR, the sound of a video) by FFmpeg.

    Raises `DataError` for what is no sound, has no frame, or holds NaN or infinity.
    """
    if sample_rate_hz <= 0 or not max_seconds > 0:
        raise ValueError("sample_rate_hz and max_seconds must be positive")
    samples, rate = decode_audio(value, max_seconds=max_seconds)
    return samples if rate == sample_rate_hz else resample(samples, rate, sample_rate_hz)


def decode_audio(value: Any, *, max_seconds: float = 120.0) -> tuple[NDArray[np.float32], int]:
    """Sound as (float32 [frames] mono, its own sample rate in Hz); otherwise like `load_audio`."""
    name = describe(value)
    if isinstance(value, Waveform):
        channels, rate = _channels_of_waveform(value, name)
    elif isinstance(value, np.ndarray):
        raise DataError("an array is a feature vector; wrap sound in triptych.types.Waveform with its rate", file=name)
    else:
        channels, rate = _decode_file(value, name, max_seconds)
    if rate not in _SAMPLE_RATES_HZ:
        raise DataError(f"a sample rate of {rate:,} Hz is not plausible; the header may be damaged", file=name)
    channels = channels[:, : math.ceil(max_seconds * rate)]  # [channels, frames]
    if channels.size == 0:
        raise DataError("the recording is empty: it holds no sound at all", file=name)
    samples = channels.mean(axis=0, dtype=np.float32) if len(channels) > 1 else channels[0]
    if not np.isfinite(samples).all():
        raise DataError("the recording holds values that are NaN or infinite", file=name)
    return samples.astype(np.float32, copy=False), rate


def resample(samples: NDArray[np.float32], rate_hz: int, wanted_hz: int) -> NDArray[np.float32]:
    """Float32 [frames] at another rate, by a polyphase filter.

    The filter is a Kaiser-windowed sinc (beta 8, 24 zero crossings a side, cutoff at 94 % of the lower Nyquist
    frequency): flat within 0.3 dB to 87 % of it, at least 58 dB down from 104 % on.
    """
    # a ratio of small numbers keeps the filter short; the pitch moves by less than one part in a million
    ratio = Fraction(wanted_hz, rate_hz).limit_denominator(2_000)
    up, down = ratio.numerator, ratio.denominator
    return _polyphase(samples, up, down, _lowpass(max(up, down)) * np.float32(up))


def value_digest(value: Any, modality: Modality | None = None) -> str:
    """Sha256 (hex) of a raw value: text, the content of a file, bytes, an array, a PIL image or a `Waveform`.

    A string is text, or, with `modality` "image" or "audio", a path. A file and its bytes have the same digest.
    Raises `DataError` when a file cannot be read.
    """
    if isinstance(value, str) and modality not in ("image", "audio"):
        return hashlib.sha256(b"text\0" + value.encode("utf-8", "surrogatepass")).hexdigest()
    if isinstance(value, str | os.PathLike):
        return _digest_of_file(Path(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Waveform):
        return _digest_of_array(value.samples, f"waveform {value.sample_rate_hz}")
    return _digest_of_array(np.asarray(value), "array")  # a PIL image or a list of numbers becomes an array


def content_digest(sample: Sample) -> str:
    """Sha256 (hex) of all modalities of a sample; its id, target and metadata do not count."""
    digest = hashlib.sha256()
    for modality in sample.modalities:
        digest.update(f"{modality}:{value_digest(sample.value(modality), modality)}\n".encode())
    return digest.hexdigest()


def check_media(sample: Sample, *, max_pixels: int, max_seconds: float) -> None:
    """Decode the picture and the sound of a sample and forget them. Raises `DataError` where one cannot be decoded."""
    if sample.image is not None and not is_vector(sample.image):
        load_image(sample.image, max_pixels=max_pixels, at_least=1)
    if sample.audio is not None and not is_vector(sample.audio):
        decode_audio(sample.audio, max_seconds=max_seconds)


def is_vector(value: Any) -> bool:
    """Whether a value is a feature vector computed elsewhere: a one-dimensional array of floats."""
    return isinstance(value, np.ndarray) and value.ndim == 1 and np.issubdtype(value.dtype, np.floating)


def describe(value: Any) -> str:
    """How messages name a value: its path, or what it is."""
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value):,} bytes>"
    return f"<{type(value).__name__}>"


def _open_image(value: Any, name: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(_readable(value, name), formats=IMAGE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"the picture has far more pixels than data.max_image_pixels allows ({error})", file=name
        ) from error
    except DataError:
        raise
    except UnidentifiedImageError as error:
        known = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF"
        raise DataError(f"this is not a picture in a format that is read here ({known})", file=name) from error
    except Exception as error:  # decoders raise whatever they stumble over in damaged bytes
        raise DataError(f"the picture cannot be opened ({error})", file=name) from error


def _decode_image(image: Image.Image, name: str) -> Image.Image:
    try:
        image.load()
        return _upright_rgb(image)
    except Exception as error:  # decoders raise whatever they stumble over in damaged bytes
        raise DataError(f"the picture is cut short or damaged ({error})", file=name) from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    with contextlib.suppress(Exception):  # a broken EXIF block does not spoil the picture itself
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):  # 16 or 32 bits: Pillow would clip, not scale
        sixteen = image.mode.startswith("I;16")
        return Image.fromarray(_bytes_of_pixels(np.asarray(image), top=65_535.0 if sixteen else None))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image).convert("RGB")
    return image.convert("RGB")


def _bytes_of_pixels(pixels: NDArray[Any], top: float | None = None) -> NDArray[np.uint8]:
    """Any array of pixels to uint8 [height, width, 3]; `top` is the value of white. Raises `DataError`."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or pixels.size == 0:
        shape = list(pixels.shape)
        raise DataError(f"an array of shape {shape} is no picture, which is [height, width, 3]")
    if not np.isfinite(pixels).all():
        raise DataError("a picture holds values that are NaN or infinite")
    if pixels.dtype != np.uint8:
        highest = pixels.max()
        floats = np.issubdtype(pixels.dtype, np.floating)
        top = top or (1.0 if floats and highest <= 1.0 else 255.0 if highest <= 255 else 65_535.0)
        pixels = np.clip(np.rint(pixels.astype(np.float64) * (255.0 / top)), 0, 255).astype(np.uint8)
    if pixels.shape[2] == 4:  # transparency is laid on white
        alpha = pixels[:, :, 3:].astype(np.uint16)
        pixels = ((pixels[:, :, :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _channels_of_waveform(value: Waveform, name: str) -> tuple[NDArray[np.float32], int]:
    samples = np.asarray(value.samples)
    if samples.ndim not in (1, 2):
        shape = list(samples.shape)
        raise DataError(f"a waveform of shape {shape} is neither [frames] nor [channels, frames]", file=name)
    if np.issubdtype(samples.dtype, np.signedinteger):
        samples = samples / -float(np.iinfo(samples.dtype).min)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise DataError(f"a waveform of {samples.dtype} is not understood; use float32 in [-1, 1]", file=name)
    return np.atleast_2d(samples).astype(np.float32), int(value.sample_rate_hz)


def _decode_file(value: Any, name: str, max_seconds: float) -> tuple[NDArray[np.float32], int]:
    """A path or bytes to (float32 [channels, frames], Hz)."""
    import soundfile

    source = _readable(value, name)
    try:
        with soundfile.SoundFile(source) as file:
            rate = int(file.samplerate)
            wanted = math.ceil(max_seconds * rate)
            return np.ascontiguousarray(file.read(wanted, dtype="float32", always_2d=True).T), rate
    except (RuntimeError, TypeError):  # not one of libsndfile's formats; TypeError: a headerless .raw
        return _decode_with_ffmpeg(_readable(value, name), name, max_seconds)


def _decode_with_ffmpeg(source: Any, name: str, max_seconds: float) -> tuple[NDArray[np.float32], int]:
    import av

    blocks: list[NDArray[np.float32]] = []
    rate, frames = 0, 0
    try:
        with av.open(source, options={"format_whitelist": _SOUND_FORMATS}) as container:
            if not container.streams.audio:
                raise DataError("there is no sound in this file", file=name)
            to_floats = av.AudioResampler(format="fltp")
            for frame in container.decode(audio=0):
                for block in to_floats.resample(frame):
                    rate = block.sample_rate
                    # FFmpeg's own mix of floats is 3 dB too loud; [channels, frames] to [1, frames]
                    blocks.append(block.to_ndarray().mean(axis=0, keepdims=True))
                    frames += blocks[-1].shape[1]
                if rate and frames >= max_seconds * rate:
                    break
    except DataError:
        raise
    except Exception as error:  # FFmpeg's own errors, and whatever PyAV makes of damaged bytes
        known = "WAV, FLAC, OGG, MP3, M4A, WebM, AIFF"
        raise DataError(f"this is not a recording that can be read ({known}): {error}", file=name) from error
    if not blocks:
        raise DataError("the recording is empty: it holds no sound at all", file=name)
    return np.concatenate(blocks, axis=1), rate


def _readable(value: Any, name: str) -> Any:
    """What the decoders take: the path of an existing file, or a stream over bytes."""
    if isinstance(value, bytes | bytearray | memoryview):
        if not len(value):
            raise DataError("there are no bytes at all", file=name)
        return io.BytesIO(value)
    if not isinstance(value, str | os.PathLike):
        raise DataError(f"a {type(value).__name__} is neither a path nor bytes", file=name)
    path = Path(value)
    _require_file(path)
    return str(path)


def _require_file(path: Path) -> None:
    try:
        size = path.stat().st_size
        is_file = path.is_file()
    except FileNotFoundError as error:
        raise DataError("the file does not exist", file=path) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise DataError(f"the file cannot be read ({error})", file=path) from error
    if not is_file:
        raise DataError("this is a folder, not a file", file=path)
    if size == 0:
        raise DataError("the file is empty (0 bytes)", file=path)


@functools.lru_cache(maxsize=32)
def _lowpass(factor: int) -> NDArray[np.float32]:
    """The filter of `resample`: float32 [48 * factor + 1]."""
    places = np.arange(-24 * factor, 24 * factor + 1)
    taps = np.sinc(places * 0.94 / factor) * np.kaiser(len(places), 8.0)
    return np.asarray(taps / taps.sum(), dtype=np.float32)


def _polyphase(samples: NDArray[np.float32], up: int, down: int, taps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Float32 [frames * up / down, rounded up], filtered by `taps` [2 * reach + 1] at `up` times the rate.

    Only the numbers that are kept are computed, and the zeros between the samples are never multiplied.
    """
    reach, frames = len(taps) // 2, -(-len(samples) * up // down)
    each = -(-len(taps) // up)  # taps that meet a sample, at most
    phases = np.zeros((up, each), dtype=np.float32)
    phases.T.flat[: len(taps)] = taps
    # the newest sample that output n sees is (n * down + reach) // up, through the phase that is left over
    needed = ((frames - 1) * down + reach) // up + 1
    padded = np.concatenate(
        [np.zeros(each - 1, np.float32), samples, np.zeros(max(0, needed - len(samples)), np.float32)]
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, each)
    found = np.empty(frames, dtype=np.float32)
    for first in range(min(up, frames)):
        newest, phase = divmod(first * down + reach, up)
        rows = len(range(first, frames, up))
        found[first::up] = windows[newest::down][:rows] @ phases[phase, ::-1]
    return found


def _digest_of_file(path: Path) -> str:
    try:
        state = path.stat()
        return _digest_of_content(path, state.st_ino, state.st_mtime_ns, state.st_size)
    except FileNotFoundError as error:
        raise DataError("the file does not exist", file=path) from error
    except (OSError, ValueError) as error:
        raise DataError(f"the file cannot be read ({error})", file=path) from error


@functools.lru_cache(maxsize=100_000)
def _digest_of_content(path: Path, inode: int, modified_ns: int, size: int) -> str:
    """Sha256 of a file; remembered as long as inode, time of change and size stay, for it is asked for often."""
    del inode, modified_ns, size
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_array(array: NDArray[Any], tag: str) -> str:
    digest = hashlib.sha256(f"{tag} {array.dtype.str} {array.shape}\0".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
