"""ONNX graphs, opened for inference: quiet, private, with the threads that were asked for."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cores import wanted_threads
from triptych.errors import BundleError, MissingError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# From 1.29 on ONNX Runtime reports to its maker unless this is set before it is imported
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

SLOWER = ["SkipLayerNormFusion"]
"""Fusions that ONNX Runtime shall leave: its kernel that adds and normalises at once takes four times as long as both
one after the other (1.32, x86)."""


def open_graph(path: Path, *, threads: int = 0, optimize: bool = True, exact: bool = False) -> InferenceSession:
    """A session on the CPU. `threads` is how many cores one call may use; 0 leaves it to the runtime.

    `optimize` lets the runtime fuse operators at loading, which a graph that was written fused does not need. `exact`
    is for graphs with eight-bit weights of full range: a processor without instructions for eight-bit products then
    takes a slower way, on which sums in sixteen bits cannot overflow. Raises `BundleError` for a file that is no graph
    of ours, `MissingError` where ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError("ONNX Runtime is not installed; pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or wanted_threads()
    options.log_severity_level = 3
    # threads that wait in a loop burn a core each, which is money
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if exact and _sums_can_overflow():
        options.add_session_config_entry("session.x64quantprecision", "1")
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_ENABLE_BASIC
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOWER
        )
    except Exception as error:  # ONNX Runtime's own exceptions share no base but this
        raise BundleError(f"{path} cannot be opened as an ONNX graph: {error}") from error


@functools.cache
def _sums_can_overflow() -> bool:
    """Whether eight-bit products are summed in sixteen bits here: on x86 without the VNNI instructions."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return True  # unknown: right before fast
