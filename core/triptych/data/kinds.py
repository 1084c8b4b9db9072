"""What kind of file a picture or a sound is, by its first bytes."""

from __future__ import annotations

_BY_START = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"\x1a\x45\xdf\xa3", "audio/webm"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
)
_IN_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_IN_MP4 = {b"avif": "image/avif", b"avis": "image/avif"}


def media_type(content: bytes, modality: str = "") -> str:
    """One that browsers show or play; "application/octet-stream" for others, which they then only store.

    With a `modality`, "image" or "audio", the others' types are none either.
    """
    found = next((kind for start, kind in _BY_START if content.startswith(start)), "")
    if content.startswith(b"RIFF"):
        found = _IN_RIFF.get(content[8:12], "")
    elif content[4:8] == b"ftyp":
        found = _IN_MP4.get(content[8:12], "audio/mp4")
    fits = found.startswith(f"{modality}/") if modality else bool(found)
    return found if fits else "application/octet-stream"


def suffix(content: bytes, modality: str) -> str:
    """The end of a file's name, as ".webm"; that of a format that everything can store, where it is not known."""
    kind = media_type(content, modality)
    known = {"image/jpeg": ".jpg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a"}
    if kind == "application/octet-stream":
        return ".tiff" if modality == "image" else ".wav"
    return known.get(kind, f".{kind.partition('/')[2]}")
