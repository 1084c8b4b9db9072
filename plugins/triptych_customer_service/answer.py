"""The rule that makes an answer of a prediction. Pure: no model, no disk; all that it needs is handed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from triptych.types import Prediction
from triptych_customer_service.intents import intent_text
from triptych_customer_service.knowledge import Match, best_quote
from triptych_customer_service.replies import reply
from triptych_customer_service.responses import Alternative, Citation, Reason, Status
from triptych_customer_service.settings import Settings
from triptych_customer_service.urgency import Urgency, judge_urgency

_PERSON = (
    r"(human|person|agent|employee|colleague|representative|supervisor|manager|somebody real|someone real|real person"
    r"|mitarbeiter(in)?|menschen?|conseill(er|ère)|humain|agente|persona)"
)
# what may follow the word in "I need an agent login": it is the login that is needed
_OTHER_THING = r"(?![-\w]|\s+(login|log-in|account|password|name|number|id|code|portal|profile|discount|address)\b)"
_REACH = r"((to\s+(speak|talk|chat)|to\s+be\s+(connected|transferred|put\s+through))\s+(to|with)\s+|help\s+from\s+)"
WANTS_PERSON = re.compile(
    rf"^\W*(a |an |ein(en)? |un |una )?{_PERSON}( please| bitte)?\W*$"
    rf"|\b(speak|talk|chat|pass me|put me through|connect me|transfer me|get me)\b[^.?!]{{0,25}}\b{_PERSON}\b"
    rf"|\b(want|need)\s+{_REACH}?((a|an|the|some|any)\s+)?((real|live|human|actual)\s+)*{_PERSON}\b{_OTHER_THING}"
    rf"|\b(sprechen|parler|hablar)\b[^.?!]{{0,30}}\b{_PERSON}\b|\b{_PERSON}\b[^.?!]{{0,15}}\bsprechen\b|人工|真人",
    re.IGNORECASE,
)
# right before the wish: "I don't", "there is no", "please do not", "I don't want you to", "I don't think I"
_NEGATED = re.compile(
    r"\b((do|does|did|would)\s*(n['’]?t|\s+not)|dont|no|rather\s+not|without|(think|believe)\s+I\s+(don['’]?t|do\s+not))"
    r"(\s+(really|actually|even|just))*"
    r"(\s+(think|believe)\s+I|\s+(want|need|have|wish|like|care)(\s+you)?(\s+(to|having\s+to))?|\s+having\s+to)?\s+$",
    re.IGNORECASE,
)
_FIRST = re.compile(r"^\W*(1|one|first|the first( one)?|number one|a)\W*$", re.IGNORECASE)
_SECOND = re.compile(r"^\W*(2|two|second|the second( one)?|number two|b)\W*$", re.IGNORECASE)
_YES = re.compile(r"^\W*(yes|yes,? please|ja|oui|s(í|i)|ok|please do|是|好的?)\W*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Before:
    """What the conversation's earlier turns mean for this one."""

    status: Status | None = None  # of the last answer
    alternatives: Sequence[Alternative] = ()  # that the last answer offered
    clarifications: int = 0  # questions in a row, up to the last answer


@dataclass(frozen=True, slots=True)
class Decision:
    """What to answer; `reason` is set when a person takes over."""

    status: Status
    intent: str | None
    confidence: float
    urgency: Urgency
    match: Match | None = None
    alternatives: list[Alternative] = field(default_factory=list)
    reason: Reason | None = None


