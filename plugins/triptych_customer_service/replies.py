"""The fixed sentences of the vertical. Each may be replaced in the config, under `[vertical.replies]`."""

from __future__ import annotations

import string
from collections.abc import Mapping

REPLIES: dict[str, str] = {
    "answered": "{body}\n\nSource: {title} ({article})",
    "clarify": (
        "I want to be sure that I understand you. Is it about\n  1. {first}, or\n  2. {second}?\n"
        "Answer 1 or 2, or tell me a little more."
    ),
    "clarify_one": "I want to be sure that I understand you. Is it about {first}? Please tell me a little more.",
    "out_of_scope": (
        "I am not sure that I can help with that here. I can help with orders, deliveries, returns, payments and the "
        "like: tell me what you need, or ask for a person."
    ),
    "not_in_knowledge_base": (
        "I think that this is about {intent}, but I have found no article on it in the knowledge base, and I would "
        "rather not guess. Shall I pass you on to a person? Just answer: person."
    ),
    "handed_off": (
        "I am passing you on to a colleague, together with what you have sent, so that you need not explain it again. "
        "Your reference is {reference}."
    ),
    "handed_off_urgent": (
        "I am passing this on to a colleague at once, as it may be a matter of safety. Your reference is {reference}."
    ),
    "meanwhile": "\n\nUntil then:\n{body}\n\nSource: {title} ({article})",
}


def _names(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def check_replies(replies: Mapping[str, str]) -> None:
    """Raise `ValueError` for an unknown reply, or one with a placeholder that its sentence does not have."""
    for key, template in replies.items():
        if key not in REPLIES:
            raise ValueError(f"there is no reply {key!r}; the replies are {', '.join(sorted(REPLIES))}")
        try:
            unknown = _names(template) - _names(REPLIES[key])
        except ValueError as error:
            raise ValueError(f"the reply {key!r} is not a valid template: {error}") from error
        if unknown:
            known = ", ".join(sorted(_names(REPLIES[key]))) or "none"
            raise ValueError(f"the reply {key!r} has no placeholder {sorted(unknown)[0]!r}; it has: {known}")


def reply(replies: Mapping[str, str], key: str, **values: str) -> str:
    """The sentence `key` with its placeholders filled in."""
    return replies.get(key, REPLIES[key]).format(**values)
