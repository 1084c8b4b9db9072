"""The customer-service vertical: what the suite asks of it, in one class."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from triptych.data.media import value_digest
from triptych.types import MODALITIES, Document, Prediction, Sample, Task
from triptych.vertical import Evidence, Vertical
from triptych_customer_service.answer import Decision, cite, compose, decide
from triptych_customer_service.conversations import Attachment, Conversations, now
from triptych_customer_service.intents import SAMPLE, descriptions
from triptych_customer_service.knowledge import Match, rank, read_articles
from triptych_customer_service.reading import read_media
from triptych_customer_service.responses import CustomerAnswer, HandOff, Message, Turn
from triptych_customer_service.settings import Settings

if TYPE_CHECKING:
    from triptych.predictor import AnswerContext

OUT_OF_SCOPE = "out_of_scope"
ARTICLES_RANKED = 50  # enough that the articles of the predicted intent are among them
ARTICLES_SHOWN, EXAMPLES_SHOWN = 3, 2


class CustomerService(Vertical[Message, CustomerAnswer]):
    """Messages to intents, answers from a knowledge base, urgency, and hand-off to a person."""

    name: ClassVar[str] = "customer-service"
    title: ClassVar[str] = "Customer service"
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
        said = Turn(
            number=0, role="customer", at=now(), text=request.text or "",
            read_image=read.get("read_image", ""), read_audio=read.get("read_audio", ""),
        )  # fmt: skip
        words = "\n".join(part for part in (said.text, said.read_audio) if part) or None
        matches = rank(context.search(ARTICLES_RANKED), prediction.probabilities, settings.intent_weight)
        decision = decide(words, prediction, matches, store.before(request.conversation), settings)
        evidence = _evidence(decision, matches)
        conversation = request.conversation or secrets.token_hex(8)
        packet = [*evidence, *_examples(decision, context)] if decision.reason else []
        handoff = _hand_off(decision, conversation, packet, request) if decision.reason else None
        answer = CustomerAnswer(
            answer=compose(decision, handoff.reference if handoff else "", settings),
            confidence=decision.confidence,
            evidence=evidence,
            conversation=conversation,
            status=decision.status,
            intent=decision.intent,
            intent_confidence=None if decision.intent is None else decision.confidence,
            alternatives=decision.alternatives,
            citation=cite(decision, words),
            urgency=decision.urgency.level,
            urgency_reason=decision.urgency.reason,
            handoff=handoff,
        )
        attachments = _attachments(request, keep=settings.keep_media)
        said = said.model_copy(update={"attachments": [f"{a.modality} sha256:{a.digest}" for a in attachments]})
        kept = store.add(answer, said, attachments, request.language)
        if kept.handoff is None:
            return kept
        # the packet with other customers' words is kept for the colleague; the customer gets it without them
        return kept.model_copy(update={"handoff": kept.handoff.model_copy(update={"evidence": evidence})})


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


def _hand_off(decision: Decision, conversation: str, evidence: list[Evidence], request: Message) -> HandOff:
    assert decision.reason is not None
    return HandOff(
        reference=f"H-{secrets.token_hex(4).upper()}",
        conversation=conversation,
        reason=decision.reason,
        at=now(),
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
