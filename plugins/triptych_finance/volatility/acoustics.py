"""How something was said: acoustic features of sentences, from a table or from a waveform, pooled to one vector a call.

The names, and the units where they are measured here, are those of MAEC (Li et al. 2020), which took them from Praat's
voice report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from triptych.data.tables import Row, format_of, read_table
from triptych.errors import DataError

Array = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float32]

FEATURES = (
    "mean_pitch", "standard_deviation", "minimum_pitch", "maximum_pitch", "mean_intensity", "minimum_intensity",
    "maximum_intensity", "number_of_pulses", "number_of_periods", "mean_period", "standard_deviation_of_period",
    "fraction_of_unvoiced", "number_of_voice_breaks", "degree_of_voice_breaks", "jitter_local", "jitter_local_absolute",
    "jitter_rap", "jitter_ppq5", "jitter_ddp", "shimmer_local", "shimmer_local_db", "shimmer_apq3", "shimmer_apq5",
    "shimmer_apq11", "shimmer_dda", "mean_autocorrelation", "mean_nhr", "mean_hnr", "audio_length",
)  # fmt: skip
UNDEFINED = ("", "nan", "--undefined--")  # as Praat and its users write what a sentence does not have
QUANTILES = (0.1, 0.5, 0.9)
POOLED = (2 + len(QUANTILES)) * len(FEATURES)

LOWEST_HZ, HIGHEST_HZ = 75.0, 500.0
FRAME_S, HOP_S = 3 / LOWEST_HZ, 0.01
VOICED_FROM = 0.45  # of the normalised autocorrelation
SILENT_UNDER = 0.03  # of the loudest sample
OCTAVE_COST = 0.01  # what an octave down costs a candidate, so that a period is not taken for two
HEARING_PA = 2e-5  # sound pressure of 0 dB
PERIOD_FACTOR, AMPLITUDE_FACTOR = 1.3, 1.6  # neighbours that differ by more are no neighbours (Praat's defaults)
_BATCH = 2048  # frames analysed at once
_NOTHING: Array = np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The sentences of a call in order: their texts ("" where the table has none) and features [sentences, 29]."""

    id: str
    texts: tuple[str, ...]
    features: Vector


def read_calls(path: Path) -> dict[str, Call]:
    """A CSV (also gzipped), TSV, JSONL or Parquet file: `call_id`, `sentence` (a number), maybe `text`, and `FEATURES`.

    A cell may be undefined (`UNDEFINED`) and a feature without a column is so everywhere. Raises `DataError` naming
    file, row and call.
    """
    kind = format_of(path)
    if kind is None:
        raise DataError("sentences are a .csv, .tsv, .jsonl or .parquet file", file=path)
    table = read_table(path, kind)
    missing = [name for name in ("call_id", "sentence") if name not in table.columns]
    if missing:
        raise DataError(f"the header lacks {', '.join(missing)}", file=path)
    if not set(FEATURES) & set(table.columns):
        raise DataError(f"no column is an acoustic feature; known are {', '.join(FEATURES)}", file=path)
    calls: dict[str, dict[int, tuple[str, list[float]]]] = {}
    for row in table.rows:
        if row.problem:
            raise DataError(row.problem, file=path, row=row.number)
        call, number = str(row.values["call_id"] or "").strip(), _sentence(row, path)
        if not call:
            raise DataError("call_id is empty", file=path, row=row.number)
        sentences = calls.setdefault(call, {})
        if number in sentences:
            raise DataError(f"{call} has sentence {number} twice", file=path, row=row.number)
        text = str(row.values.get("text") or "").strip()
        sentences[number] = (text, [_value(row, name, call, path) for name in FEATURES])
    return {
        call: Call(
            call,
            tuple(sentences[n][0] for n in sorted(sentences)),
            np.array([sentences[n][1] for n in sorted(sentences)], dtype=np.float32),
        )
        for call, sentences in calls.items()
    }


