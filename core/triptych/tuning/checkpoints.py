"""Checkpoints of a training run: safetensors and JSON, no pickle, whole or not there.

`state.json` names the tensor file it belongs to and is replaced last, so that a kill at any moment leaves either the
old pair or the new one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

STATE = "state.json"


def save_checkpoint(directory: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write both files; files of older checkpoints are removed afterwards."""
    directory.mkdir(parents=True, exist_ok=True)
    name = f"tensors-{state['epoch']}.safetensors"
    aside = directory / f".{name}.{os.getpid()}"
    # clones: safetensors refuses tensors that share memory, and EMA or best weights may
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, aside)
    _sync(aside)
    aside.replace(directory / name)
    aside = directory / f".{STATE}.{os.getpid()}"
    aside.write_text(json.dumps({**state, "tensors": name}), encoding="utf-8")
    _sync(aside)
    aside.replace(directory / STATE)
    for old in directory.glob("tensors-*.safetensors"):
        if old.name != name:
            old.unlink()


def load_checkpoint(directory: Path, identity: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and state of the run with this identity, or None: there is none, it is another's, or unreadable.

    An unreadable checkpoint only costs time: training starts anew.
    """
    try:
        state = json.loads((directory / STATE).read_text(encoding="utf-8"))
        if state["identity"] != identity:
            return None
        return load_file(directory / state["tensors"]), state
    except Exception:  # a missing or damaged file in any way that JSON and safetensors may put it
        return None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as flat tensors, "optimizer.<parameter>.<name>"."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`; the groups (learning rates) stay those of `optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
