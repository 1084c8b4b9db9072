"""Feedback on answers as labelled messages: what people said was right, or what they said it was about instead."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from triptych.data.kinds import suffix
from triptych.errors import ConfigError
from triptych_customer_service.conversations import Conversations, Line

COLUMNS = ("id", "text", "image", "audio", "label", "group", "decision")
_CONFIRMED = ("answered", "not_in_knowledge_base")  # statuses whose intent a thumb up confirms


@dataclass(frozen=True, slots=True)
class Labelled:
    """One message with its label. `decision` is the id of the decision that was judged, where it is known."""

    id: str
    text: str
    media: dict[str, bytes]
    label: str
    group: str  # the conversation
    decision: str


def labelled(store: Conversations, outside: str) -> Iterator[Labelled]:
    """All that the store's feedback says, conversation by conversation. `outside` is the label of what is refused."""
    for summary in store.list():
        lines = store.thread(summary.id)
        for row, line in enumerate(lines):
            label = _label(line, outside)
            if label:
                found = _message(store, summary.id, _asked(lines, row), label, line)
                if found is not None:
                    yield found


def write_labels(rows: Iterable[Labelled], folder: Path) -> int:
    """Write `messages.csv` with its media beside it, as `triptych run --data` reads them; returns how many messages.

    Raises `ConfigError` for a folder that is there and not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already; name a folder that is not, or that is empty")
    (folder / "media").mkdir(parents=True)
    written = 0
    with (folder / "messages.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for row in rows:
            named = {m: f"media/{row.id}-{m}{suffix(content, m)}" for m, content in row.media.items()}
            for modality, content in row.media.items():
                (folder / named[modality]).write_bytes(content)
            said = {"id": row.id, "text": row.text, "label": row.label, "group": row.group, "decision": row.decision}
            table.writerow({**said, **named})
            written += 1
    return written


def _label(line: Line, outside: str) -> str | None:
    """The label that the feedback on this answer gives to the message before it."""
    said, turn = line.feedback, line.turn
    if said is None:
        return None
    if said.intent is not None:
        return said.intent
    if said.rating == "down":
        return None  # it was wrong, and nobody said what would be right
    if turn.status == "out_of_scope":
        return outside
    return turn.intent if turn.status in _CONFIRMED else None


def _asked(lines: list[Line], answer: int) -> Line:
    """The message that an answer is about: words such as "the first one" answer our own question, not theirs."""
    row = answer - 1
    while row >= 2 and lines[row - 1].turn.status == "clarify":
        row -= 2
    return lines[row]


def _message(store: Conversations, conversation: str, asked: Line, label: str, judged: Line) -> Labelled | None:
    turn = asked.turn
    media = {m: content for m in asked.media if (content := store.attachment(conversation, turn.number, m)) is not None}
    parts = [turn.text]
    if "audio" not in media:
        parts.append(turn.read_audio)  # of media that were not kept, what was read is left
    if "image" not in media:
        parts.append(turn.read_image)
    text = "\n".join(part for part in parts if part)
    if not text and not media:
        return None
    decision = (judged.feedback.decision if judged.feedback else None) or ""
    return Labelled(f"{conversation}-{judged.turn.number}", text, media, label, conversation, decision)
