"""Card numbers, e-mail addresses, phone numbers and IBANs out of texts; the redactor of `--redact`.

Card numbers are those that Luhn's check holds for (ISO/IEC 7812-1), IBANs those that ISO 7064's mod 97 holds for. What
is a phone number is a guess: it begins with + or 00, with a 0 or a bracket, or is written as 415-555-2671. Names and
addresses, and whatever is seen or heard in pictures and sounds, are not found.

What plugins take out with `triptych_redact` comes after it, and is taken out whether decisions are kept or not, for
verticals keep things of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from triptych.errors import RefusedError
from triptych.predictor import Predictor
from triptych.trace import Trace
from triptych.vertical import Request, Response

Redactor = Callable[[Request], Request]

CARD, EMAIL, PHONE, IBAN = "[card number]", "[e-mail address]", "[phone number]", "[IBAN]"

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # the sum of the digits of twice a digit
_GAP = r"[\s.\u2010-\u2015-]"  # what people write between groups of digits
# each pattern begins where nothing of its kind comes before, so that a long text is read once
_EMAIL = re.compile(r"(?<![\w.+%'-])[\w.+%'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_DIGITS = re.compile(rf"\d(?:{_GAP}?\d)*")
_IBAN_RUN = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?:[\s-]?[A-Za-z0-9]){11,60}")
_PHONE = re.compile(
    r"(?<![\w+])(?:(?:\+|00)\s?\(?\d|\(\+?\d|0\d)(?:[\s()/.\u2010-\u2015-]{0,3}\d){6,13}(?!\d)"
    rf"|(?<![\w+])\d{{3}}{_GAP}\d{{3}}{_GAP}\d{{4}}(?!\d)"
)


def redacted(predictor: Predictor, request: Request, redactor: Redactor | None = None) -> Request | RefusedError:
    """The request without what must not be kept, by `redactor` and then the plugins; the error where one fails."""
    try:
        if redactor is not None:
            request = redactor(request)
        return predictor.host.redact(predictor.vertical.name, request)
    except RefusedError as error:
        return error
    except Exception as error:
        refused = RefusedError("the request was refused, for it could not be redacted")
        refused.__cause__ = error
        return refused


def redacted_text(predictor: Predictor, text: str, redactor: Redactor | None = None) -> str:
    """The same for a note or the like: as the text of a request without other fields. Raises `RefusedError`."""
    if not text:
        return text
    request = redacted(predictor, predictor.vertical.request_type.model_construct(text=text), redactor)
    if isinstance(request, RefusedError):
        raise request
    return request.text or ""


def answer_clean(
    predictor: Predictor, requests: Sequence[Request | RefusedError], traces: Sequence[Trace]
) -> list[Response | Exception]:
    """Answers to what could be redacted, each with its trace; what could not has its error in its place."""
    kept = [(request, trace) for request, trace in zip(requests, traces, strict=True) if isinstance(request, Request)]
    answered = iter(predictor.answer_each([request for request, _ in kept], traces=[trace for _, trace in kept]))
    return [next(answered) if isinstance(request, Request) else request for request in requests]


def redact(request: Request) -> Request:
    """The request with what was found in its text replaced by words in brackets."""
    if not request.text:
        return request
    text = redact_text(request.text)
    return request if text == request.text else request.model_copy(update={"text": text})


def redact_text(text: str) -> str:
    """The text with what was found in it replaced. To redact twice changes nothing more."""
    text = _EMAIL.sub(EMAIL, text)
    text = _IBAN_RUN.sub(lambda run: _replaced(run[0], _iban_end, IBAN), text)
    text = _DIGITS.sub(lambda run: _replaced(run[0], _card_end, CARD), text)
    return _PHONE.sub(PHONE, text)


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number, its last one, is right."""
    return (sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0


def mod_97(iban: str) -> bool:
    """Whether the check digits of an IBAN, written without gaps, are right."""
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _replaced(run: str, end_of: Callable[[str, int], int | None], words: str) -> str:
    """The run with every part replaced that `end_of` finds; it gives the end of the longest one from a place on."""
    pieces, start = [], 0
    for place in _starts(run):
        if place < start:
            continue
        end = end_of(run, place)
        if end is not None:
            pieces += [run[start:place], words]
            start = end
    return "".join([*pieces, run[start:]])


def _starts(run: str) -> Iterator[int]:
    """Where groups of letters and digits begin."""
    return (place for place in range(len(run)) if run[place].isalnum() and not (place and run[place - 1].isalnum()))


def _ends(run: str, start: int, least: int, most: int) -> Iterator[tuple[int, str]]:
    """Ends of groups so that `least` to `most` letters and digits lie before them, the longest first; and those."""
    found = []
    kept = ""
    for place in range(start, len(run)):
        if run[place].isalnum():
            kept += run[place]
            last = place + 1 == len(run) or not run[place + 1].isalnum()
            if last and least <= len(kept) <= most:
                found.append((place + 1, kept))
        if len(kept) > most:
            break
    return reversed(found)


def _card_end(run: str, start: int) -> int | None:
    return next((end for end, digits in _ends(run, start, 13, 19) if luhn(digits)), None)


def _iban_end(run: str, start: int) -> int | None:
    if not re.match(r"[A-Za-z]{2}\d{2}", run[start:]):
        return None
    ends = _ends(run, start, 15, 34)
    return next((end for end, found in ends if found.isascii() and mod_97(found)), None)
