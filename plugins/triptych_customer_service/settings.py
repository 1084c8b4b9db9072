"""The `[vertical]` section of a customer-service config."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from triptych.config import Section

Share = Annotated[float, Field(ge=0, le=1)]


class Readers(Section):
    """What reads text out of pictures and speech out of sound: "auto", "off" or the name of a reader."""

    ocr: str = "auto"
    asr: str = "auto"


class HandOffRules(Section):
    """When a person takes over."""

    asked: bool = True  # the customer asks for a person
    safety: bool = True  # words of fire, injury, electric shock
    high_urgency: bool = False  # any message of high urgency
    unsure: bool = True  # the confidence is under `clarify_above`
    after_clarifications: Annotated[int, Field(ge=0)] = 2  # questions in a row before a person takes over; 0: never


class IntentText(Section):
    """How an intent is spoken of. Needed for intents of your own data only."""

    title: str = ""  # completes "Is it about ...?"
    description: str = ""  # a sentence a customer might say, for the zero-shot strategy
    urgency: float = 0.0  # points that the intent itself adds to a message's urgency


class Settings(Section):
    """All that can be set under `[vertical]`."""

    false_accept_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    answer_above: Share = 0.5
    clarify_above: Share = 0.2
    kb_min_score: Share = 0.3
    intent_weight: Share = 0.4
    knowledge_base: str | None = None
    keep_media: bool = True
    readers: Readers = Readers()
    handoff: HandOffRules = HandOffRules()
    intents: dict[str, IntentText] = Field(default_factory=dict)
    replies: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.clarify_above > self.answer_above:
            raise ValueError("clarify_above must not be higher than answer_above")
        return self

    @model_validator(mode="after")
    def _replies_known(self) -> Self:
        from triptych_customer_service.replies import check_replies

        check_replies(self.replies)
        return self
