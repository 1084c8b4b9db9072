"""A picture of a page becomes its words; a chart stays a picture.

The same happens in training and in service. Where no reader is installed, or reading is off, every picture stays one.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

from triptych.bundle import triptych_home
from triptych.data.media import is_vector, load_image
from triptych.data.transcripts import CachedReader
from triptych.errors import MissingError, PluginError
from triptych.host import default_host
from triptych.types import Sample
from triptych_finance.volatility.charts import is_drawn

READ = "read_image"
"""The metadata with what was read."""
LEAST_WORDS = 8
"""Of a page. What stands at the axes of a chart is numbers and names of months."""
_READER = "rapidocr"
_WORD = re.compile(r"[^\W\d_]{4,}")


def with_page_read(sample: Sample, reader: str) -> Sample:
    """The sample with the words of its picture, where that is a page, in place of the picture.

    They stand behind the sample's own text, and in the metadata as `read_image`. `reader` is "auto", "off" or a
    reader's name. Raises `MissingError` for a named reader that is not installed, and `DataError` for a picture that
    cannot be decoded.
    """
    if sample.image is None or is_vector(sample.image) or not isinstance(sample.text, str | None):
        return sample
    ocr = _opened(reader, triptych_home() / "cache" / "transcripts.sqlite3")
    if ocr is None or is_drawn(np.asarray(load_image(sample.image))):
        return sample
    # only the readings of labelled data are kept on disk, never those of requests
    words = ocr.read(sample.image, keep=sample.target is not None).strip()
    if len(_WORD.findall(words)) < LEAST_WORDS:
        return sample
    text = "\n".join(part for part in (sample.text, words) if part)
    return sample.replace(text=text, image=None, metadata={**sample.metadata, READ: words})


@functools.cache
def _opened(reader: str, kept: Path) -> CachedReader | None:
    """The reader, which remembers in memory and in the file `kept`; None where reading is off or nothing installed."""
    if reader == "off":
        return None
    try:
        found: Any = default_host().load_part("reader", _READER if reader == "auto" else reader)()
    except (MissingError, PluginError):
        if reader != "auto":
            raise
        return None
    return CachedReader(found, kept)
