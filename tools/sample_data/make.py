"""Writes the synthetic sample of the customer-service vertical: messages.csv, pictures/ and voices/.

    apt-get install flite espeak-ng        # the two speech synthesisers
    python tools/sample_data/make.py
    python tools/sample_data/transcribe.py # reads every picture and voice note once (minutes)

The sentences are in messages.toml and out_of_scope.toml. The same seed writes the same table and pictures; an Ogg file
carries a random serial number, so transcribe.py has to follow.
"""

from __future__ import annotations

import csv
import random
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import photos
import screens
from canvas import encode
from PIL import Image
from voices import speak

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parents[1] / "plugins" / "triptych_customer_service" / "sample"
SEED = 20

Drawing = tuple[Callable[..., Image.Image], dict[str, str], bool]  # function, arguments, is it a photograph


def _screen(function: Callable[..., Image.Image], **arguments: str) -> Drawing:
    return function, arguments, False


def _photo(function: Callable[..., Image.Image], **arguments: str) -> Drawing:
    return function, arguments, True


# For each intent the pictures that point to it and those that it shares with others
PICTURES: dict[str, tuple[list[Drawing], list[Drawing]]] = {
    "double_charge": (
        [_screen(screens.bank, kind="double"), _photo(screens.receipt, kind="double")],
        [_photo(screens.receipt), _screen(screens.bank)],
    ),
    "payment_failed": (
        [_screen(screens.checkout, kind="declined"), _screen(screens.bank, kind="declined")],
        [_screen(screens.checkout), _screen(screens.bank)],
    ),
    "refund_status": (
        [
            _screen(screens.tracking, kind="refund"),
            _screen(screens.bank, kind="refund"),
            _photo(screens.receipt, kind="refund"),
        ],
        [_photo(screens.receipt), _photo(screens.return_label)],
    ),
    "return_item": (
        [_photo(screens.return_label), _screen(screens.order, kind="return")],
        [_photo(photos.goods), _screen(screens.order)],
    ),
    "exchange_item": (
        [_photo(photos.goods, thing="shirt"), _screen(screens.order, kind="size")],
        [_photo(photos.goods), _screen(screens.order)],
    ),
    "damaged_item": (
        [_photo(photos.goods, kind="broken"), _photo(photos.parcel, kind="torn")],
        [_photo(photos.parcel), _photo(photos.goods)],
    ),
    "wrong_item": ([_photo(photos.pair)], [_photo(photos.goods), _photo(photos.parcel)]),
    "missing_item": (
        [_photo(photos.parcel, kind="open"), _photo(photos.slip)],
        [_photo(photos.parcel), _screen(screens.order)],
    ),
    "delivery_status": (
        [_screen(screens.tracking, kind="transit")],
        [_screen(screens.tracking, kind="plain"), _screen(screens.order)],
    ),
    "delivered_not_received": (
        [_screen(screens.tracking, kind="delivered"), _photo(photos.doorstep)],
        [_screen(screens.tracking, kind="plain"), _photo(photos.parcel)],
    ),
    "change_address": (
        [_screen(screens.order, kind="address"), _screen(screens.form, kind="address")],
        [_screen(screens.order), _screen(screens.tracking, kind="plain")],
    ),
    "cancel_order": ([_screen(screens.order, kind="cancel")], [_screen(screens.order), _screen(screens.checkout)]),
    "login_problem": (
        [_screen(screens.form, kind="login")],
        [_screen(screens.crash, kind="blank"), _screen(screens.crash, kind="start")],
    ),
    "app_error": (
        [_screen(screens.crash, kind="dialog"), _screen(screens.crash, kind="blank")],
        [_screen(screens.crash, kind="start")],
    ),
    "promo_code": (
        [_screen(screens.checkout, kind="code"), _photo(screens.leaflet), _photo(screens.receipt, kind="voucher")],
        [_screen(screens.checkout), _photo(screens.receipt)],
    ),
    "gift_card": ([_photo(screens.gift_card), _screen(screens.checkout, kind="gift")], [_screen(screens.checkout)]),
    "invoice_copy": (
        [_photo(screens.invoice), _screen(screens.order, kind="invoice")],
        [_photo(screens.receipt), _screen(screens.order)],
    ),
    "product_fault": (
        [
            _photo(photos.goods, kind="smoking", thing="kettle"),
            _photo(photos.warranty),
            _photo(photos.goods, kind="smoking", thing="lamp"),
        ],
        [_photo(photos.goods, thing="kettle"), _photo(photos.goods, thing="lamp")],
    ),
}

