"""Conversations on disk: SQLite in WAL mode, so that they survive a restart, and any number of processes may read.

Each answer is one transaction: a killed process leaves the turn and its answer, or neither.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from triptych.errors import MissingError
from triptych.sql.wal import write_ahead
from triptych_customer_service.answer import Before
from triptych_customer_service.responses import Alternative, CustomerAnswer, Feedback, HandOff, Turn

FILE = "conversations.sqlite3"
SCHEMA_VERSION = 2  # 2: answers and feedback
ERASE_PATIENCE_S = 5.0  # how long erasing waits for those who are reading
_SCHEMA = """
CREATE TABLE IF NOT EXISTS conversation (
    id TEXT PRIMARY KEY, began TEXT NOT NULL, last TEXT NOT NULL, language TEXT
);
CREATE TABLE IF NOT EXISTS turn (
    conversation TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE, number INTEGER NOT NULL,
    content TEXT NOT NULL, alternatives TEXT NOT NULL DEFAULT '[]', PRIMARY KEY (conversation, number)
);
CREATE TABLE IF NOT EXISTS attachment (
    conversation TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE, number INTEGER NOT NULL,
    modality TEXT NOT NULL, digest TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (conversation, number, modality)
);
CREATE TABLE IF NOT EXISTS handoff (
    reference TEXT PRIMARY KEY, conversation TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    at TEXT NOT NULL, packet TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS answer (
    conversation TEXT NOT NULL, number INTEGER NOT NULL, content TEXT NOT NULL, PRIMARY KEY (conversation, number),
    FOREIGN KEY (conversation, number) REFERENCES turn (conversation, number) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS feedback (
    conversation TEXT NOT NULL, number INTEGER NOT NULL, at TEXT NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (conversation, number),
    FOREIGN KEY (conversation, number) REFERENCES turn (conversation, number) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS handoff_of ON handoff (conversation);
"""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A picture or a voice note that came with a message; `content` is None where media are not kept."""

    modality: str
    digest: str
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of the list of conversations."""

    id: str
    began: str
    last: str
    turns: int
    status: str
    urgency: str
    first_words: str


def _as_shown(answer: CustomerAnswer) -> CustomerAnswer:
    """Without the colleague's evidence, and without the transcript, which the turns are."""
    if answer.handoff is None:
        return answer
    packet = answer.handoff.model_copy(update={"evidence": answer.evidence, "transcript": []})
    return answer.model_copy(update={"handoff": packet})


def now() -> str:
    """The time as it is stored: UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class Line:
    """A turn with the answer as it was shown, what somebody thinks of it, and which media are kept of a message."""

    turn: Turn
    answer: CustomerAnswer | None
    feedback: Feedback | None
    media: builtins.list[str]


class Conversations:
    """The store. Connections live for one call, so an instance may be shared by threads."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def before(self, conversation: str | None) -> Before:
        """What earlier turns mean for the next one; nothing, for a new conversation."""
        if conversation is None:
            return Before()
        with self._open() as db:
            rows = db.execute(
                "SELECT content, alternatives FROM turn WHERE conversation = ? ORDER BY number DESC", (conversation,)
            ).fetchall()
        answers = [(Turn.model_validate_json(c), a) for c, a in rows if json.loads(c)["role"] == "assistant"]
        if not answers:
            return Before()
        asked = 0
        while asked < len(answers) and answers[asked][0].status == "clarify":
            asked += 1
        alternatives = [Alternative.model_validate(a) for a in json.loads(answers[0][1])]
        return Before(answers[0][0].status, alternatives, asked)

    def add(
        self, answer: CustomerAnswer, said: Turn, attachments: builtins.list[Attachment], language: str | None
    ) -> CustomerAnswer:
        """Write a message and its answer, all or nothing; returned with its number and the hand-off's transcript."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            key = answer.conversation
            db.execute(
                "INSERT INTO conversation VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET last = excluded.last, "
                "language = coalesce(excluded.language, language)",
                (key, said.at, now(), language),
            )
            first = db.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM turn WHERE conversation = ?", (key,)
            ).fetchone()[0]
            reply = Turn(
                number=first + 1, role="assistant", at=now(), text=answer.answer, status=answer.status,
                intent=answer.intent, confidence=answer.intent_confidence, urgency=answer.urgency,
            )  # fmt: skip
            for turn, offered in ((said.model_copy(update={"number": first}), []), (reply, answer.alternatives)):
                listed = json.dumps([alternative.model_dump() for alternative in offered])
                db.execute("INSERT INTO turn VALUES (?, ?, ?, ?)", (key, turn.number, turn.model_dump_json(), listed))
            db.executemany(
                "INSERT INTO attachment VALUES (?, ?, ?, ?, ?)",
                [(key, first, a.modality, a.digest, a.content) for a in attachments if a.content is not None],
            )
            if answer.handoff is not None:
                packet = answer.handoff.model_copy(update={"transcript": self._turns(db, key)})
                answer = answer.model_copy(update={"handoff": packet})
                row = (packet.reference, key, packet.at, packet.model_dump_json())
                db.execute("INSERT INTO handoff VALUES (?, ?, ?, ?)", row)
            answer = answer.model_copy(update={"number": reply.number})
            db.execute("INSERT INTO answer VALUES (?, ?, ?)", (key, reply.number, _as_shown(answer).model_dump_json()))
            db.execute("COMMIT")
        return answer

    def turns(self, conversation: str) -> builtins.list[Turn]:
        """All turns of a conversation in order; empty where there is no such conversation."""
        with self._open() as db:
            return self._turns(db, conversation)

    def thread(self, conversation: str) -> builtins.list[Line]:
        """All turns with what belongs to them; empty where there is no such conversation."""
        with self._open() as db:
            rows = db.execute(
                "SELECT t.number, t.content, a.content, f.content FROM turn t LEFT JOIN answer a USING (conversation, "
                "number) LEFT JOIN feedback f USING (conversation, number) WHERE conversation = ? ORDER BY number",
                (conversation,),
            ).fetchall()
            media = db.execute(
                "SELECT number, modality FROM attachment WHERE conversation = ? ORDER BY modality DESC", (conversation,)
            ).fetchall()
        return [
            Line(
                Turn.model_validate_json(turn),
                None if answer is None else CustomerAnswer.model_validate_json(answer),
                None if feedback is None else Feedback.model_validate_json(feedback),
                [modality for of, modality in media if of == number],
            )
            for number, turn, answer, feedback in rows
        ]

    def rate(self, conversation: str, number: int, feedback: Feedback) -> bool:
        """Write down what somebody thinks of an answer, instead of what was there before. False: no such answer."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute(
                "SELECT content FROM turn WHERE conversation = ? AND number = ?", (conversation, number)
            ).fetchone()
            found = row is not None and json.loads(row[0])["role"] == "assistant"
            if found:
                values = (conversation, number, now(), feedback.model_dump_json())
                db.execute("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?)", values)
            db.execute("COMMIT")
        return found

    def handoffs(self, conversation: str | None = None) -> builtins.list[HandOff]:
        """The hand-offs of one conversation, or of all, oldest first."""
        with self._open() as db:
            rows = db.execute(
                "SELECT packet FROM handoff WHERE ?1 IS NULL OR conversation = ?1 ORDER BY at", (conversation,)
            ).fetchall()
        return [HandOff.model_validate_json(row[0]) for row in rows]

    def attachment(self, conversation: str, number: int, modality: str) -> bytes | None:
        """The picture or voice note of a turn, or None where it was not kept."""
        with self._open() as db:
            row = db.execute(
                "SELECT content FROM attachment WHERE conversation = ? AND number = ? AND modality = ?",
                (conversation, number, modality),
            ).fetchone()
        return None if row is None else bytes(row[0])

    def list(self, only: Sequence[str] | None = None) -> builtins.list[Summary]:
        """All conversations, or `only` those with these ids, the latest first."""
        with self._open() as db:
            rows = db.execute(
                "SELECT c.id, c.began, c.last, count(t.number), group_concat(t.content, char(0)) FROM conversation c "
                "JOIN turn t ON t.conversation = c.id WHERE ?1 IS NULL OR c.id IN (SELECT value FROM json_each(?1)) "
                "GROUP BY c.id ORDER BY c.last DESC",
                (None if only is None else json.dumps([*only]),),
            ).fetchall()
        return [self._summary(*row) for row in rows]

    def erase(self, conversation: str) -> bool:
        """Remove a conversation with its media and hand-offs, also from the pages of the file. False: unknown.

        Raises `MissingError` while another program's reading keeps a copy in the log of the file.
        """
        with self._open() as db:
            found = db.execute("DELETE FROM conversation WHERE id = ?", (conversation,)).rowcount > 0
            self._empty_log(db)
        return found

    def _empty_log(self, db: sqlite3.Connection) -> None:
        """Empty the log, which holds copies of erased rows as well; that has to wait until nobody reads them."""
        db.execute("PRAGMA busy_timeout = 200")
        until = time.monotonic() + ERASE_PATIENCE_S
        while db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # the first column: busy
            if time.monotonic() > until:
                raise MissingError(
                    f"the conversation is deleted, but another program is reading {self.path}, so that its log "
                    f"({FILE}-wal) still holds a copy; once that program has closed it, run "
                    "`triptych conversations list`, and the copy is gone"
                )
            time.sleep(0.05)

    def _turns(self, db: sqlite3.Connection, conversation: str) -> builtins.list[Turn]:
        rows = db.execute("SELECT content FROM turn WHERE conversation = ? ORDER BY number", (conversation,))
        return [Turn.model_validate_json(row[0]) for row in rows]

    def _summary(self, key: str, began: str, last: str, count: int, contents: str) -> Summary:
        turns = sorted((Turn.model_validate_json(c) for c in contents.split("\0")), key=lambda turn: turn.number)
        levels = [turn.urgency for turn in turns if turn.urgency]
        highest = next((level for level in ("high", "normal", "low") if level in levels), "")
        first = turns[0]
        words = first.text or first.read_audio or first.read_image or ", ".join(first.attachments)
        status = next((turn.status for turn in reversed(turns) if turn.status), None) or ""
        return Summary(key, began, last, count, status, highest, " ".join(words.split()))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise MissingError(f"conversations cannot be kept in {self.path.parent}: {error}") from error
        try:
            with contextlib.closing(db):
                self._prepare(db)
                yield db
        except sqlite3.Error as error:
            raise MissingError(f"the conversations in {self.path} cannot be read or written: {error}") from error

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        if db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
            return
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise MissingError(f"{self.path} was written by a newer version of Triptych (schema {version}); update it")
        write_ahead(db)
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
