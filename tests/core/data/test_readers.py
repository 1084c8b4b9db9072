"""Readers: real engines where they are installed, fakes for what is ours."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.core.data.makers import tone
from triptych.data.readers import SPEECH_RATE_HZ, EngineReader, PocketSphinx, RapidOcr, Whisper, _windows
from triptych.errors import DataError, MissingError
from triptych.types import Waveform

LINES = ["Error 403: payment declined", "I was charged twice for order 48213", "Total          19.90"]


class Slow(EngineReader):
    """Counts its starts and whether two readings ever overlap."""

    modality = "text"
    name = "slow"
    fingerprint = "slow 1"
    starts = inside = worst = 0

    def decode(self, value: Any) -> Any:
        return np.asarray([value])

    def start(self) -> str:
        self.starts += 1
        time.sleep(0.02)
        return "engine"

    def read_decoded(self, engine: Any, decoded: Any) -> str:
        self.inside += 1
        self.worst = max(self.worst, self.inside)
        time.sleep(0.001)
        self.inside -= 1
        return f"{engine} {decoded[0]}"


def screenshot(lines: list[str], size: int = 22) -> Image.Image:
    image = Image.new("RGB", (620, 30 + int(size * 1.7) * len(lines)), "white")
    for i, line in enumerate(lines):
        ImageDraw.Draw(image).text(
            (15, 12 + i * int(size * 1.7)), line, fill="black", font=ImageFont.load_default(size)
        )
    return image


def test_an_engine_starts_once_and_reads_one_value_at_a_time() -> None:
    reader = Slow()
    assert reader.starts == 0
    texts: list[str] = []
    threads = [threading.Thread(target=lambda i=i: texts.append(reader.read(i))) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (reader.starts, reader.worst) == (1, 1)
    assert sorted(texts) == sorted(f"engine {i}" for i in range(12))


@pytest.fixture(scope="module")
def ocr() -> RapidOcr:
    pytest.importorskip("rapidocr")
    return RapidOcr()


def test_text_in_a_screenshot_is_read_with_its_blanks(ocr: RapidOcr, capfd: pytest.CaptureFixture[str]) -> None:
    text = ocr.read(screenshot(LINES))
    assert text.split("\n") == [" ".join(line.split()) for line in LINES]
    assert capfd.readouterr().out == ""


def test_a_picture_without_text_reads_as_nothing(ocr: RapidOcr) -> None:
    assert ocr.read(Image.new("RGB", (200, 100), "white")) == ""


def test_a_damaged_picture_is_an_error(ocr: RapidOcr) -> None:
    with pytest.raises(DataError, match="not a picture"):
        ocr.read(b"no picture")


def test_readers_say_name_version_and_settings(ocr: RapidOcr) -> None:
    assert ocr.fingerprint.startswith("rapidocr 3.")
    assert ocr.fingerprint != RapidOcr(min_side=736).fingerprint


@pytest.mark.slow
def test_speech_is_read_the_same_in_any_order(shared_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pocketsphinx")
    reader = PocketSphinx()
    clips = [shared_data / "audio" / "fsdd" / "jackson" / f"{digit}_jackson_0.flac" for digit in (1, 2, 7)]
    forward = [reader.read(clip) for clip in clips]
    assert forward[:2] == ["one", "two"]
    assert [reader.read(clip) for clip in reversed(clips)] == forward[::-1]
    assert reader.read(Waveform(np.zeros(1_600, np.float32), SPEECH_RATE_HZ)) == ""
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("make", "package"), [(RapidOcr, "rapidocr"), (PocketSphinx, "pocketsphinx")])
def test_a_reader_without_its_package_says_what_to_install(
    make: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=rf"{package} is not installed: pip install 'triptych\[offline\]'"):
        make()


def tiny_whisper(folder: Path) -> Path:
    """A Whisper of random weights that writes bytes, with every file of a real one."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    tokenizer = WhisperTokenizer(vocab={c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}, merges=[])
    marks = ["startoftranscript", "en", "transcribe", "translate", "startofprev", "notimestamps"]
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<|{mark}|>" for mark in marks]})
    tokenizer.add_tokens([f"<|{i * 0.02:.2f}|>" for i in range(1_501)])
    number = {mark: tokenizer.convert_tokens_to_ids(f"<|{mark}|>") for mark in ["endoftext", *marks]}
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), number["endoftext"])
    small = dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim"), 16)
    single = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    start = number["startoftranscript"]
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=len(tokenizer), decoder_start_token_id=start, **small, **single, **heads, **ends)
    )
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start,
        no_timestamps_token_id=number["notimestamps"],
        prev_sot_token_id=number["startofprev"],
        is_multilingual=True,
        lang_to_id={"<|en|>": number["en"]},
        task_to_id={"transcribe": number["transcribe"], "translate": number["translate"]},
        max_length=8,
        suppress_tokens=[i for i in range(len(tokenizer)) if not 64 <= i < 90],
        begin_suppress_tokens=[],
        **ends,
    )
    for part in (model, tokenizer, WhisperFeatureExtractor(feature_size=80)):
        part.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("language", [None, "en"])
def test_whisper_reads_from_a_folder_in_windows(tmp_path: Path, language: str | None) -> None:
    reader = Whisper(str(tiny_whisper(tmp_path / "w")), language=language)
    short = reader.read(Waveform(tone(1.0), SPEECH_RATE_HZ))
    assert len(short) == 8
    assert len(reader.read(Waveform(tone(50.0), SPEECH_RATE_HZ)).split()) in (2, 3)
    assert reader.fingerprint.endswith(f"language={language}")


def test_whisper_looks_below_the_folder_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_WEIGHTS", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    reader = Whisper("mine")
    assert reader.model == tmp_path / "mine"
    with pytest.raises(MissingError, match="cannot be loaded"):
        reader.read(Waveform(tone(), SPEECH_RATE_HZ))


@pytest.mark.parametrize("model", ["openai/none-such", "/no/such/folder", "a/b/c"])
def test_whisper_without_weights_says_where_they_come_from(model: str) -> None:
    with pytest.raises(MissingError, match=f"looked for {model}.*hf download"):
        Whisper(model)


def test_long_speech_is_cut_where_it_is_quiet() -> None:
    samples = np.ones(50 * SPEECH_RATE_HZ, np.float32)
    samples[21 * SPEECH_RATE_HZ : 22 * SPEECH_RATE_HZ] = 0
    pieces = _windows(samples, 30 * SPEECH_RATE_HZ)
    assert [round(len(piece) / SPEECH_RATE_HZ, 2) for piece in pieces] == [21.05, 28.95]
    assert np.array_equal(np.concatenate(pieces), samples)


def test_reading_a_picture_tells_nobody(tmp_path):
    pytest.importorskip("rapidocr")
    pytest.importorskip("onnxruntime")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "blank.png")
    script = f"from triptych.data.readers import RapidOcr; RapidOcr().read({str(tmp_path / 'blank.png')!r})"
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-c", script], check=True, env={**environment, "HOME": str(home)}, timeout=120)
    assert not list(home.rglob("*onnxruntime*")), "the runtime keeps a queue of reports there when it is to send any"
