"""Text through a sentence-transformers model: `sentence:all-MiniLM-L6-v2`, any name of theirs, or a folder.

Their usual pipeline (transformer, pooling, projections, normalisation) is rebuilt from its JSON without importing the
library, which costs many seconds; only a model with other modules is left to the library itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from safetensors.torch import load_file

from triptych.encoders.checkpoint import find_checkpoint, read_json
from triptych.encoders.options import refuse_unknown
from triptych.encoders.transformer import ACTIVATIONS, POOLINGS, TransformerTextEncoder, _named
from triptych.errors import ConfigError

ORGANISATION = "sentence-transformers"


class SentenceEncoder(TransformerTextEncoder):
    """A sentence-transformers model; the same vectors as the library's `encode`."""

    family = "sentence"

    @classmethod
    def create(cls, model: str = "", *, max_length: int | None = None, lexical: bool = False, **unknown: Any) -> Self:
        """A model by name or folder; `max_length` in tokens, by default the model's own; `lexical` as in the base.

        Raises `MissingError` when its weights cannot be had and `ConfigError` for options that do not fit.
        """
        refuse_unknown(cls.family, unknown, ("max_length", "lexical"))
        folder = find_checkpoint(_named(model, cls.family), organisation=ORGANISATION)
        plan = _plan(folder)
        if plan is None:
            from triptych.encoders.sentence_library import LibrarySentenceEncoder

            return LibrarySentenceEncoder.open(folder, model, max_length)  # type: ignore[return-value]
        encoder = cls._load(
            plan["transformer"],
            model,
            pooling=plan["pooling"],
            normalize=plan["normalize"],
            max_length=max_length,
            dense=plan["dense"],
            lexical=lexical,
        )
        for projection, path in zip(encoder.dense, plan["dense_folders"], strict=True):
            tensors = load_file(path / "model.safetensors")
            projection.load_state_dict({k.replace("linear.", "0."): v.float() for k, v in tensors.items()})
        return encoder

    @classmethod
    def restore(cls, settings: dict[str, Any], assets: Path) -> Self:
        """From `settings` and the saved assets."""
        if settings.get("library"):
            from triptych.encoders.sentence_library import LibrarySentenceEncoder

            return LibrarySentenceEncoder.reopen(settings, assets)  # type: ignore[return-value]
        return super().restore(settings, assets)


def _plan(folder: Path) -> dict[str, Any] | None:
    """What the pipeline in `modules.json` does, or None where it holds a module that only the library knows."""
    modules = read_json(folder, "modules.json")
    if not modules:  # a plain transformer: the library takes the mean of its tokens, and so do we
        return {"transformer": folder, "pooling": "mean", "normalize": False, "dense": [], "dense_folders": []}
    kinds = [m["type"].rpartition(".")[2] for m in modules]
    paths = [folder / m["path"] for m in modules]
    middle = kinds[2 : -1 if kinds[-1] == "Normalize" else None]
    if kinds[:2] != ["Transformer", "Pooling"] or any(k != "Dense" for k in middle):
        return None
    pooling = _pooling(read_json(paths[1], "config.json"))
    dense_folders = paths[2 : 2 + len(middle)]
    dense = [_dense(read_json(path, "config.json"), path) for path in dense_folders]
    if pooling is None or any(d is None for d in dense):
        return None
    return {
        "transformer": paths[0],
        "pooling": pooling,
        "normalize": kinds[-1] == "Normalize",
        "dense": dense,
        "dense_folders": dense_folders,
    }


def _pooling(config: dict[str, Any]) -> str | None:
    """The one pooling of a `Pooling` module, in either of the library's spellings."""
    old = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens": "weightedmean",
        "pooling_mode_lasttoken": "lasttoken",
    }
    mode = config.get("pooling_mode")
    active = [mode] if isinstance(mode, str) else list(mode or [new for key, new in old.items() if config.get(key)])
    return active[0] if len(active) == 1 and active[0] in POOLINGS else None


def _dense(config: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS or not (folder / "model.safetensors").is_file():
        return None
    try:
        return {
            "in": int(config["in_features"]),
            "out": int(config["out_features"]),
            "bias": bool(config.get("bias", True)),
            "activation": activation,
        }
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{folder / 'config.json'} is not the config of a Dense module: {error!r}") from error
