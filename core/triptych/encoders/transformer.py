"""Text through any transformers encoder: `transformer:<name or path>`.

Texts go through `tokenizers` directly, a batch is padded to its own longest text, and the model's class is built from
its config: the layers above those (AutoTokenizer, sentence-transformers) cost seconds to import and most of the speed
on short texts. Models of the BERT family can also be run in two halves, so that the outputs of layers that stay
frozen are computed once (`lower`) and training starts above them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from triptych.encoders.base import Batch, Encoder
from triptych.encoders.checkpoint import find_checkpoint, read_json
from triptych.encoders.hashing import as_text
from triptych.encoders.lexical import LexicalTable
from triptych.encoders.options import refuse_unknown
from triptych.encoders.slim import keep_heads, make_thin
from triptych.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

POOLINGS = ("mean", "cls", "max", "mean_sqrt_len_tokens", "lasttoken")
LAYERED = ("bert", "roberta", "xlm-roberta", "camembert")
"""Model types made of `embeddings` and a plain list `encoder.layer`, whose layers need nothing but a mask."""
ACTIVATIONS: dict[str, type[nn.Module]] = {"Identity": nn.Identity, "Tanh": nn.Tanh}
LONGEST = 512
"""Tokens kept of a text where the checkpoint does not say."""


class TransformerTextEncoder(Encoder):
    """Tokens through a transformer, pooled into one vector, projected and normalised where the settings say so.

    `settings` has `model`, `pooling`, `normalize`, `max_length` (tokens), `pad` (token id), `dense` (a list of
    `{"in", "out", "bias", "activation"}`, the projections some sentence models end with) and `lexical`: None, or how
    many outputs of a linear model on n-grams follow the vector (zero until a strategy has learnt it). A compressed
    encoder may also have `heads`, those left in each layer, and `thin`, the share of the multiplications that pairs of
    thin matrices make (see `triptych.encoders.slim`).
    """

    modality = "text"
    family = "transformer"

    def __init__(self, backbone: nn.Module, tokenizer: Tokenizer, settings: dict[str, Any]) -> None:
        super().__init__()
        self.name = f"{self.family}:{settings['model']}"
        self._settings = settings
        self._backbone = backbone
        if isinstance(getattr(backbone, "pooler", None), nn.Module):
            backbone.register_module("pooler", None)  # its output is not read: no weights to save, no work to do
        self._make_slim()
        self.set_tokenizer(tokenizer)
        self.dense = nn.ModuleList(
            nn.Sequential(nn.Linear(d["in"], d["out"], bias=d["bias"]), ACTIVATIONS[d["activation"]]())
            for d in settings["dense"]
        )
        self.hidden: int = self.model_config.hidden_size
        self.lexical = LexicalTable(settings["lexical"]) if settings["lexical"] else None
        self.frozen_layers = 0

    @classmethod
    def create(
        cls,
        model: str = "",
        *,
        pooling: str = "mean",
        normalize: bool = False,
        max_length: int | None = None,
        lexical: bool = False,
        **unknown: Any,
    ) -> Self:
        """A checkpoint by folder or name. Raises `MissingError` when it cannot be had, `ConfigError` for bad options.

        `max_length` is in tokens; longer texts are cut. With `lexical` a strategy may put a linear model on n-grams
        beside the transformer (see `triptych.tuning.lexical`).
        """
        refuse_unknown(cls.family, unknown, ("pooling", "normalize", "max_length", "lexical"))
        folder = find_checkpoint(_named(model, cls.family))
        return cls._load(
            folder, model, pooling=pooling, normalize=normalize, max_length=max_length, dense=[], lexical=lexical
        )

    @classmethod
    def _load(
        cls,
        folder: Path,
        model: str,
        *,
        pooling: str,
        normalize: bool,
        max_length: int | None,
        dense: list[dict[str, Any]],
        lexical: bool,
    ) -> Self:
        if pooling not in POOLINGS:
            raise ConfigError(f"[encoders.text] pooling = {pooling!r} is unknown; known: {', '.join(POOLINGS)}")
        backbone = _open_weights(folder)
        tokenizer = _tokenizer(folder)
        encoder = cls(
            backbone,
            tokenizer,
            {
                "model": model,
                "pooling": pooling,
                "normalize": normalize,
                "max_length": _max_length(folder, backbone.config, max_length),
                "pad": backbone.config.pad_token_id or 0,
                "dense": dense,
                "lexical": 0 if lexical else None,
            },
        )
        encoder.pretrained = True
        encoder.eval()
        return encoder

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """From `settings`, the model's config and the tokenizer."""
        from transformers import AutoConfig, AutoModel

        backbone = AutoModel.from_config(AutoConfig.from_pretrained(assets, local_files_only=True))
        encoder = cls(backbone, Tokenizer.from_file(str(assets / "tokenizer.json")), settings)
        encoder.pretrained = True
        return encoder

    def save_assets(self, directory: Path) -> None:
        """The model's config and the tokenizer."""
        self.model_config.to_json_file(str(directory / "config.json"), use_diff=False)
        self.tokenizer.save(str(directory / "tokenizer.json"))

    @property
    def settings(self) -> dict[str, Any]:
        """See the class."""
        return dict(self._settings)

    @property
    def dense_dim(self) -> int:
        """The size of the vector without the outputs of the lexical table."""
        return int(self._settings["dense"][-1]["out"]) if self._settings["dense"] else self.hidden

    @property
    def dim(self) -> int:  # type: ignore[override]  # it grows by the lexical table
        """The size of the vector."""
        return self.dense_dim + (self.lexical.outputs if self.lexical else 0)

    @property
    def wants_lexical(self) -> bool:
        """Whether a lexical table may be learnt."""
        return self._settings["lexical"] is not None

    def set_lexical(self, table: LexicalTable | None) -> None:
        """Put a learnt table beside the transformer, or take it away."""
        self.lexical = table
        self._settings = {**self._settings, "lexical": table.outputs if table else 0}

    def set_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Read texts with another tokenizer; the embeddings must be those of its tokens."""
        self.tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.enable_truncation(self._settings["max_length"])

    def amend(self, **changes: Any) -> None:
        """Change settings; whoever does it has changed modules and weights to match."""
        self._settings = {**self._settings, **changes}

    @property
    def backbone(self) -> nn.Module:
        """The transformer."""
        return self._backbone

    @property
    def model_config(self) -> PretrainedConfig:
        """The transformer's own configuration."""
        config: PretrainedConfig = self._backbone.config
        return config

    def prepare(self, values: Sequence[Any]) -> Batch:
        """Texts to `input_ids` and `attention_mask`, int64 [batch, tokens of the longest], and the lexical n-grams."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch_fast([as_text(v) for v in values])]
        ids = np.full((len(rows), max(map(len, rows), default=0)), self._settings["pad"], dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        return batch | self.lexical.prepare(values) if self.lexical else batch

    def costs(self, values: Sequence[Any]) -> list[int]:
        """Tokens in each text."""
        return [len(encoding.ids) for encoding in self.tokenizer.encode_batch_fast([as_text(v) for v in values])]

    @property
    def layers(self) -> int:
        """How many layers `lower` could compute beforehand: none where the architecture is not a plain stack."""
        return self.model_config.num_hidden_layers if self.model_config.model_type in LAYERED else 0

    def freeze_lowest(self, layers: int) -> None:
        """Fix the embeddings and the lowest `layers` layers, of which the embeddings alone are fixed with 0."""
        self.frozen_layers = min(layers, self.layers)
        fixed: list[nn.Module] = [self._backbone.get_input_embeddings()]  # type: ignore[operator]
        if self.layers:
            fixed += [self._backbone.embeddings, *self.stack[: self.frozen_layers]]  # type: ignore[list-item]
        for module in fixed:
            module.requires_grad_(False)

    @property
    def stack(self) -> nn.ModuleList:
        """The layers, lowest first, of an architecture that is a plain stack."""
        stack: nn.ModuleList = self._backbone.encoder.layer  # type: ignore[assignment,union-attr]
        return stack

    def set_stack(self, stack: nn.ModuleList) -> None:
        """Put other layers in the place of these."""
        self._backbone.encoder.layer = stack  # type: ignore[union-attr]
        self.model_config.num_hidden_layers = len(stack)

    def _make_slim(self) -> None:
        """The shapes that settings ask for and the model's own config cannot."""
        for layer in self.stack if "heads" in self._settings or "thin" in self._settings else ():
            if "heads" in self._settings:
                keep_heads(layer, range(self._settings["heads"]))
            if "thin" in self._settings:
                make_thin(layer, self._settings["thin"])

    def lower(self, batch: Batch) -> Batch:
        """What `prepare` returned to `hidden` [batch, tokens, hidden] above the frozen layers; `forward` takes both."""
        mask = batch["attention_mask"]
        hidden = self._backbone.embeddings(input_ids=batch["input_ids"])  # type: ignore[operator]
        for layer in self.stack[: self.frozen_layers]:
            hidden = layer(hidden, _additive(mask, hidden.dtype))
        return {"hidden": hidden, **{k: v for k, v in batch.items() if k != "input_ids"}}

    def forward(self, batch: Batch) -> Tensor:
        """What `prepare` or `lower` returned to [batch, dim]."""
        mask = batch["attention_mask"]
        if "hidden" in batch:
            hidden = batch["hidden"]
            for layer in self.stack[self.frozen_layers :]:
                hidden = layer(hidden, _additive(mask, hidden.dtype))
        else:
            hidden = self._backbone(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        vectors = _pool(hidden, mask, self._settings["pooling"])  # [batch, hidden]
        for projection in self.dense:
            vectors = projection(vectors)
        vectors = F.normalize(vectors, dim=-1) if self._settings["normalize"] else vectors
        return vectors if self.lexical is None else torch.cat([vectors, self.lexical(batch).to(vectors.dtype)], dim=-1)


def _open_weights(folder: Path) -> Any:
    from transformers import AutoModel  # half a second, and seconds with a model's class: only where it is used
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a library does not print; loading takes a fraction of a second
    try:
        return AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True, dtype=torch.float32)
    finally:
        if shown:
            logging.enable_progress_bar()


