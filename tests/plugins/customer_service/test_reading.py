"""OCR and speech recognition: appended to the words, remembered, and not missed where they are absent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.data.media import value_digest
from triptych.data.readers import Reader
from triptych.data.transcripts import CachedReader
from triptych.errors import MissingError, UnknownNameError
from triptych.types import Modality, Sample
from triptych_customer_service import reading
from triptych_customer_service.reading import read_media
from triptych_customer_service.settings import Readers


class Counting(Reader):
    """A reader that says how often it has read."""

    def __init__(self, modality: Modality, name: str = "counting") -> None:
        self.modality, self.name, self.count = modality, name, 0

    @property
    def fingerprint(self) -> str:
        return f"{self.name} 1"

    def read(self, value: Any) -> str:
        self.count += 1
        return f" {self.modality} {len(value)} "


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counting]:
    """A counting reader for each modality, where the config does not say "off"."""
    found = {"image": Counting("image"), "audio": Counting("audio")}
    cached = {m: CachedReader(reader) for m, reader in found.items()}
    monkeypatch.setattr(reading, "_reader", lambda modality, choice, _: None if choice == "off" else cached[modality])
    return found


def host_of(reader: Reader) -> type:
    """A host that has this reader alone."""

    class Host:
        def load_part(self, kind: str, name: str) -> Any:
            return lambda: reader

    return Host


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Reader], None]]:
    """Makes the readers anew, as in a new process, with this one installed."""

    def start(reader: Reader) -> None:
        reading._reader.cache_clear()
        monkeypatch.setattr(reading, "default_host", host_of(reader))

    yield start
    reading._reader.cache_clear()


def test_what_was_said_and_read_follows_the_words(readers):
    sample = read_media(Sample("1", text="look", image=b"pic", audio=b"sound"), Readers())
    assert sample.text == "look\naudio 5\nimage 3"
    assert dict(sample.metadata) == {"read_audio": "audio 5", "read_image": "image 3"}
    assert (sample.image, sample.audio) == (b"pic", b"sound")


def test_a_picture_alone_gets_its_text(readers):
    assert read_media(Sample("1", image=b"pic"), Readers()).text == "image 3"


def test_readers_that_are_off_leave_the_sample_as_it_came(readers):
    sample = Sample("1", text="look", image=b"pic", audio=b"sound")
    assert read_media(sample, Readers(ocr="off", asr="off")) is sample


def test_feature_vectors_are_not_read(readers):
    vector = np.zeros(3, dtype=np.float32)
    sample = Sample("1", text="look", image=vector)
    assert read_media(sample, Readers()) is sample
    assert read_media(Sample("1", text=vector, image=b"pic"), Readers()).text is vector


def test_the_same_content_is_read_once_in_a_process(readers, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"pic")
    for image in (b"pic", tmp_path / "a.png", b"pic"):
        read_media(Sample("1", image=image), Readers())
    assert readers["image"].count == 1


def test_readings_of_labelled_data_outlast_the_process_and_those_of_customers_do_not(triptych_home: Path, fresh):
    for target, times in ((None, 2), ("refund", 1), (None, 2)):  # what the disk has is not used for customers either
        count = 0
        for _ in range(2):
            reader = Counting("image")
            fresh(reader)
            assert read_media(Sample("1", image=b"pic", target=target), Readers()).text == "image 3"
            count += reader.count
        assert count == times
    assert b"image 3" in b"".join(path.read_bytes() for path in (triptych_home / "cache").iterdir())


def test_readings_of_customers_media_leave_no_file(triptych_home: Path, fresh):
    fresh(Counting("image"))
    read_media(Sample("1", image=b"pic"), Readers())
    assert not (triptych_home / "cache").exists()


def test_a_home_that_cannot_be_written_costs_the_memory_only(triptych_home: Path, fresh):
    (triptych_home / "cache").write_text("a file where a folder should be")
    fresh(Counting("image"))
    assert read_media(Sample("1", image=b"pic", target="refund"), Readers()).text == "image 3"


def test_shipped_readings_are_used_for_their_own_reader_only(fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = {"reader": "counting", "fingerprint": "counting 0", "digest": value_digest(b"pic"), "text": "shipped"}
    (tmp_path / "transcripts.jsonl").write_text(json.dumps(row))
    monkeypatch.setattr(reading, "SHIPPED", tmp_path / "transcripts.jsonl")
    for name, text in (("counting", "shipped"), ("another", "image 3")):
        fresh(Counting("image", name))
        assert read_media(Sample("1", image=b"pic"), Readers()).text == text


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch):
    """Readers whose packages are missing."""

    class Host:
        def load_part(self, kind: str, name: str) -> Any:
            def missing() -> None:
                raise MissingError(f"{name} is not installed; pip install {name}")

            return missing

    monkeypatch.setattr(reading, "default_host", Host)
    reading._reader.cache_clear()
    yield
    reading._reader.cache_clear()


@pytest.mark.usefixtures("nothing_installed")
def test_where_no_reader_is_installed_the_sample_stays_as_it_came():
    sample = Sample("1", text="look", image=b"pic", audio=b"sound")
    assert read_media(sample, Readers()) is sample


@pytest.mark.usefixtures("nothing_installed")
def test_a_reader_asked_for_by_name_must_be_there():
    with pytest.raises(MissingError, match="pip install rapidocr"):
        read_media(Sample("1", image=b"pic"), Readers(ocr="rapidocr"))


def test_a_reader_that_nobody_offers_is_refused_with_the_known_names():
    with pytest.raises(UnknownNameError, match="rapidocr"):
        read_media(Sample("1", image=b"pic"), Readers(ocr="rapidorc"))
