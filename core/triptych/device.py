"""Device, precision, threads and seed: chosen once, here, each with the reason.

No other module asks whether there is a GPU.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from triptych.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Where and how tensors are computed; `reasons` says why, one sentence for each choice."""

    device: torch.device
    dtype: torch.dtype
    mixed_precision: str  # what accelerate calls it: "no", "fp16" or "bf16"
    threads: int
    reasons: tuple[str, ...]

    def describe(self) -> dict[str, object]:
        """The plan as JSON."""
        return {
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": self.threads,
            "reasons": list(self.reasons),
        }


def choose_device(want: str = "auto") -> DevicePlan:
    """Choose among "auto", "cpu", "cuda", "cuda:N" and "mps".

    Raises `ConfigError` when a device is named that this machine does not have.
    """
    threads = torch.get_num_threads()
    if want == "auto":
        want = "cuda" if torch.cuda.is_available() else "cpu"
        reason = "cuda: a GPU was found" if want == "cuda" else "cpu: no GPU was found"
    else:
        reason = f"{want}: asked for"
    try:
        device = torch.device(want)
    except RuntimeError as error:
        raise ConfigError(f"device {want!r} is not a device name; use auto, cpu, cuda, cuda:N or mps") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {want!r} was asked for, but torch sees no CUDA GPU; use device=cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps' was asked for, but this machine has none; use device=cpu")
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return DevicePlan(device, torch.bfloat16, "bf16", threads, (reason, "bfloat16: the GPU computes it natively"))
    return DevicePlan(device, torch.float32, "no", threads, (reason, f"float32: exact on {device.type}"))


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively; elsewhere it is imitated, slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    known = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check() for check in known if check is not None)


def available_devices() -> list[str]:
    """Every device that torch can use here, for `triptych doctor`."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one core: with small tensors, threads wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
