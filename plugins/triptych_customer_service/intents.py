"""How intents are spoken of: titles for questions, descriptions for zero-shot, urgency priors."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path

from triptych_customer_service.settings import IntentText, Settings

SAMPLE = Path(__file__).resolve().parent / "sample"
OUT_OF_SCOPE = "out_of_scope"  # the label of messages that are no intent


@functools.cache
def sample_intents() -> Mapping[str, IntentText]:
    """The intents of the embedded sample."""
    content = tomllib.loads((SAMPLE / "intents.toml").read_text(encoding="utf-8"))
    return {name: IntentText.model_validate(values) for name, values in content.items()}


def intent_text(settings: Settings, label: str) -> IntentText:
    """What is known of a label: from the config, else from the sample, else made from its name."""
    known = settings.intents.get(label) or sample_intents().get(label) or IntentText()
    return known if known.title else known.model_copy(update={"title": label.replace("_", " ").replace("-", " ")})


def descriptions(settings: Settings) -> dict[str, str]:
    """Label to description, for zero-shot."""
    texts = {**sample_intents(), **settings.intents}
    return {label: text.description for label, text in texts.items() if text.description}
