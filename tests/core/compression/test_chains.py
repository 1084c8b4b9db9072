from __future__ import annotations

import pytest

from tests.core.compression.students import teacher_model
from tests.core.models.tiny import tiny_model
from triptych.compression.base import describe_chain
from triptych.compression.chains import default_chains, parents, parse_chain
from triptych.errors import ConfigError, UnknownNameError
from triptych.host import Host

HOST = Host(installed=False)


@pytest.mark.parametrize("spelling", ["int8", "layers:3+int8", "vocabulary", "static:128,5000+fp16"])
def test_a_chain_is_spelled_as_it_is_read(spelling: str) -> None:
    assert describe_chain(parse_chain(spelling, HOST)) == spelling


def test_every_default_chain_can_be_parsed_and_has_no_obstacle() -> None:
    model = teacher_model()
    chains = default_chains(model)
    assert {"onnx", "int8", "static+int8"} <= set(chains)
    for chain in chains:
        assert [c.obstacle(model) for c in parse_chain(chain, HOST)] == [None] * len(parse_chain(chain, HOST)), chain


def test_features_need_no_text_compressor() -> None:
    assert default_chains(tiny_model()) == ["onnx", "int8"]


def test_the_parents_of_a_chain_lack_one_step() -> None:
    assert parents("layers:3+vocabulary+int8") == ["vocabulary+int8", "layers:3+int8"]
    assert parents("vocabulary+int8") == ["int8"]
    assert parents("int8") == []
    assert parents("layers:3") == []


def test_a_wrong_chain_says_what_is_wrong() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'layers'"):
        parse_chain("layer:3", HOST)
    with pytest.raises(ConfigError, match="it is the export"):
        parse_chain("int8+layers:3", HOST)
    with pytest.raises(ConfigError, match="empty step"):
        parse_chain("layers:3++int8", HOST)
