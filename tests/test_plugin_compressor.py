"""The compressor in the plugin guide works as the guide says, and so does the check for compressors."""

from __future__ import annotations

import copy
import re
import sys
import types
from pathlib import Path

import pytest
import torch

from tests.core.compression.students import context_of, piece_encoder, teacher_model
from triptych import hookimpl
from triptych.compression.base import Compressor
from triptych.compression.chains import parse_chain
from triptych.compression.search import Search
from triptych.errors import ConfigError, UnknownNameError
from triptych.host import Host
from triptych.models.heads import ClassificationHead
from triptych.models.multimodal import MultimodalModel
from triptych.runtime.torch_session import TorchSession
from triptych.testing import check_compressor
from triptych.types import Part

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "plugins.md"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The example as a module that can be imported."""
    section = GUIDE.read_text(encoding="utf-8").partition("## A compressor")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python run\n(.*?)^```", section, re.M | re.S)
    module = types.ModuleType("guided_compressor")
    exec(compile(code, "plugins.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "guided_compressor", module)
    return module


class Failing(Compressor):
    name = "failing"

    def obstacle(self, model):
        return None

    def convert(self, model, context):
        raise RuntimeError("out of ideas")


class Faulty:
    """A plugin with a compressor that raises."""

    @hookimpl
    def triptych_parts(self):
        return [Part("compressor", "failing", f"{__name__}:Failing", "Raises.")]


@pytest.fixture
def host(plugin: types.ModuleType) -> Host:
    return Host({"guide": plugin, "faulty": Faulty()}, installed=False)


def test_the_example_keeps_the_promises_of_compressors(plugin, tmp_path):
    model = teacher_model()
    check_compressor(plugin.Every("2"), model, context_of(model, tmp_path, effort=0.05))


def test_the_example_stands_in_chains(host):
    chain = parse_chain("vocabulary+every:2+int8", host)
    assert [step.spelling for step in chain] == ["vocabulary", "every:2", "int8"]
    with pytest.raises(ConfigError, match="every:one needs 2 or more"):
        parse_chain("every:one", host)
    with pytest.raises(UnknownNameError, match="every"):
        parse_chain("evry", host)


def test_the_search_uses_it_and_survives_one_that_raises(host, tmp_path):
    model = teacher_model()
    context = context_of(model, tmp_path / "work")
    parent = TorchSession(copy.deepcopy(model), None, context.plan)
    search = Search(context, host, tmp_path / "search", parent.run)
    failing, every = search.run(["failing+int8", "every:2+int8"])
    assert failing.dropped == "failed: RuntimeError: out of ideas"
    assert every.finished
    assert [step.name for step in every.steps] == ["every:2", "int8"]
    assert every.draft.model.encoder("text").layers == 2


class Same(Compressor):
    """Gives the model back as it is."""

    name = "same"

    def obstacle(self, model):
        return None


class Grasping(Same):
    def convert(self, model, context):
        with torch.no_grad():
            model.head.linear.bias.add_(1.0)
        return model


class Forgetful(Same):
    def convert(self, model, context):
        smaller = copy.deepcopy(model)
        encoder = smaller.encoder("text")
        encoder.register_forward_hook(lambda module, inputs, output: output * 0.5)
        return smaller


class Restless(Same):
    def recover(self, model, context):
        model.train()
        return []


class Growing(Same):
    def convert(self, model, context):
        encoder = piece_encoder(layers=6)
        return MultimodalModel({"text": encoder}, None, ClassificationHead(encoder.dim, model.head.labels)).eval()


class Unwilling(Same):
    def obstacle(self, model):
        return "too small already"


def test_what_changes_nothing_passes(tmp_path):
    model = teacher_model()
    check_compressor(Same(), model, context_of(model, tmp_path))


@pytest.mark.parametrize(
    ("cls", "promise"),
    [
        (Grasping, "convert a copy"),
        (Forgetful, "saved and loaded"),
        (Restless, "evaluation mode"),
        (Growing, "MB, where"),
        (Unwilling, "too small already"),
    ],
)
def test_a_broken_promise_is_named(cls, promise, tmp_path):
    model = teacher_model()
    with pytest.raises(AssertionError, match=promise):
        check_compressor(cls(), model, context_of(model, tmp_path))
