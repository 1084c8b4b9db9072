"""Where pretrained weights come from: a safetensors file on this machine, or the Hugging Face hub and its cache."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from triptych.errors import ConfigError, DataError, MissingError

WEIGHTS_VARIABLE = "TRIPTYCH_WEIGHTS"
"""The environment variable with the folder in which relative names of weights are looked up."""


def find_weights(name: str | Path) -> Path:
    """The file that `name` means: an absolute path, or one relative to the working or the weights folder.

    Raises `MissingError` with every path that was tried.
    """
    tried = [Path(name).expanduser()]
    folder = os.environ.get(WEIGHTS_VARIABLE)
    if folder and not tried[0].is_absolute():
        tried.append(Path(folder).expanduser() / name)
    for path in tried:
        if path.is_file():
            return path
    paths = ", ".join(str(path) for path in tried)
    hint = "" if folder else f", or set {WEIGHTS_VARIABLE} to the folder that holds it"
    raise MissingError(f"weights {str(name)!r} were not found; tried {paths}. Give the path of the file{hint}.")


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; half precision becomes float32.

    Raises `DataError` for a file of another kind (a pickled `.bin` or `.pth` is never opened).
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"is not a safetensors file that can be read: {error}", file=path) from error
    return {k: t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for k, t in tensors.items()}


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Set the parameters and buffers of `module`; tensors for which it has no place (a classifier) are left out.

    Counters of batch normalisation may be absent. Raises `ConfigError` when the weights are of another architecture.
    """
    wanted = {k: t for k, t in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    absent = [k for k in wanted if k not in tensors]
    misshapen = [k for k in wanted if k in tensors and tensors[k].shape != wanted[k].shape]
    if absent or misshapen:
        first = (absent or misshapen)[0]
        what = "has no tensor" if absent else f"has shape {list(tensors[first].shape)} for"
        raise ConfigError(
            f"weights {source} do not fit this architecture: the file {what} {first!r} "
            f"(shape {list(wanted[first].shape)} is needed; {len(absent)} absent, {len(misshapen)} of another shape)"
        )
    module.load_state_dict({k: tensors[k] for k in wanted}, strict=False)


def hub_file(repository: str, filename: str) -> Path:
    """A file of a hub repository: from the cache, else downloaded. Raises `MissingError` where neither works."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    online = hub_reachable()
    try:
        return Path(hf_hub_download(repository, filename, local_files_only=not online))
    except (OSError, HfHubHTTPError) as error:  # the hub's "not in the cache" is an OSError
        why = "the hub does not give it" if online else "the hub cannot be reached and the cache has no copy"
        raise MissingError(
            f"pretrained weights {repository}/{filename} cannot be had: {why}. Download the file where there is a "
            f"network and give its path as `weights`, or train from scratch with pretrained=false."
        ) from error


@cache
def hub_reachable() -> bool:
    """Whether the hub answers; asked once, with a short limit.

    The hub's own client tries again for most of a minute before it gives up on a machine without a network.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # a socket of ours would go past the proxy and prove nothing
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=3).close()
    except OSError:
        return False
    return True
