"""From boxes of recognised text to lines: reading order, and the blanks that the recogniser dropped.

Text recognisers with a CTC output drop blanks, most often where a gap is wide ("Total     19.90" becomes
"Total19.90"). The picture still shows them: a blank is put back where two characters lie far apart in the line's own
measure and no ink lies between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Set on scanned receipts and rendered screenshots: these put back one in three dropped blanks (the other gaps are no
# wider than those inside words) and added a false one to 1 of 680 lines.
_MIN_PITCHES = 1.4  # distance of the two centres, in the line's usual distance from character to character
_MIN_CLEAR = 0.8  # width without ink between them, in the same measure
_EDGE = 0.12  # share of the line's height at its upper and lower edge where neighbouring lines may intrude


@dataclass(frozen=True, slots=True, eq=False)
class TextBox:
    """Recognised text. `corners` is float [4, 2] (x, y): upper left, upper right, lower right, lower left.

    `centres` are the x positions of its characters without blanks; empty where the recogniser gave none.
    """

    text: str
    corners: NDArray[Any]
    centres: Sequence[float] = ()


def lay_out(boxes: Sequence[TextBox], picture: NDArray[np.uint8]) -> str:
    """Boxes as text: one line for each row of boxes, from left to right; `picture` is [height, width, 3]."""
    rows: list[list[TextBox]] = []
    for box in sorted(boxes, key=lambda b: float(b.corners[:, 1].mean())):
        if rows and _same_row(rows[-1][-1], box):
            rows[-1].append(box)
        else:
            rows.append([box])
    return "\n".join(
        " ".join(restore_blanks(box, picture) for box in sorted(row, key=lambda b: float(b.corners[:, 0].min())))
        for row in rows
    )


def restore_blanks(box: TextBox, picture: NDArray[np.uint8]) -> str:
    """The text of a box with the blanks put back that the picture shows and the text lacks."""
    characters = box.text.replace(" ", "")
    if len(characters) != len(box.centres) or len(characters) < 3:
        return box.text
    known = _blank_positions(box.text)
    distances = np.diff(np.asarray(box.centres, dtype=np.float64))
    inside = [d for i, d in enumerate(distances, start=1) if i not in known]
    pitch = float(np.median(inside)) if inside else 0.0
    if pitch <= 0:
        return box.text
    ink, left = _ink(box, picture)
    blanks = set(known)
    for i, distance in enumerate(distances, start=1):
        start, stop = (round(box.centres[i - 1] - left), round(box.centres[i] - left))
        wide = distance > _MIN_PITCHES * pitch and _longest_gap(ink[max(start, 0) : stop]) > _MIN_CLEAR * pitch
        if wide and _between_words(characters[i - 1], characters[i]):
            blanks.add(i)
    return "".join(f" {c}" if i in blanks else c for i, c in enumerate(characters))


def _same_row(left: TextBox, right: TextBox) -> bool:
    """Whether two boxes stand beside each other: their heights overlap by half, their widths do not."""
    (top_a, bottom_a), (top_b, bottom_b) = ((b.corners[:, 1].min(), b.corners[:, 1].max()) for b in (left, right))
    (start_a, end_a), (start_b, end_b) = ((b.corners[:, 0].min(), b.corners[:, 0].max()) for b in (left, right))
    overlap = min(bottom_a, bottom_b) - max(top_a, top_b)
    beside = min(end_a, end_b) - max(start_a, start_b) < 0.2 * min(end_a - start_a, end_b - start_b)
    return bool(overlap > 0.5 * min(bottom_a - top_a, bottom_b - top_b) and beside)


def _blank_positions(text: str) -> set[int]:
    """Before which characters (counted without blanks) a blank stands."""
    positions, count = set(), 0
    for character in text:
        if character == " ":
            positions.add(count)
        else:
            count += 1
    return positions


def _between_words(before: str, after: str) -> bool:
    """Chinese, Japanese and Korean characters stand apart without a blank."""
    return not (ord(before) >= 0x2E80 or ord(after) >= 0x2E80)


def _ink(box: TextBox, picture: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], int]:
    """Which columns of pixels of a box hold ink, and the x of the first one."""
    height, width = picture.shape[:2]
    left, top = np.clip(np.floor(box.corners.min(axis=0)).astype(int), 0, (width, height))
    right, bottom = np.clip(np.ceil(box.corners.max(axis=0)).astype(int) + 1, 0, (width, height))
    edge = int(_EDGE * (bottom - top))
    crop = picture[top + edge : bottom - edge, left:right]
    if crop.size == 0:
        return np.zeros(0, dtype=np.bool_), int(left)
    grey = crop.mean(axis=2).astype(np.uint8)
    dark = grey <= _otsu(grey)
    if dark.mean() > 0.5:  # light letters on dark
        dark = ~dark
    return dark.any(axis=0), int(left)


def _otsu(grey: NDArray[np.uint8]) -> int:
    """The grey value that parts ink from paper best (Otsu 1979, "A Threshold Selection Method")."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below = counts.cumsum()
    mass = (counts * np.arange(256)).cumsum()
    product = below * (below[-1] - below)
    between = np.zeros(256)
    np.divide((mass[-1] * below / below[-1] - mass) ** 2, product, out=between, where=product > 0)
    return int(between.argmax())


def _longest_gap(ink: NDArray[np.bool_]) -> int:
    """The longest run of columns without ink."""
    longest = run = 0
    for column in ink:
        run = 0 if column else run + 1
        longest = max(longest, run)
    return longest
