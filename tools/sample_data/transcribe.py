"""Reads every picture and voice note of the sample with the real readers, and writes sample/transcripts.jsonl.

    python tools/sample_data/transcribe.py        # minutes: about a second a file

A run on the sample then needs no OCR and no speech recognition. The lines hold what the readers really made of the
files, mistakes included.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor

from make import SAMPLE

from triptych.data.media import value_digest
from triptych.data.readers import PocketSphinx, RapidOcr, Reader

READERS: dict[str, type[Reader]] = {"pictures": RapidOcr, "voices": PocketSphinx}


def transcripts(folder: str) -> list[str]:
    """One JSON line for each file of a folder, in the order of their names."""
    reader = READERS[folder]()
    lines = []
    for path in sorted((SAMPLE / folder).iterdir()):
        said = {"reader": reader.name, "fingerprint": reader.fingerprint, "text": reader.read(path)}
        lines.append(json.dumps({"digest": value_digest(path), **said}, ensure_ascii=False))
    return lines


def main() -> None:
    """Read pictures and voices side by side, then write."""
    with ProcessPoolExecutor(len(READERS)) as pool:
        lines = [line for part in pool.map(transcripts, READERS) for line in part]
    (SAMPLE / "transcripts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