def pool(features: npt.ArrayLike) -> Vector:
    """Features [sentences, 29] to one vector: mean, deviation and `QUANTILES` of each over the sentences, [145].

    Undefined values (NaN, infinite) are left out; a feature that no sentence has is NaN, as all are of no sentences.
    """
    values = np.asarray(features, dtype=np.float64).reshape(-1, len(FEATURES))
    pooled = np.full((2 + len(QUANTILES), len(FEATURES)), np.nan)
    for column, all_values in enumerate(values.T):
        known = all_values[np.isfinite(all_values)]
        if len(known):
            pooled[:, column] = [known.mean(), known.std(), *np.quantile(known, QUANTILES)]
    return pooled.reshape(-1).astype(np.float32)


def measure(samples: npt.ArrayLike, rate: int) -> Vector:
    """A sentence's features from its waveform, mono float [samples] in [-1, 1]; [29].

    Pitch and harmonicity by the autocorrelation of Hann windows divided by the window's own (Boersma 1993), periods by
    stepping from peak to peak of each voiced stretch. Features that are not measured here, or that a sound without a
    voice does not have, are NaN. The values are near Praat's, not equal to them: a model trained on a table of the one
    should not be fed with the other. Raises `DataError` for anything but a finite mono sound at 1,000 Hz or more.
    """
    sound = _sound(samples, rate)
    found = dict.fromkeys(FEATURES, math.nan)
    found["audio_length"] = len(sound) / rate
    pitch, strength = _track(sound, rate)
    voiced = pitch > 0
    if len(pitch):
        found["fraction_of_unvoiced"] = 100 * float(1 - voiced.mean())
        power = float(np.mean(sound**2))
        if power > 0:
            found["mean_intensity"] = 10 * math.log10(power / HEARING_PA**2)
    if voiced.any():
        heard, r = pitch[voiced], np.clip(strength[voiced], 1e-6, 1 - 1e-6)
        found |= {
            "mean_pitch": float(heard.mean()),
            "standard_deviation": float(heard.std()),
            "minimum_pitch": float(heard.min()),
            "maximum_pitch": float(heard.max()),
            "mean_autocorrelation": float(r.mean()),
            "mean_nhr": float(((1 - r) / r).mean()),
            "mean_hnr": float(10 * np.log10(r / (1 - r)).mean()),
        }
        found |= _perturbation(sound, rate, pitch)
    return np.array([found[name] for name in FEATURES], dtype=np.float32)


def _sound(samples: npt.ArrayLike, rate: int) -> Array:
    sound = np.asarray(samples, dtype=np.float64)
    if sound.ndim != 1 or rate < 2 * HIGHEST_HZ:
        raise DataError(f"expected a mono sound at {2 * HIGHEST_HZ:.0f} Hz or more, got {sound.shape} at {rate} Hz")
    if not np.isfinite(sound).all():
        raise DataError("the sound holds values that are not numbers")
    return sound


def _track(sound: Array, rate: int) -> tuple[Array, Array]:
    """Pitch in Hz (0 where there is no voice) and normalised autocorrelation of each frame, [frames] each."""
    size, hop = round(FRAME_S * rate), round(HOP_S * rate)
    if len(sound) < size:
        return _NOTHING, _NOTHING
    frames = sliding_window_view(sound, size)[::hop]
    window = np.hanning(size + 2)[1:-1]
    padded = 1 << (2 * size - 1).bit_length()
    own = np.fft.irfft(np.abs(np.fft.rfft(window, padded)) ** 2)[:size]
    shortest, longest = math.floor(rate / HIGHEST_HZ), math.ceil(rate / LOWEST_HZ)
    lags = np.arange(shortest, min(longest, size - 2) + 1)
    loud = SILENT_UNDER * float(np.abs(sound).max())
    pitch, strength = np.zeros(len(frames)), np.zeros(len(frames))
    for start in range(0, len(frames), _BATCH):
        batch = frames[start : start + _BATCH]
        batch = batch - batch.mean(axis=1, keepdims=True)
        spectrum = np.fft.rfft(batch * window, padded, axis=1)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :size]
        energy = np.maximum(correlation[:, :1], np.finfo(np.float64).tiny)
        r = correlation / energy / (own / own[0])
        lag, peak = _best_lag(r, lags)
        heard = (peak >= VOICED_FROM) & (np.abs(batch).max(axis=1) > loud)
        rows = slice(start, start + len(batch))
        pitch[rows] = np.where(heard, rate / lag, 0.0)
        strength[rows] = peak
    return pitch, strength


