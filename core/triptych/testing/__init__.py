"""The promises of parts and verticals as checks; call them in the tests of a plugin.

    from triptych.testing import check_encoder

    def test_palette(tmp_path):
        check_encoder(Palette.create(), [picture, another_picture, a_third], tmp_path)

Each check raises `AssertionError` with the promise that is broken.
"""

from __future__ import annotations

from triptych.testing.compressors import check_compressor
from triptych.testing.context import FakeContext, prediction
from triptych.testing.parts import check_encoder, check_fusion, no_network
from triptych.testing.verticals import check_vertical

__all__ = [
    "FakeContext",
    "check_compressor",
    "check_encoder",
    "check_fusion",
    "check_vertical",
    "no_network",
    "prediction",
]