OPENERS = (
    "",
    "",
    "",
    "Hi, ",
    "Hello, ",
    "hey ",
    "Good morning, ",
    "Dear team, ",
    "Please help: ",
    "sorry to bother you, ",
    "so ",
    "Um, ",
    "Once more: ",
)
CLOSERS = (
    "",
    "",
    "",
    ".",
    "...",
    "!",
    " thanks",
    " Thank you.",
    ", please",
    "?",
    ". Regards, a customer",
    " can you help?",
)
# Texts that say nothing by themselves: the picture, the voice note or both have to
VAGUE = {
    "both": (
        "see the photo and listen to my message",
        "as promised, the picture and a message",
        "photo and voice note attached",
        "I took a picture and recorded the rest",
        "look and listen, then tell me what to do",
        "both files belong together",
    ),
    "picture": (
        "this is not right, look at the picture",
        "have a look at this",
        "it is all in the picture",
        "I hope the picture says enough",
        "you asked for a picture",
        "question about what you see here",
        "is that normal",
        "see for yourselves",
    ),
    "voice": (
        "I explained it in the voice note",
        "listen to the note please, typing is hard for me",
        "I recorded what I want",
        "my hands are full, so I spoke",
        "please play the message",
    ),
    "any": (
        "what now",
        "can someone help me with this",
        "please see attached",
        "here you go",
        "this again",
        "something is wrong",
        "what should I do about it",
        "I don't know how to describe it",
    ),
}
PER_INTENT = {"three": 15, "image": 7, "audio": 5, "plain": 17}  # 7 and 5 include two without a text
TOPIC_SHARE = {"vague": 0.5, "hint": 0.55}  # of the texts beside media that name what they are about
TOPIC_FORMS = ("{text} - it is about {topic}", "{text} ({topic})", "{text} - {topic}", "{topic} - {text}")


@dataclass
class Message:
    """One row of messages.csv; `picture` and `sentence` become files."""

    text: str
    label: str
    urgency: str
    group: str
    picture: Drawing | None = None
    sentence: str | None = None


def marked(sentence: str) -> tuple[str, str]:
    """A sentence of the TOML files and its urgency."""
    if sentence.startswith("!"):
        return sentence[1:], "high"
    return (sentence[1:], "low") if sentence.startswith("-") else (sentence, "normal")


