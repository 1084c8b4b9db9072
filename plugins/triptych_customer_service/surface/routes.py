"""The routes of customer service beside its answers: conversations, their media, feedback, and the intents.

A conversation belongs to whoever knows its id: there is no route that lists all of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from triptych.data.kinds import media_type
from triptych.errors import MissingError, UnknownNameError
from triptych.routes import RouteContext
from triptych.types import Media
from triptych_customer_service.conversations import Conversations, Line
from triptych_customer_service.intents import OUT_OF_SCOPE, intent_text
from triptych_customer_service.responses import LONGEST_NOTE, ConversationId, CustomerAnswer, Feedback, Turn
from triptych_customer_service.settings import Settings

_ID = r"[A-Za-z0-9_.-]{1,64}"
_LARGEST = 2**53  # of a number that every JSON reader takes


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ConversationsQuery(_Query):
    """Which conversations."""

    ids: Annotated[str, Field(pattern=rf"^{_ID}(,{_ID}){{0,99}}$", description="Up to 100 ids, with commas between.")]


class ConversationQuery(_Query):
    """Which conversation."""

    conversation: ConversationId


class MediaQuery(ConversationQuery):
    """Which picture or voice note."""

    number: Annotated[int, Field(ge=1, le=_LARGEST, description="Of the turn.")]
    modality: Literal["image", "audio"]


class FeedbackQuery(ConversationQuery, Feedback):
    """What a person thinks of the answer with this number."""

    number: Annotated[int, Field(ge=1, le=_LARGEST, description="Of the answer among the turns.")]


class ConversationLine(BaseModel):
    """A conversation in one line."""

    id: str
    began: str
    last: str
    turns: int
    status: str
    urgency: str
    title: str


class ConversationList(BaseModel):
    """Those of the conversations asked for that exist, the latest first."""

    conversations: list[ConversationLine]


class ThreadTurn(BaseModel):
    """A turn; of an answer, also how it came about, where that was kept, and what somebody thinks of it."""

    turn: Turn
    answer: CustomerAnswer | None
    feedback: Feedback | None
    media: list[Literal["image", "audio"]]  # that are kept, see the route to them


class Thread(BaseModel):
    """A whole conversation."""

    id: str
    turns: list[ThreadTurn]


class Erased(BaseModel):
    """`complete` is false while another program reads the store and so keeps a copy in its log."""

    id: str
    complete: bool
    message: str


class Rated(BaseModel):
    """Where the feedback was written down."""

    conversation: str
    number: int


class Intent(BaseModel):
    """What a message can be about. `title` completes "Is it about ...?"; `example` is what a customer might say."""

    intent: str
    title: str
    example: str


class Intents(BaseModel):
    """All that the model in service knows."""

    intents: list[Intent]


def conversations(context: RouteContext, query: ConversationsQuery) -> ConversationList:
    """Some conversations, a line each."""
    found = _store(context).list(query.ids.split(","))
    lines = [
        ConversationLine(
            id=s.id, began=s.began, last=s.last, turns=s.turns, status=s.status, urgency=s.urgency,
            title=s.first_words[:120],
        )
        for s in found
    ]  # fmt: skip
    return ConversationList(conversations=lines)


def conversation(context: RouteContext, query: ConversationQuery) -> Thread:
    """One conversation with all that was shown in it. Raises `UnknownNameError`."""
    lines = _store(context).thread(query.conversation)
    if not lines:
        raise _unknown(query.conversation)
    return Thread(id=query.conversation, turns=[_thread_turn(line) for line in lines])


def media(context: RouteContext, query: MediaQuery) -> Media:
    """A kept picture or voice note. Raises `UnknownNameError` where none was kept."""
    content = _store(context).attachment(query.conversation, query.number, query.modality)
    if content is None:
        raise UnknownNameError(f"kept {query.modality}", f"{query.conversation}/{query.number}", [])
    return Media(content, media_type(content, query.modality))


def feedback(context: RouteContext, query: FeedbackQuery) -> Rated:
    """Write down what somebody thinks of an answer; it is on disk when this returns.

    Raises `UnknownNameError` for an answer or an intent that is not known, and `RefusedError` for a note that cannot be
    redacted.
    """
    said = Feedback.model_validate(query.model_dump(include=set(Feedback.model_fields)))
    labels = [*_labels(context), OUT_OF_SCOPE]
    if said.intent is not None and said.intent not in labels:
        raise UnknownNameError("intent", said.intent, labels)
    note = context.redact(said.note)[:LONGEST_NOTE]  # words that stand for others may be longer
    said = said.model_copy(update={"note": note})
    if not _store(context).rate(query.conversation, query.number, said):
        raise UnknownNameError("answer", f"{query.conversation}/{query.number}", [])
    return Rated(conversation=query.conversation, number=query.number)


def erase(context: RouteContext, query: ConversationQuery) -> Erased:
    """Erase a conversation with its media, hand-offs and feedback. Raises `UnknownNameError`."""
    store = _store(context)
    known = bool(store.turns(query.conversation))
    try:
        store.erase(query.conversation)
    except MissingError:
        if store.turns(query.conversation):
            raise
        message = "The conversation is deleted. A log of the store still holds a copy until nobody reads it any more."
        return Erased(id=query.conversation, complete=False, message=message)
    if not known:
        raise _unknown(query.conversation)
    return Erased(id=query.conversation, complete=True, message="The conversation is erased.")


def intents(context: RouteContext) -> Intents:
    """What the model knows, in words."""
    settings = _settings(context)
    texts = [(label, intent_text(settings, label)) for label in _labels(context)]
    return Intents(intents=[Intent(intent=k, title=t.title, example=t.description) for k, t in texts])


def _store(context: RouteContext) -> Conversations:
    return Conversations(context.predictor.state)


def _settings(context: RouteContext) -> Settings:
    settings = context.predictor.settings
    assert isinstance(settings, Settings)  # `CustomerService.settings_type` says so
    return settings


def _labels(context: RouteContext) -> list[str]:
    return [*context.predictor.session.labels]


def _thread_turn(line: Line) -> ThreadTurn:
    return ThreadTurn.model_validate(
        {"turn": line.turn, "answer": line.answer, "feedback": line.feedback, "media": line.media}
    )


def _unknown(conversation: str) -> UnknownNameError:
    return UnknownNameError("conversation", conversation, [])
