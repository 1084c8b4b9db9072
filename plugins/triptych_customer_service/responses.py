"""What customers send to the vertical, and what it answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from triptych.vertical import Evidence, Request, Response

Status = Literal["answered", "clarify", "out_of_scope", "not_in_knowledge_base", "handed_off"]
UrgencyLevel = Literal["low", "normal", "high"]
Reason = Literal["asked", "safety", "urgent", "unsure", "still unclear"]
ConversationId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Message(Request):
    """A customer's message: any of text, picture, voice note; `conversation` continues an earlier one."""

    conversation: ConversationId | None = Field(
        default=None, description="The id of the conversation to go on with; without it a new one begins."
    )
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] | None = Field(
        default=None, description="The customer's language, as en or zh-CN; kept for the colleague who takes over."
    )


class Alternative(BaseModel):
    """One of the intents that a clarifying question offers."""

    intent: str
    title: str
    confidence: float


class Citation(BaseModel):
    """The article that an answer rests on, and the sentence of it that fits best."""

    id: str
    title: str
    quote: str


class Turn(BaseModel):
    """One line of a conversation."""

    number: int
    role: Literal["customer", "assistant"]
    at: str  # UTC, ISO 8601
    text: str
    read_image: str = ""  # what OCR read in the picture
    read_audio: str = ""  # what was heard in the voice note
    attachments: list[str] = []  # "image sha256:..." of what came with it
    status: Status | None = None
    intent: str | None = None
    confidence: float | None = None
    urgency: UrgencyLevel | None = None


class HandOff(BaseModel):
    """All that a colleague needs in order to take over."""

    reference: str
    conversation: str
    reason: Reason
    at: str  # UTC, ISO 8601
    language: str | None = None
    urgency: UrgencyLevel
    urgency_reason: str
    intent: str | None
    confidence: float
    alternatives: list[Alternative] = []
    transcript: list[Turn] = []
    evidence: list[Evidence] = []


class CustomerAnswer(Response):
    """The answer to a message, and how it came about."""

    conversation: str
    status: Status
    intent: str | None = None
    intent_confidence: float | None = None  # none where the message is out of scope
    alternatives: list[Alternative] = Field(default_factory=list)
    citation: Citation | None = None
    urgency: UrgencyLevel
    urgency_reason: str
    handoff: HandOff | None = None
    number: int = 0  # of the answer among the turns of the conversation
    read_image: str = ""  # what OCR read in the picture
    read_audio: str = ""  # what was heard in the voice note


LONGEST_NOTE = 1000  # characters


class Feedback(BaseModel):
    """What a person thinks of one answer. `intent` is what the message was about, where they say so."""

    rating: Literal["up", "down"]
    reason: Literal["wrong", "unclear", "incomplete", "other"] | None = None
    note: Annotated[str, Field(max_length=LONGEST_NOTE)] = ""
    intent: Annotated[str, Field(max_length=200)] | None = None
    decision: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")] | None = Field(
        default=None, description="The id that came with the answer, in the header Triptych-Decision."
    )