def _best_lag(r: Array, lags: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """The lag of the best peak of each autocorrelation [frames, lags] between samples, and its height."""
    rows = np.arange(len(r))
    inner = r[:, lags]
    is_peak = (inner >= r[:, lags - 1]) & (inner > r[:, lags + 1])
    score = np.where(is_peak, inner - OCTAVE_COST * np.log2(lags / lags[0]), -np.inf)
    best = lags[score.argmax(axis=1)]
    before, at, after = r[rows, best - 1], r[rows, best], r[rows, best + 1]
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1.0), 0.0)
    none = ~is_peak.any(axis=1)
    return best + np.clip(shift, -0.5, 0.5), np.where(none, 0.0, at - 0.25 * (before - after) * shift)


def _perturbation(sound: Array, rate: int, pitch: Array) -> dict[str, float]:
    """Periods, and how much neighbours differ in length (jitter) and in height (shimmer)."""
    periods, period_steps, height_ratios = [_NOTHING], [_NOTHING], [_NOTHING]
    pulses = 0
    for times, heights in _pulses(sound, rate, pitch):
        pulses += len(times)
        lengths = np.diff(times) / rate
        periods.append(lengths)
        close = _near(lengths, PERIOD_FACTOR)
        period_steps.append(np.abs(np.diff(lengths))[close])
        height_ratios.append((heights[1:] / heights[:-1])[_near(heights, AMPLITUDE_FACTOR)])
    length, step, ratio = (np.concatenate(parts) for parts in (periods, period_steps, height_ratios))
    found: dict[str, float] = {"number_of_pulses": float(pulses), "number_of_periods": float(len(length))}
    if len(step):
        found |= {"mean_period": float(length.mean()), "standard_deviation_of_period": float(length.std())}
        found["jitter_local_absolute"] = float(step.mean())
        found["jitter_local"] = 100 * float(step.mean() / length.mean())
    if len(ratio):
        found["shimmer_local_db"] = float(np.abs(20 * np.log10(ratio)).mean())
        found["shimmer_local"] = 100 * float((2 * np.abs(ratio - 1) / (ratio + 1)).mean())
    return found


def _near(values: Array, factor: float) -> Any:
    """Which neighbours differ by no more than a factor, [values - 1]."""
    ratio = values[1:] / values[:-1]
    return np.maximum(ratio, 1 / ratio) <= factor


def _pulses(sound: Array, rate: int, pitch: Array) -> Iterator[tuple[Array, Array]]:
    """For each voiced stretch the times (in samples) and heights of its pulses, one a period."""
    hop, size = round(HOP_S * rate), round(FRAME_S * rate)
    voiced = np.concatenate([[False], pitch > 0, [False]])
    starts, stops = np.flatnonzero(~voiced[:-1] & voiced[1:]), np.flatnonzero(voiced[:-1] & ~voiced[1:])
    for first, last in zip(map(int, starts), map(int, stops), strict=True):
        at, end = first * hop + size // 4, min((last - 1) * hop + size - size // 4, len(sound) - 1)
        times: list[float] = []
        heights: list[float] = []
        low, high = at, at + int(rate / pitch[first])
        while high < end:
            peak = low + int(sound[low : high + 1].argmax())
            if sound[peak] > 0 and peak > 0:
                before, top, after = map(float, sound[peak - 1 : peak + 2])
                bend = before - 2 * top + after
                shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
                times.append(peak + float(np.clip(shift, -0.5, 0.5)))
                heights.append(top)
            frame = min(last - 1, max(first, (peak - size // 2) // hop))
            period = rate / pitch[frame]
            low, high = peak + round(0.75 * period), peak + round(1.25 * period)
        if len(times) > 2:
            yield np.array(times), np.array(heights)


def _sentence(row: Row, path: Path) -> int:
    try:
        return int(row.values["sentence"])
    except (TypeError, ValueError) as error:
        reason = f"sentence must be a whole number, got {row.values['sentence']!r}"
        raise DataError(reason, file=path, row=row.number) from error


def _value(row: Row, name: str, call: str, path: Path) -> float:
    value = row.values.get(name)
    if value is None or (isinstance(value, str) and value.strip().lower() in UNDEFINED):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{call}: {name} is not a number: {value!r}", file=path, row=row.number) from error