def _named(model: str, family: str) -> str:
    if not model:
        raise ConfigError(f"[encoders.text] use = {family!r} needs a model after a colon: {family}:<name or path>")
    return model


def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        return Tokenizer.from_file(str(path))
    from transformers import AutoTokenizer  # converts the older vocabulary files

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not isinstance(getattr(tokenizer, "backend_tokenizer", None), Tokenizer):
        raise ConfigError(f"text model {folder} has a tokenizer that cannot be saved as tokenizer.json")
    backend: Tokenizer = tokenizer.backend_tokenizer
    return backend


def _max_length(folder: Path, config: PretrainedConfig, wanted: int | None) -> int:
    positions = getattr(config, "max_position_embeddings", None) or LONGEST
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= 2  # these count positions from the padding id on
    if wanted is not None:
        if not 2 < wanted <= positions:
            raise ConfigError(f"[encoders.text] max_length = {wanted} is not between 3 and {positions} tokens")
        return wanted
    own = read_json(folder, "sentence_bert_config.json").get("max_seq_length")
    own = own or read_json(folder, "tokenizer_config.json").get("model_max_length") or LONGEST
    return int(min(own, positions))


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[batch, tokens] of ones and zeros to what is added to attention scores, [batch, 1, 1, tokens]."""
    return (1 - mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min


def _pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """[batch, tokens, hidden] to [batch, hidden], without the padding."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "lasttoken":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    kept = mask.unsqueeze(-1).to(hidden.dtype)  # [batch, tokens, 1]
    if pooling == "max":
        return hidden.masked_fill(kept == 0, torch.finfo(hidden.dtype).min).amax(dim=1)
    count = kept.sum(dim=1).clamp_min(1)
    return (hidden * kept).sum(dim=1) / (count.sqrt() if pooling == "mean_sqrt_len_tokens" else count)
