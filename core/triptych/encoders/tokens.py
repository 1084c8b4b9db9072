"""A tokenizer with fewer tokens: what it no longer knows falls apart into smaller pieces, down to single characters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

SHRINKABLE = ("WordPiece", "BPE", "Unigram")
"""Kinds of tokenizer that have smaller pieces to fall back on."""
WORD_START = "▁"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def tokenizer_kind(tokenizer: Tokenizer) -> str:
    """As tokenizer.json calls it."""
    return str(type(tokenizer.model).__name__)


def essential_tokens(tokenizer: Tokenizer) -> set[int]:
    """Ids of special and added tokens, single characters and bytes: with them every text has tokens."""
    described = json.loads(tokenizer.to_str())
    model = described["model"]
    ids = {t["id"] for t in described["added_tokens"]}
    ids |= {i for t in (model.get("unk_token"),) if (i := tokenizer.token_to_id(t or "")) is not None}
    if model["type"] == "Unigram" and model["unk_id"] is not None:
        ids.add(model["unk_id"])
    vocabulary = _vocabulary(model)
    if model["type"] == "BPE":
        merged = {"".join(pair) for pair in _merges(model)}
        return ids | {i for token, i in vocabulary.items() if token not in merged}
    prefix = model.get("continuing_subword_prefix") or ""
    for token, i in vocabulary.items():
        bare = token.removeprefix(prefix).removeprefix(WORD_START)
        if len(bare) <= 1 or _BYTE.fullmatch(token):
            ids.add(i)
    return ids


def token_parts(tokenizer: Tokenizer) -> dict[int, set[int]]:
    """Of every token that is made by merging (BPE only), the ids of the two it is merged from."""
    model = json.loads(tokenizer.to_str())["model"]
    parts: dict[int, set[int]] = {}
    if model["type"] == "BPE":
        vocabulary = model["vocab"]
        for left, right in _merges(model):
            if left + right in vocabulary:
                parts.setdefault(vocabulary[left + right], set()).update((vocabulary[left], vocabulary[right]))
    return parts


def with_parts(token: int, parts: Mapping[int, set[int]]) -> set[int]:
    """The token with everything that it is merged from, down to single characters (see `token_parts`)."""
    found = {token}
    waiting = [token]
    while waiting:
        for part in parts.get(waiting.pop(), set()) - found:
            found.add(part)
            waiting.append(part)
    return found


def shrink_tokenizer(tokenizer: Tokenizer, kept: list[int]) -> Tokenizer:
    """A tokenizer with the tokens of `kept` (ids), renumbered by their places in it.

    `kept` has `essential_tokens` and is closed under `with_parts`. A text whose tokens are all kept has the same
    tokens as before: each kind prefers tokens by their length, their rank or their score, never by the number of
    others.
    """
    described = json.loads(tokenizer.to_str())
    places = {old: new for new, old in enumerate(kept)}
    model = described["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][i] for i in kept if i < len(model["vocab"])]
        model["unk_id"] = None if model["unk_id"] is None else places[model["unk_id"]]
    else:
        model["vocab"] = {token: places[i] for token, i in model["vocab"].items() if i in places}
    if model["type"] == "BPE":
        model["merges"] = [
            [a, b] for a, b in _merges(model) if a in model["vocab"] and b in model["vocab"] and a + b in model["vocab"]
        ]
    for added in described["added_tokens"]:
        added["id"] = places[added["id"]]
    if described.get("post_processor"):
        _renumber(described["post_processor"], places)
    described["padding"] = None
    return Tokenizer.from_str(json.dumps(described))


def _vocabulary(model: Mapping[str, Any]) -> dict[str, int]:
    if model["type"] == "Unigram":
        return {piece: i for i, (piece, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """In either spelling of tokenizer.json: a pair, or one string with a blank."""
    pairs = (m.split(" ", 1) if isinstance(m, str) else m for m in model["merges"])
    return [(left, right) for left, right in pairs]


def _renumber(processor: dict[str, Any], places: Mapping[int, int]) -> None:
    """Ids of special tokens in a post-processor, and in those that it is a sequence of."""
    for inner in processor.get("processors", ()):
        _renumber(inner, places)
    for name in ("sep", "cls"):  # of BertProcessing and RobertaProcessing: [token, id]
        if name in processor:
            processor[name][1] = places[processor[name][1]]
    special = processor.get("special_tokens")
    for token in special.values() if isinstance(special, dict) else ():  # of TemplateProcessing
        token["ids"] = [places[i] for i in token["ids"]]
