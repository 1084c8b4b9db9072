"""Statuses, thresholds, clarifying questions, citations and hand-off, on hand-made predictions."""

from __future__ import annotations

import pytest

from triptych.config import check_section
from triptych.errors import ConfigError
from triptych_customer_service.conversations import Conversations
from triptych_customer_service.settings import HandOffRules, Settings

from .conftest import prediction

SURE = {"double_charge": 0.9, "refund_status": 0.1}
UNSURE = {"double_charge": 0.35, "refund_status": 0.3, "product_fault": 0.2}
LOST = {"double_charge": 0.1, "refund_status": 0.09}


def test_a_confident_message_is_answered_with_the_article_and_its_citation(ask):
    response = ask("I was charged twice", prediction(**SURE))
    assert response.status == "answered"
    assert response.intent == "double_charge"
    assert response.intent_confidence == pytest.approx(0.9)
    assert response.answer.startswith("Send us the statement. We return the surplus payment.")
    assert "(pay-01)" in response.answer
    assert response.citation.id == "pay-01"
    assert response.citation.title == "Charged twice"
    assert response.evidence[0].id == "pay-01"
    assert {item.kind for item in response.evidence} == {"document"}
    assert response.alternatives == []
    assert response.handoff is None


def test_the_quote_is_the_sentence_that_fits_best(ask):
    response = ask("please return the surplus to me", prediction(**SURE))
    assert response.citation.quote == "We return the surplus payment."


def test_between_the_thresholds_the_two_nearest_intents_are_offered(ask):
    response = ask("something about money", prediction(**UNSURE))
    assert response.status == "clarify"
    assert [a.intent for a in response.alternatives] == ["double_charge", "refund_status"]
    assert "1. a payment that was taken twice" in response.answer
    assert "2. a refund that has not arrived" in response.answer
    assert response.citation is None


@pytest.mark.parametrize(
    ("reply", "intent", "article"),
    [
        ("2", "refund_status", "ref-01"),
        ("the second one", "refund_status", "ref-01"),
        ("1.", "double_charge", "pay-01"),
        ("A refund that has not arrived", "refund_status", "ref-01"),
    ],
)
def test_the_reply_to_a_clarifying_question_is_understood(ask, reply, intent, article):
    asked = ask("something about money", prediction(**UNSURE))
    response = ask(
        reply, prediction(False, **LOST), conversation=asked.conversation, scores={"pay-01": 0.02, "ref-01": 0.01}
    )
    assert response.status == "answered"
    assert response.intent == intent
    assert response.citation.id == article
    assert response.conversation == asked.conversation


def test_a_number_is_no_choice_where_nothing_was_asked(ask):
    assert ask("2", prediction(False, **LOST)).status == "out_of_scope"


def test_after_two_questions_in_a_row_a_person_takes_over(ask):
    first = ask("money", prediction(**UNSURE))
    second = ask("money, I said", prediction(**UNSURE), conversation=first.conversation)
    third = ask("MONEY", prediction(**UNSURE), conversation=first.conversation)
    assert [first.status, second.status, third.status] == ["clarify", "clarify", "handed_off"]
    assert third.handoff.reason == "still unclear"


def test_an_answer_in_between_starts_the_count_anew(ask):
    first = ask("money", prediction(**UNSURE))
    key = first.conversation
    ask("charged twice", prediction(**SURE), conversation=key)
    assert ask("money", prediction(**UNSURE), conversation=key).status == "clarify"
    assert ask("money", prediction(**UNSURE), conversation=key).status == "clarify"


def test_below_the_lower_threshold_a_person_takes_over_unless_the_config_says_otherwise(ask):
    assert ask("hm", prediction(**LOST)).handoff.reason == "unsure"
    settings = Settings(handoff=HandOffRules(unsure=False))
    assert ask("hm", prediction(**LOST), settings=settings).status == "clarify"


def test_out_of_scope_has_no_intent_no_evidence_and_low_urgency(ask):
    response = ask("what is the weather, urgent!", prediction(False, **SURE))
    assert (response.status, response.intent, response.evidence, response.urgency) == ("out_of_scope", None, [], "low")


def test_a_confident_intent_without_a_fitting_article_is_told_honestly(ask):
    for scores in ({}, {"flt-02": 0.2}):
        response = ask("I was charged twice", prediction(**SURE), scores=scores)
        assert response.status == "not_in_knowledge_base"
        assert response.citation is None
        assert "knowledge base" in response.answer


def test_yes_after_not_in_the_knowledge_base_hands_off(ask):
    first = ask("I was charged twice", prediction(**SURE), scores={})
    assert ask("yes please", prediction(False, **LOST), conversation=first.conversation).handoff.reason == "asked"


