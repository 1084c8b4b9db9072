"""A cascade asks the next model about just those samples that it should, and says who answered."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.core.runtime.bundles import serving_host, write_exported
from triptych.errors import BundleError
from triptych.runtime.base import Outcome
from triptych.runtime.cascade import Cascade, CascadeSettings, confidence_of
from triptych.runtime.open import open_session, variant_path
from triptych.types import Prediction, Sample


class Stage:
    """A model whose answer and confidence stand in the sample: metadata of its own name, as (label, confidence)."""

    modalities, kind, labels = ("text",), "classification", ("a", "b")

    def __init__(self, variant, **changes):
        self.variant = variant
        self.asked = []
        self.__dict__.update(changes)

    def run(self, samples):
        self.asked += [s.id for s in samples]
        return [self._outcome(s) for s in samples]

    def _outcome(self, sample):
        label, sure = sample.metadata[self.variant]
        other = "ab".replace(label, "")
        prediction = Prediction({label: sure, other: 1 - sure}, 1.0, sure != 0.77, np.ones(2), {"text": 1.0})
        return Outcome(prediction, {"text": np.ones(2)}, self.variant, Path(self.variant))


def cascade(*stages, thresholds):
    return Cascade("both", [lambda stage=stage: stage for stage in stages], thresholds)


def asked(number, cheap, dear=("b", 0.9), dearest=("b", 0.9)):
    return Sample(str(number), text="?", metadata={"cheap": cheap, "dear": dear, "dearest": dearest})


def test_what_is_sure_stays_and_the_rest_goes_on_in_order():
    cheap, dear = Stage("cheap"), Stage("dear")
    session = cascade(cheap, dear, thresholds=[0.8])
    outcomes = session.run([asked(0, ("a", 0.9)), asked(1, ("a", 0.6)), asked(2, ("a", 0.8)), asked(3, ("a", 0.77))])
    assert [o.variant for o in outcomes] == ["cheap", "dear", "cheap", "dear"]  # the last one is out of scope
    assert [o.prediction.label for o in outcomes] == ["a", "b", "a", "b"]
    assert [o.home.name for o in outcomes] == ["cheap", "dear", "cheap", "dear"]
    assert (cheap.asked, dear.asked) == (["0", "1", "2", "3"], ["1", "3"])
    assert session.counts == (4, 2)
    assert session.escalation_rate == 0.5


def test_a_later_stage_is_opened_when_it_is_needed_and_once():
    opened = []

    def later():
        opened.append(1)
        return Stage("dear")

    session = Cascade("both", [lambda: Stage("cheap"), later], [0.8])
    assert session.escalation_rate == 0.0
    session.run([asked(0, ("a", 0.9))])
    assert opened == []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: session.run([asked(i, ("a", 0.5))]), range(40)))
    assert opened == [1]
    assert session.counts == (41, 40)


def test_three_stages_each_ask_less():
    stages = [Stage("cheap"), Stage("dear"), Stage("dearest")]
    session = cascade(*stages, thresholds=[0.8, 0.95])
    outcomes = session.run([asked(0, ("a", 0.7)), asked(1, ("a", 0.7), ("a", 0.99)), asked(2, ("a", 0.95))])
    assert [o.variant for o in outcomes] == ["dearest", "dear", "cheap"]
    assert session.counts == (3, 2, 1)
    assert session.run([]) == []


def test_several_labels_are_as_sure_as_the_least_sure_of_them():
    assert confidence_of("multilabel", {"a": 0.95, "b": 0.4}) == pytest.approx(0.6)
    assert confidence_of("classification", {"a": 0.7, "b": 0.3}) == 0.7


def test_stages_that_do_not_fit_are_refused():
    with pytest.raises(BundleError, match="regression head"):
        cascade(Stage("cheap", kind="regression"), Stage("dear"), thresholds=[0.5])
    session = cascade(Stage("cheap"), Stage("dear", labels=("a", "c")), thresholds=[0.8])
    with pytest.raises(BundleError, match="differ in labels"):
        session.run([asked(0, ("a", 0.6))])
    with pytest.raises(ValueError, match="two stages"):
        cascade(Stage("cheap"), thresholds=[])


def described(bundle, **changes):
    """A cascade of two exported models in a bundle."""
    write_exported(variant_path(bundle, "tiny:3"), variant="tiny:3", sharpness=2.0)
    write_exported(variant_path(bundle, "sure"), variant="sure", sharpness=40.0)
    variant_path(bundle, "both").mkdir()
    content = {"format": 1, "stages": ["tiny:3", "sure"], "thresholds": [0.9], "promise": {"max_drop": 0.01}}
    (variant_path(bundle, "both") / "cascade.json").write_text(json.dumps(content | changes))


def test_a_cascade_of_exported_models_is_opened_by_its_name(tmp_path):
    described(tmp_path)
    session = open_session(tmp_path, "both", serving_host())
    assert isinstance(session, Cascade)
    (outcome,) = session.run([Sample("1", text="red")])  # the cheap one gives it 0.79
    assert (outcome.variant, outcome.home) == ("sure", variant_path(tmp_path, "sure"))
    assert outcome.prediction.confidence > 0.99


def test_settings_come_back_as_they_were_written(tmp_path):
    settings = CascadeSettings(stages=["tiny:3", "torch"], thresholds=[0.93], promise={"max_drop": 0.005})
    settings.write(tmp_path)
    assert CascadeSettings.read(tmp_path) == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2.*upgrade"),
        ({"stages": ["tiny:3"]}, "does not describe a cascade"),
        ({"thresholds": []}, "a threshold for every stage"),
        ({"thresholds": ["high"]}, "does not describe a cascade"),
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_refused(changes, message, tmp_path):
    described(tmp_path, **changes)
    with pytest.raises(BundleError, match=message):
        open_session(tmp_path, "both", serving_host())


def test_a_stage_that_is_not_there_is_named(tmp_path):
    described(tmp_path, stages=["gone", "sure"])
    with pytest.raises(BundleError, match="'gone'"):
        open_session(tmp_path, "both", serving_host())