def typing_error(rng: random.Random, text: str) -> str:
    """The text as a hurried thumb would write it: two neighbours swapped, a letter lost or doubled."""
    for _ in range(1 + len(text) // 45):
        at = rng.randrange(1, max(2, len(text) - 2))
        kind = rng.random()
        if kind < 0.4:
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        else:
            text = text[:at] + text[at + 1 :] if kind < 0.75 else text[:at] + text[at] + text[at:]
    return text.lower() if rng.random() < 0.5 else text


class Sampler:
    """Draws messages; no text is used twice."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.used: set[str] = set()

    def dressed(self, core: str) -> str:
        """The sentence with an opening and a close that no earlier message had."""
        while True:
            text = self.rng.choice(OPENERS) + core + self.rng.choice(CLOSERS)
            if self.rng.random() < 0.15:
                text = typing_error(self.rng, text)
            if text not in self.used:
                self.used.add(text)
                return text

    def plain(self, label: str, sentences: list[str], count: int) -> list[Message]:
        """Text alone: every sentence once, then variants that stay in the group of their original."""
        messages = []
        for number, sentence in enumerate(sentences):
            text, urgency = marked(sentence)
            self.used.add(text)
            messages.append(Message(text, label, urgency, f"{label}-{number}"))
        for number in self.rng.sample(range(len(sentences) - 1), count - len(sentences)):
            original = messages[number]
            while (text := typing_error(self.rng, original.text)) in self.used:
                continue
            self.used.add(text)
            messages.append(Message(text, label, original.urgency, original.group))
        return messages

    def hinting(self, label: str, hints: list[str], number: int, *, vague: str | None) -> Message:
        """A text that leaves something to the other parts; `vague` names those parts and leaves all to them."""
        if vague:
            return Message(
                self.dressed(self.rng.choice(VAGUE[vague] + VAGUE["any"])), label, "normal", f"{label}-vague-{number}"
            )
        at = number % len(hints)
        core, urgency = marked(hints[at])
        return Message(self.dressed(core), label, urgency, f"{label}-hint-{at}")

    def in_scope(self, label: str, phrases: dict[str, list[str]]) -> list[Message]:
        """All messages of one intent."""
        rng, hints = self.rng, phrases["hints"]
        messages = self.plain(label, phrases["plain"], PER_INTENT["plain"])
        pointing, shared = PICTURES[label]
        for number in range(PER_INTENT["three"]):
            # Which of the three parts carries the clue turns round, so that none of them suffices alone
            weak = number % 3
            message = self.hinting(label, hints, number, vague="both" if weak == 0 or rng.random() < 0.2 else None)
            message.picture = rng.choice(shared if weak == 1 or rng.random() < 0.25 else pointing)
            message.sentence = rng.choice(phrases["shared"] if weak == 2 or rng.random() < 0.2 else phrases["voice"])
            messages.append(message)
        for number in range(PER_INTENT["image"]):
            message = self.hinting(
                label, hints, number + 3, vague="picture" if number < 5 and rng.random() < 0.3 else None
            )
            message.picture = rng.choice(pointing if number < 5 else shared)
            if number < 2:
                message.text, message.group, message.urgency = "", f"{label}-picture-{number}", "normal"
            messages.append(message)
        for number in range(PER_INTENT["audio"]):
            message = self.hinting(label, hints, number + 5, vague="voice" if rng.random() < 0.3 else None)
            message.sentence = phrases["voice"][number % len(phrases["voice"])]
            if number < 2:
                message.text, message.group, message.urgency = "", f"{label}-voice-{number}", "normal"
            messages.append(message)
        return messages

    def out_of_scope(self, phrases: dict[str, list[str]]) -> list[Message]:
        """Messages that belong to no intent."""
        label = "out_of_scope"
        messages = []
        for number, text in enumerate(phrases["near"] + phrases["far"]):
            self.used.add(text)
            messages.append(Message(text, label, "low", f"{label}-{number}"))
        for number in range(45):
            hint = number % len(phrases["hints"])
            message = Message(self.dressed(phrases["hints"][hint]), label, "low", f"{label}-hint-{hint}")
            if number % 3 != 2:
                kind = tuple(photos.ELSEWHERE)[number % len(photos.ELSEWHERE)]
                message.picture = (photos.elsewhere, {"kind": kind}, True)
            if number % 3 != 1:
                message.sentence = phrases["voice"][number % len(phrases["voice"])]
            messages.append(message)
        return messages


def with_topics(messages: list[Message], phrases: dict[str, dict[str, list[str]]]) -> None:
    """Let some of the texts beside media name their topic. Random numbers of its own: the media stay as they are."""
    rng = random.Random(SEED + 1)
    for message in messages:
        kind = next((kind for kind in TOPIC_SHARE if f"-{kind}-" in message.group), None)
        if kind and message.label in phrases and rng.random() < TOPIC_SHARE[kind]:
            topic = rng.choice(phrases[message.label]["topics"])
            message.text = rng.choice(TOPIC_FORMS).format(text=message.text, topic=topic)


def further(phrases: dict[str, dict[str, list[str]]]) -> list[Message]:
    """More text alone, at the end so that the numbers of the media stay."""
    messages = []
    for label, parts in phrases.items():
        for number, sentence in enumerate(parts["more"]):
            text, urgency = marked(sentence)
            urgency = "low" if label == "out_of_scope" else urgency
            messages.append(Message(text, label, urgency, f"{label}-more-{number}"))
    return messages


def main() -> None:
    """Write everything anew."""
    phrases = tomllib.loads((HERE / "messages.toml").read_text(encoding="utf-8"))
    outside = tomllib.loads((HERE / "out_of_scope.toml").read_text(encoding="utf-8"))
    sampler = Sampler(SEED)
    messages = [m for label, parts in phrases.items() for m in sampler.in_scope(label, parts)]
    messages += sampler.out_of_scope(outside)
    with_topics(messages, phrases)
    messages += further({**phrases, "out_of_scope": outside})
    for folder in ("pictures", "voices"):
        shutil.rmtree(SAMPLE / folder, ignore_errors=True)
        (SAMPLE / folder).mkdir(parents=True)
    with (SAMPLE / "messages.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "text", "image", "audio", "label", "urgency", "group"))
        for number, message in enumerate(messages, start=1):
            rng, image, audio = random.Random(SEED * 100_000 + number), "", ""
            if message.picture is not None:
                draw, arguments, photo = message.picture
                content, suffix = encode(rng, draw(rng, **arguments), photo=photo)
                image = f"pictures/{number:04d}.{suffix}"
                (SAMPLE / image).write_bytes(content)
            if message.sentence is not None:
                audio = f"voices/{number:04d}.ogg"
                (SAMPLE / audio).write_bytes(speak(rng, message.sentence))
            writer.writerow(
                (f"m{number:04d}", message.text, image, audio, message.label, message.urgency, message.group)
            )


if __name__ == "__main__":
    main()
