"""The customer-service vertical: what the suite asks of it, in one class."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from triptych.data.media import value_digest
from triptych.types import MODALITIES, Document, Prediction, Sample, Task
from triptych.vertical import Evidence, Vertical
from triptych_customer_service.answer import Before, Decision, cite, compose, decide
from triptych_customer_service.conversations import Attachment, Conversations, now
from triptych_customer_service.intents import OUT_OF_SCOPE, SAMPLE, descriptions
from triptych_customer_service.knowledge import Match, rank, read_articles
from triptych_customer_service.reading import read_media
from triptych_customer_service.responses import Alternative, CustomerAnswer, HandOff, Message, Turn
from triptych_customer_service.settings import Settings

if TYPE_CHECKING:
    from triptych.predictor import AnswerContext

ARTICLES_RANKED = 50  # enough that the articles of the predicted intent are among them
ARTICLES_SHOWN, EXAMPLES_SHOWN = 3, 2


class CustomerService(Vertical[Message, CustomerAnswer]):
    """Messages to intents, answers from a knowledge base, urgency, and hand-off to a person."""

    name: ClassVar[str] = "customer-service"
    title: ClassVar[str] = "Customer service"
    sticky_field: ClassVar[str | None] = "conversation"
    version: ClassVar[str] = "1"
    request_type = Message
    response_type = CustomerAnswer
    settings_type = Settings
    sample_columns: ClassVar[Mapping[str, str]] = {"group": "group"}  # paraphrases never stand in two splits

    def task(self, settings: Settings) -> Task:
        """Single-label classification into the intents of the data; `out_of_scope` is no intent."""
        return Task("classification", descriptions=descriptions(settings), out_of_scope=OUT_OF_SCOPE)

    def sample_data(self, directory: Path) -> Path:
        """The messages of the embedded sample."""
        return SAMPLE / "messages.csv"

    def sample_request(self) -> Message:
        """A question that the embedded knowledge base answers."""
        return Message(text="I was charged twice")

    def enrich(self, sample: Sample, settings: Settings) -> Sample:
        """Append what is written in the picture and said in the voice note to the text."""
        return read_media(sample, settings.readers)

    def documents(self, settings: Settings, data: Path) -> Sequence[Document]:
        """The knowledge base: yours, or the sample's when the sample is what is trained on.

        Your own data without a knowledge base of your own has none: the shop of the sample would speak for yours.
        """
        if settings.knowledge_base is not None:
            articles = read_articles(Path(settings.knowledge_base).expanduser())
        elif data.resolve() == SAMPLE / "messages.csv":
            articles = read_articles(SAMPLE / "knowledge_base.jsonl")
        else:
            articles = []
        return [article.document() for article in articles]

    def answer(self, request: Message, prediction: Prediction, context: AnswerContext) -> CustomerAnswer:
        """Decide, compose, and write the turn down before it is told."""
        settings = context.settings
        assert isinstance(settings, Settings)  # `settings_type` says so
        store = Conversations(context.state)
        read = context.sample.metadata
        earlier = context.recall("earlier", lambda: _earlier(store, request))
        said = Turn(
            number=0, role="customer", at=earlier["at"], text=request.text or "",
            read_image=read.get("read_image", ""), read_audio=read.get("read_audio", ""),
        )  # fmt: skip
        words = "\n".join(part for part in (said.text, said.read_audio) if part) or None
        matches = rank(context.search(ARTICLES_RANKED), prediction.probabilities, settings.intent_weight)
        decision = decide(words, prediction, matches, _before(earlier), settings)
        evidence = _evidence(decision, matches)
        packet = [*evidence, *_examples(decision, context)] if decision.reason else []
        handoff = _hand_off(decision, earlier, packet, request) if decision.reason else None
        answer = CustomerAnswer(
            answer=compose(decision, handoff.reference if handoff else "", settings),
            confidence=decision.confidence,
            evidence=evidence,
            conversation=earlier["conversation"],
            status=decision.status,
            intent=decision.intent,
            intent_confidence=None if decision.intent is None else decision.confidence,
            alternatives=decision.alternatives,
            citation=cite(decision, words),
            urgency=decision.urgency.level,
            urgency_reason=decision.urgency.reason,
            handoff=handoff,
            attribution=prediction.attribution,
            read_image=said.read_image,
            read_audio=said.read_audio,
        )
        attachments = _attachments(request, keep=settings.keep_media)
        said = said.model_copy(update={"attachments": [f"{a.modality} sha256:{a.digest}" for a in attachments]})
        kept = context.recall("kept", lambda: _kept(store.add(answer, said, attachments, request.language)))
        if handoff is not None:
            # the packet with other customers' words is kept for the colleague; the customer gets it without them
            transcript = [Turn.model_validate(turn) for turn in kept["transcript"]]
            handoff = handoff.model_copy(update={"transcript": transcript, "evidence": evidence})
        return answer.model_copy(update={"number": kept["number"], "handoff": handoff})

    def decided(self, response: CustomerAnswer, prediction: Prediction | None) -> str | None:
        """The intent that was answered, chosen by the customer or told by the model."""
        return OUT_OF_SCOPE if response.status == "out_of_scope" else response.intent

    def attention(self, response: CustomerAnswer) -> str | None:
        """That a person took over, and why."""
        return None if response.handoff is None else f"handed off: {response.handoff.reason}"


def _earlier(store: Conversations, request: Message) -> dict[str, Any]:
    """What an answer takes from earlier turns, the clock and chance, as JSON."""
    before = store.before(request.conversation)
    return {
        "conversation": request.conversation or secrets.token_hex(8),
        "reference": f"H-{secrets.token_hex(4).upper()}",
        "at": now(),
        "status": before.status,
        "alternatives": [alternative.model_dump() for alternative in before.alternatives],
        "clarifications": before.clarifications,
    }


def _before(earlier: Mapping[str, Any]) -> Before:
    alternatives = [Alternative.model_validate(alternative) for alternative in earlier["alternatives"]]
    return Before(earlier["status"], alternatives, earlier["clarifications"])


def _kept(answer: CustomerAnswer) -> dict[str, Any]:
    """What writing an answer down has added to it, as JSON."""
    turns = [] if answer.handoff is None else answer.handoff.transcript
    return {"number": answer.number, "transcript": [turn.model_dump(mode="json") for turn in turns]}


def _evidence(decision: Decision, matches: Sequence[Match]) -> list[Evidence]:
    """The nearest articles; for a message that nothing is near to, none."""
    if decision.status == "out_of_scope":
        return []
    shown = [decision.match] if decision.match is not None else []
    shown += [match for match in matches if match is not decision.match]
    return [
        Evidence(id=m.article.id, kind="document", title=m.article.title, text=m.article.body, score=round(m.score, 4))
        for m in shown[:ARTICLES_SHOWN]
    ]


def _examples(decision: Decision, context: AnswerContext) -> list[Evidence]:
    """The nearest training messages: what other customers wrote, so for colleagues alone."""
    if decision.status == "out_of_scope":
        return []
    return [
        Evidence(
            id=hit.id, kind="example", title=str(hit.metadata.get("target", "")),
            text=str(hit.metadata.get("text", "")), score=round(float(hit.score), 4),
        )
        for hit in context.examples(EXAMPLES_SHOWN)
    ]  # fmt: skip


def _hand_off(decision: Decision, earlier: Mapping[str, Any], evidence: list[Evidence], request: Message) -> HandOff:
    assert decision.reason is not None
    return HandOff(
        reference=earlier["reference"],
        conversation=earlier["conversation"],
        reason=decision.reason,
        at=earlier["at"],
        language=request.language,
        urgency=decision.urgency.level,
        urgency_reason=decision.urgency.reason,
        intent=decision.intent,
        confidence=decision.confidence,
        alternatives=decision.alternatives,
        evidence=evidence,
    )


def _attachments(request: Message, *, keep: bool) -> list[Attachment]:
    attachments = []
    for modality in MODALITIES[1:]:
        value: Any = getattr(request, modality)
        if value is not None:
            content = value if isinstance(value, bytes) else Path(value).read_bytes()
            attachments.append(Attachment(modality, value_digest(content), content if keep else None))
    return attachments