def decide(
    words: str | None, prediction: Prediction, matches: Sequence[Match], before: Before, settings: Settings
) -> Decision:
    """The decision for one message.

    `words` are the customer's own, typed or heard; `matches` are ranked. In this order: a choice offered before, the
    wish for a person, danger, out of scope, confidence, and whether the knowledge base has an answer.
    """
    chosen = _choice(words, before)
    label = chosen or prediction.label
    # an answer to our own question is as sure as anything can be, whatever the model makes of "the first one"
    in_scope = prediction.in_scope or chosen is not None
    confidence = 1.0 if chosen is not None else prediction.confidence if in_scope else 0.0
    prior = intent_text(settings, label).urgency if in_scope else 0.0
    urgency = judge_urgency(words, prior=prior, in_scope=in_scope)
    match = _best(matches, label if chosen else None, settings)
    alternatives = [] if chosen or not in_scope else _alternatives(prediction, settings)

    def decision(status: Status, reason: Reason | None = None, *, article: bool = False, ask: bool = False) -> Decision:
        known = label if in_scope else None
        offered = alternatives if ask else []
        return Decision(status, known, confidence, urgency, match if article else None, offered, reason)

    rules = settings.handoff
    if rules.asked and _wants_person(words, before):
        return decision("handed_off", "asked")
    if rules.safety and urgency.safety:
        return decision("handed_off", "safety", article=in_scope and confidence >= settings.answer_above)
    if not in_scope:
        return decision("out_of_scope")
    if rules.high_urgency and urgency.level == "high":
        return decision("handed_off", "urgent", article=confidence >= settings.answer_above)
    if confidence < settings.clarify_above and rules.unsure:
        return decision("handed_off", "unsure", ask=True)
    if confidence < settings.answer_above:
        if 0 < rules.after_clarifications <= before.clarifications:
            return decision("handed_off", "still unclear", ask=True)
        return decision("clarify", ask=True)
    return decision("answered", article=True) if match is not None else decision("not_in_knowledge_base")


def compose(decision: Decision, reference: str, settings: Settings) -> str:
    """The words of the answer."""
    replies, match = settings.replies, decision.match
    article = (
        {} if match is None else {"body": match.article.body, "title": match.article.title, "article": match.article.id}
    )
    if decision.status == "answered":
        return reply(replies, "answered", **article)
    if decision.status == "clarify":
        titles = [alternative.title for alternative in decision.alternatives]
        if len(titles) < 2:
            return reply(replies, "clarify_one", first=titles[0])
        return reply(replies, "clarify", first=titles[0], second=titles[1])
    if decision.status == "not_in_knowledge_base":
        return reply(replies, "not_in_knowledge_base", intent=intent_text(settings, decision.intent or "").title)
    if decision.status == "out_of_scope":
        return reply(replies, "out_of_scope")
    urgent = decision.reason == "safety"
    text = reply(replies, "handed_off_urgent" if urgent else "handed_off", reference=reference)
    return text + (reply(replies, "meanwhile", **article) if article else "")


def cite(decision: Decision, words: str | None) -> Citation | None:
    """The citation of the article that the answer shows, if it shows one."""
    if decision.match is None:
        return None
    article = decision.match.article
    return Citation(id=article.id, title=article.title, quote=best_quote(article, words))


def _best(matches: Sequence[Match], chosen: str | None, settings: Settings) -> Match | None:
    """The article to answer with. Once the customer has chosen the intent, their last words no longer count."""
    if chosen is not None:
        return next((match for match in matches if chosen in match.article.intents), None)
    return matches[0] if matches and matches[0].score >= settings.kb_min_score else None


def _alternatives(prediction: Prediction, settings: Settings) -> list[Alternative]:
    nearest = list(prediction.probabilities.items())[:2]
    return [
        Alternative(intent=label, title=intent_text(settings, label).title, confidence=round(probability, 4))
        for label, probability in nearest
    ]


def _choice(words: str | None, before: Before) -> str | None:
    """The intent that the customer chose from the last question."""
    if before.status != "clarify" or not words:
        return None
    if _FIRST.match(words) or (len(before.alternatives) == 1 and _YES.match(words)):
        return before.alternatives[0].intent
    if _SECOND.match(words) and len(before.alternatives) > 1:
        return before.alternatives[1].intent
    spoken = words.strip().rstrip(".!?").lower()
    return next((a.intent for a in before.alternatives if spoken in (a.title.lower(), a.intent.lower())), None)


def _wants_person(words: str | None, before: Before) -> bool:
    if not words:
        return False
    agreed = before.status == "not_in_knowledge_base" and _YES.match(words) is not None
    return agreed or any(not _NEGATED.search(words, 0, wish.start()) for wish in WANTS_PERSON.finditer(words))
