"""Reads every picture and voice note of the sample with the real readers, and writes sample/transcripts.jsonl.

    python tools/sample_data/transcribe.py        # minutes: about a second a file

A run on the sample then needs no OCR and no speech recognition. The lines hold what the readers really made of the
files, mistakes included.
"""

from __future__ import annotations

import json
from importlib.metadata import version

from make import SAMPLE
from triptych.data.readers import PocketSphinx, RapidOcr

from triptych.data.media import value_digest


def main() -> None:
    """Write the transcripts in the order of the files."""
    with (SAMPLE / "transcripts.jsonl").open("w", encoding="utf-8") as file:
        for folder, reader in (("pictures", RapidOcr()), ("voices", PocketSphinx())):
            for path in sorted((SAMPLE / folder).iterdir()):
                line = {
                    "digest": value_digest(path),
                    "reader": reader.name,
                    "version": version(reader.name),
                    "text": reader.read(path),
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()


if __name__ == "__main__":
    main()
