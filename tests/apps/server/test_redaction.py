"""What `--redact` finds, whatever stands around it, what it leaves alone, and that nothing of it reaches a file."""

from __future__ import annotations

import signal
import string
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apps.server.conftest import Process
from triptych.errors import RefusedError
from triptych.predictor import Predictor
from triptych.vertical import Request
from triptych_apps.server.redaction import CARD, EMAIL, IBAN, PHONE, luhn, mod_97, redact, redact_text, redacted_text

# words that are no part of what is looked for, with blanks around
AROUND = st.lists(st.sampled_from(["my", "card", "is", "naïve,", "账户:", "(see", "below)", "thanks!"]), max_size=4)


@st.composite
def cards(draw: st.DrawFn) -> str:
    """A card number of 13 to 19 digits, written in groups or not."""
    digits = draw(st.text(string.digits, min_size=12, max_size=18))
    digits += next(check for check in string.digits if luhn(digits + check))
    gap = draw(st.sampled_from(["", " ", "-", "."]))
    size = draw(st.sampled_from([4, 5, 6]))
    return gap.join(digits[start : start + size] for start in range(0, len(digits), size))


@st.composite
def ibans(draw: st.DrawFn) -> str:
    """An IBAN of 15 to 34 characters with the right check digits."""
    country = draw(st.text(string.ascii_uppercase, min_size=2, max_size=2))
    account = draw(st.text(string.ascii_uppercase + string.digits, min_size=11, max_size=30))
    checks = next(f"{n:02d}" for n in range(2, 99) if mod_97(f"{country}{n:02d}{account}"))
    whole = country + checks + account
    if draw(st.booleans()):
        whole = whole.lower()
    gap = draw(st.sampled_from(["", " "]))
    return gap.join(whole[start : start + 4] for start in range(0, len(whole), 4))


NAMES = st.text(string.ascii_letters + string.digits + "._+-", min_size=1, max_size=20).filter(str.isascii)
DOMAINS = st.lists(st.text(string.ascii_lowercase, min_size=2, max_size=8), min_size=2, max_size=4).map(".".join)


@settings(max_examples=40)
@given(AROUND, cards(), AROUND)
def test_every_card_number_goes(before: list[str], card: str, after: list[str]):
    found = redact_text(" ".join([*before, card, *after]))
    assert found == " ".join([*before, CARD, *after])


@settings(max_examples=40)
@given(AROUND, ibans(), AROUND)
def test_every_iban_goes(before: list[str], iban: str, after: list[str]):
    found = redact_text(" ".join([*before, iban, "--", *after]))
    assert iban not in found
    assert found == " ".join([*before, IBAN, "--", *after])


@settings(max_examples=40)
@given(AROUND, NAMES, DOMAINS, AROUND)
def test_every_address_goes(before: list[str], name: str, domain: str, after: list[str]):
    found = redact_text(" ".join([*before, f"{name}@{domain}", *after]))
    assert found == " ".join([*before, EMAIL, *after])


@pytest.mark.parametrize(
    "phone",
    ["+49 30 1234567", "+1-415-555-2671", "(415) 555-2671", "415-555-2671", "415.555.2671", "0171 1234567",
     "0049 (0)30 123456-78", "+86 10 1234 5678", "030/1234567"],
)  # fmt: skip
def test_phone_numbers_go(phone: str):
    assert redact_text(f"call {phone} now, or tomorrow") == f"call {PHONE} now, or tomorrow"


@pytest.mark.parametrize(
    "text",
    ["order 12345678 of 2024-05-01 at 12:30", "I paid 1,234.56 EUR twice", "version 1.2.3.4", "@handle and a@b",
     "DE89370400440532013001 is a digit off", "4111 1111 1111 1112 is no card", "room 0 of 7", "1/2/2026", ""],
)  # fmt: skip
def test_other_numbers_stay(text: str):
    assert redact_text(text) == text


@settings(max_examples=40)
@given(st.text(max_size=300))
def test_twice_is_once(text: str):
    once = redact_text(text)
    assert redact_text(once) == once


@settings(max_examples=40)
@given(st.text(st.characters(exclude_categories=["Nd"], exclude_characters="@"), max_size=200))
def test_text_without_digits_and_at_signs_stays(text: str):
    assert redact_text(text) == text


def test_of_a_request_only_the_text_is_changed():
    request = Request(text="mail a@b.de", image=b"a@b.de")
    changed = redact(request)
    assert (changed.text, changed.image) == (f"mail {EMAIL}", b"a@b.de")
    plain = Request(text="nothing here")
    assert redact(plain) is plain
    assert redact(Request(image=b"x")).text is None


@pytest.mark.parametrize("options", [(), ("--decisions", "off")])
def test_what_must_not_be_kept_is_in_no_file(
    start: Callable[..., Process], customer_service: Path, triptych_home: Path, options: tuple[str, ...]
):
    process = start("--redact", *options, bundle=customer_service)
    with httpx.Client(base_url=process.ready(), timeout=60) as client:
        asking = {"text": "my card is 4111 1111 1111 1111", "conversation": "c-1"}
        answered = client.post("/v1/customer-service/answer", json=asking)
        opinion = {"number": answered.json()["number"], "rating": "down", "note": "write to ada@example.org"}
        said = client.post("/v1/customer-service/conversations/c-1/feedback", json=opinion)
        assert said.status_code == 200
        turn, told = client.get("/v1/customer-service/conversations/c-1").json()["turns"]
        assert (turn["turn"]["text"], told["feedback"]["note"]) == (f"my card is {CARD}", f"write to {EMAIL}")
        if not options:
            verdict = {"verdict": "label", "label": "ada@example.org", "note": "card 4111 1111 1111 1111"}
            path = f"/v1/_server/decisions/{answered.headers['triptych-decision']}/verdict"
            assert client.post(path, json=verdict).status_code == 200
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 0
    files = [file.read_bytes() for file in triptych_home.rglob("*") if file.is_file()]
    assert files
    assert not any(secret in content for content in files for secret in (b"4111", b"ada@example"))


def test_an_empty_note_needs_no_redactor(predictor: Predictor):
    def broken(request: Request) -> Request:
        raise RuntimeError

    assert redacted_text(predictor, "", broken) == ""
    with pytest.raises(RefusedError, match="could not be redacted"):
        redacted_text(predictor, "a note", broken)