@pytest.mark.parametrize(
    "text",
    [
        "I want to speak to a human",
        "person",
        "Can you put me through to an agent?",
        "Ich möchte mit einem Mitarbeiter sprechen",
        "转人工",
        "I need a human",
        "i want an agent now",
        "I want a real person, not a bot!",
        "We need to talk with a live agent please",
        "I want to be connected to a human",
        "I need help from a person",
        "I don't want a bot, I want to talk to a person",
        "Why can't I speak to a person?",
        "Why don't you connect me to an agent?",
        "I do not want to wait. Get me a manager.",
    ],
)
def test_whoever_asks_for_a_person_gets_one(ask, text):
    response = ask(text, prediction(False, **LOST))
    assert response.status == "handed_off"
    assert response.handoff.reason == "asked"
    assert response.handoff.reference in response.answer


@pytest.mark.parametrize(
    "text",
    [
        "my personal details",
        "the agent left it outside",
        "I need it delivered to another person",
        "I want to change the person on the order",
        "I need a new agent login",
        "I need an agent login",
        "do I need to be in person to collect it?",
        "I don't want to talk to a person, just tell me the opening hours",
        "I do not need an agent",
        "no need to speak to a human, thanks",
        "Please do not connect me to an agent",
    ],
)
def test_a_person_who_is_merely_mentioned_is_not_asked_for(ask, text):
    assert ask(text, prediction(**SURE)).status == "answered"


def test_danger_goes_to_a_person_and_the_safety_article_is_shown_meanwhile(ask):
    response = ask("Sparks came out of it", prediction(product_fault=0.9, double_charge=0.1), scores={"flt-02": 0.7})
    assert response.status == "handed_off"
    assert response.handoff.reason == "safety"
    assert response.urgency == "high"
    assert "Switch it off at the wall" in response.answer
    assert response.citation.id == "flt-02"


def test_danger_that_was_heard_in_a_voice_note_counts(ask):
    read = {"read_audio": "there is smoke coming out of it"}
    response = ask(None, prediction(product_fault=0.9), audio=b"sound", read=read)
    assert response.handoff.reason == "safety"
    assert response.handoff.transcript[0].read_audio == read["read_audio"]


def test_writing_in_a_picture_does_not_make_a_message_urgent(ask):
    response = ask("my order", prediction(**SURE), image=b"picture", read={"read_image": "FIRE SALE TODAY!!"})
    assert response.urgency == "normal"


def test_the_handoff_packet_carries_transcript_and_evidence_and_is_kept(ask):
    first = ask("I was charged twice", prediction(**SURE), language="en-GB")
    last = ask("let me talk to a person", prediction(False, **LOST), conversation=first.conversation, language="en-GB")
    packet = last.handoff
    assert [turn.role for turn in packet.transcript] == ["customer", "assistant", "customer", "assistant"]
    assert packet.transcript[0].text == "I was charged twice"
    assert packet.evidence
    assert packet.language == "en-GB"
    (kept,) = Conversations(ask.state).handoffs(first.conversation)
    assert kept.model_copy(update={"evidence": packet.evidence}) == packet


def test_the_words_of_other_customers_reach_the_colleague_and_never_the_customer(ask):
    response = ask("let me talk to a person", prediction(**SURE))
    (kept,) = Conversations(ask.state).handoffs(response.conversation)
    assert [item.text for item in kept.evidence if item.kind == "example"] == ["paid twice"]
    assert {item.kind for item in response.handoff.evidence} == {"document"}
    assert "paid twice" not in response.model_dump_json()


def test_own_sentences_replace_the_fixed_ones(ask):
    settings = Settings(replies={"out_of_scope": "No idea, sorry."})
    assert ask("weather", prediction(False, **LOST), settings=settings).answer == "No idea, sorry."


def test_own_intents_are_spoken_of_by_their_own_titles(ask):
    settings = Settings.model_validate({"intents": {"late_bus": {"title": "a bus that is late"}}})
    response = ask("bus", prediction(late_bus=0.4, lost_umbrella=0.3), settings=settings)
    assert "a bus that is late" in response.answer
    assert "lost umbrella" in response.answer


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"answer_above": 0.3, "clarify_above": 0.5}, "clarify_above must not be higher"),
        ({"replies": {"hello": "Hi"}}, "no reply 'hello'"),
        ({"replies": {"clarify": "{third}?"}}, "no placeholder 'third'"),
        ({"replies": {"clarify": "{first"}}, "not a valid template"),
        ({"kb_min_scor": 0.3}, "did you mean 'vertical.kb_min_score'"),
        ({"false_accept_rate": 0}, "false_accept_rate"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, problem):
    with pytest.raises(ConfigError, match=problem):
        check_section(Settings, values, "vertical.")


def test_out_of_scope_claims_no_confidence(ask):
    response = ask("what is the weather", prediction(False, **SURE))
    assert response.confidence == 0.0
    assert response.intent_confidence is None
