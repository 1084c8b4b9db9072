"""Triptych: multimodal vertical applications (text, image, audio) that a small company can afford to run.

    import triptych

    predictor = triptych.load("path/to/bundle")
    response = predictor.answer(text="I was charged twice")

Importing this package loads no torch; `load` does where a bundle answers with a model that was not exported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triptych.errors import TriptychError
from triptych.hookspecs import hookimpl
from triptych.types import Modality, Part, Sample

if TYPE_CHECKING:
    from triptych.predictor import Predictor, load

__version__ = "0.1.0"
__all__ = ["Modality", "Part", "Predictor", "Sample", "TriptychError", "__version__", "hookimpl", "load"]

_LAZY = {"load": "triptych.predictor", "Predictor": "triptych.predictor"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'triptych' has no attribute {name!r}")
