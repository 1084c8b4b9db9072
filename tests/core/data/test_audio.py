"""Sound: what phones, browsers and studios write is decoded to mono at one rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.core.data.makers import recording, sound, tone
from triptych.data.media import load_audio, resample
from triptych.errors import DataError
from triptych.types import Waveform


def pitch(samples: np.ndarray[Any, Any], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[spectrum.argmax()])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_studio_formats_decode(tmp_path: Path, suffix: str, rate: int) -> None:
    samples = load_audio(sound(tmp_path / f"s.{suffix}", 1.0, rate, channels=2), 16_000)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(16_000, abs=1_200)  # MP3 pads
    assert pitch(samples, 16_000) == pytest.approx(440, abs=3)


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("v.webm", "libopus", "stereo"),
        ("v.m4a", "aac", "mono"),
        ("v.mp4", "aac", "stereo"),
        ("v.oga", "libopus", "mono"),
    ],
)
def test_browser_and_telephone_formats_decode(tmp_path: Path, name: str, codec: str, layout: str) -> None:
    path = recording(tmp_path / name, codec, 1.0, layout=layout)
    for value in (path, path.read_bytes()):
        samples = load_audio(value, 16_000)
        assert 0.9 < len(samples) / 16_000 < 1.2
        assert pitch(samples, 16_000) == pytest.approx(440, abs=3)
        assert np.abs(samples[4_000:-4_000]).max() == pytest.approx(0.5, abs=0.1)


def test_channels_are_averaged() -> None:
    stereo = np.stack([tone(), -tone()])
    assert np.abs(load_audio(Waveform(stereo, 16_000), 16_000)).max() < 1e-6


@pytest.mark.parametrize("wanted", [8_000, 16_000, 22_050, 48_000])
@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 47_999])
def test_resampling_keeps_length_pitch_and_level(rate: int, wanted: int) -> None:
    samples = load_audio(Waveform(tone(1.0, rate), rate), wanted)
    assert len(samples) == pytest.approx(wanted, abs=2)
    assert pitch(samples, wanted) == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(samples[500:-500] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_resampling_removes_what_the_lower_rate_cannot_hold() -> None:
    too_high = resample(tone(1.0, 44_100, 9_000), 44_100, 16_000)
    assert np.abs(too_high[500:-500]).max() < 1e-3


def test_what_is_too_long_is_cut(tmp_path: Path) -> None:
    for path in (sound(tmp_path / "s.wav", 3.0), recording(tmp_path / "v.webm", "libopus", 3.0)):
        assert len(load_audio(path, 16_000, max_seconds=1.5)) == 24_000


def test_whole_numbers_in_a_waveform_are_scaled() -> None:
    samples = load_audio(Waveform(np.full(100, -32_768, np.int16), 16_000), 16_000)
    assert samples.min() == samples.max() == -1.0


def test_a_waveform_is_never_shared_with_the_caller() -> None:
    mine = tone()
    load_audio(Waveform(mine, 16_000), 16_000)[:] = 9
    assert mine.max() <= 0.5


def test_a_recording_that_was_cut_short_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path = sound(tmp_path / "s.wav", 1.0)
    path.write_bytes(path.read_bytes()[:16_044])
    assert len(load_audio(path, 16_000)) == 8_000


@pytest.mark.parametrize("name", ["none.wav", "none.flac"])
def test_a_recording_without_any_frame_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}.*empty"):
        load_audio(sound(tmp_path / name, 0.0), 16_000)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"RIFF", "not a recording"), (b"no sound here " * 50, "not a recording")],
    ids=["no bytes", "header only", "text"],
)
def test_what_is_no_sound_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "s.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"s\.wav.*{reason}"):
        load_audio(path, 16_000)


def test_a_list_of_other_files_is_no_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg would open them, and that list may come from anybody."""
    sound(tmp_path / "other.wav", 1.0, 16_000)
    monkeypatch.chdir(tmp_path)
    listing = b"ffconcat version 1.0\nfile other.wav\n"
    (tmp_path / "a.ogg").write_bytes(listing)
    for value in (listing, tmp_path / "a.ogg"):
        with pytest.raises(DataError, match="this is not a recording"):
            load_audio(value, 16_000)


def test_headerless_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.raw"
    path.write_bytes(b"\1\2" * 500)
    with pytest.raises(DataError, match=r"s\.raw"):
        load_audio(path, 16_000)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="no sound in this file"):
        load_audio(path, 16_000)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(tmp_path: Path, bad: float) -> None:
    import soundfile

    samples = tone()
    samples[7] = bad
    soundfile.write(tmp_path / "s.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(DataError, match=r"s\.wav.*NaN or infinite"):
        load_audio(tmp_path / "s.wav", 16_000)


@pytest.mark.parametrize(
    "wave",
    [
        Waveform(np.zeros((2, 2, 2)), 16_000),
        Waveform(np.zeros(9), 3),
        Waveform(np.zeros(9, np.uint8), 16_000),
        np.zeros(9),
    ],
    ids=["shape", "rate", "type", "vector"],
)
def test_impossible_waveforms_are_refused(wave: Any) -> None:
    with pytest.raises(DataError):
        load_audio(wave, 16_000)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.wav.*does not exist"):
        load_audio(tmp_path / "none.wav", 16_000)
