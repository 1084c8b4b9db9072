"""Only the tokens that the domain uses: "vocabulary", or "vocabulary:8000" for at most that many.

"vocabulary:common" keeps the common tokens of the language as well: with few training texts, many a word of the next
message was in none of them. A general vocabulary is most of a small text model, and a domain uses a small part of it
(Abdaoui et al. 2020, "Load What You Need"). Texts made of the tokens kept have the very same vectors; a word that fell
out is read in pieces.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from triptych.compression.base import CompressionContext, Compressor
from triptych.compression.text import copied, text_encoder, text_obstacle
from triptych.encoders.hashing import as_text
from triptych.encoders.tokens import (
    SHRINKABLE,
    essential_tokens,
    shrink_tokenizer,
    token_parts,
    tokenizer_kind,
    with_parts,
)
from triptych.encoders.transformer import TransformerTextEncoder
from triptych.errors import ConfigError
from triptych.models.multimodal import MultimodalModel

AFTER_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Models that count positions from the id of the padding on: it must stay what it is."""


COMMON = 8_000
"""Tokens that "vocabulary:common" keeps of any text."""


class Vocabulary(Compressor):
    """Drop the rows of the embedding table, and the tokens, that no training text has."""

    name = "vocabulary"

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        self.common = COMMON if argument == "common" else 0
        argument = "" if self.common else argument
        if argument and not (argument.isdecimal() and int(argument) > 0):
            raise ConfigError(f"compressor vocabulary:{argument} needs the number of tokens to keep at most, or common")
        self.most = int(argument) if argument else None

    def obstacle(self, model: MultimodalModel) -> str | None:
        """See the base."""
        if reason := text_obstacle(model, stack=False):
            return reason
        encoder = text_encoder(model)
        kind = tokenizer_kind(encoder.tokenizer)
        if kind not in SHRINKABLE:
            return f"its tokenizer ({kind}) has no smaller pieces for a word that it does not know"
        if self.most is not None and self.most >= _table(encoder).num_embeddings:
            return f"the text encoder has no more than {_table(encoder).num_embeddings} tokens"
        return None

    def convert(self, model: MultimodalModel, context: CompressionContext) -> MultimodalModel:
        """See the base."""
        student, encoder = copied(model)
        texts = [as_text(s.text) for s in context.train if s.text is not None]
        kept = _chosen(encoder, texts, self.most, self.common)
        places = {old: new for new, old in enumerate(kept)}
        pad = encoder.settings["pad"]
        old = _table(encoder)
        table = nn.Embedding(len(kept), old.embedding_dim, padding_idx=places[pad] if old.padding_idx == pad else None)
        with torch.no_grad():
            table.weight.copy_(old.weight[kept])
        encoder.backbone.set_input_embeddings(table)  # type: ignore[operator]
        encoder.set_tokenizer(shrink_tokenizer(encoder.tokenizer, kept))
        encoder.amend(pad=places[pad])
        encoder.model_config.vocab_size = len(kept)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
            token = getattr(encoder.model_config, name, None)
            if isinstance(token, int):
                setattr(encoder.model_config, name, places.get(token))
        return student


def _table(encoder: TransformerTextEncoder) -> nn.Embedding:
    table: nn.Embedding = encoder.backbone.get_input_embeddings()  # type: ignore[operator]
    return table


def _chosen(encoder: TransformerTextEncoder, texts: list[str], most: int | None, common: int) -> list[int]:
    """Ids to keep, ascending: the essential ones, then those seen, the most frequent first as long as there is room.

    The first `common` of the vocabulary stay too: tokenizers number what they learn from the most frequent on.
    """
    tokenizer = encoder.tokenizer
    pad = encoder.settings["pad"]
    kept = essential_tokens(tokenizer) | {pad}
    if encoder.model_config.model_type in AFTER_PADDING:
        kept |= set(range(pad))
    parts = token_parts(tokenizer)
    for token in range(min(common, _table(encoder).num_embeddings)):
        kept |= with_parts(token, parts)
    seen = Counter(token for encoding in tokenizer.encode_batch_fast(texts) for token in encoding.ids)
    for token, _ in seen.most_common():
        more = with_parts(token, parts) - kept
        if most is None or len(kept) + len(more) <= most:
            kept |= more
    return sorted(kept)
