"""Checks for domain applications: everything that can be known before a model is trained."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from triptych.config import check_section, load_config
from triptych.data.sources import load_dataset
from triptych.testing.context import DIM, FakeContext, prediction
from triptych.types import Document, Sample, Task
from triptych.vertical import Request, Response, Vertical

_KINDS: dict[str, Literal["label", "labels", "number"]] = {
    "classification": "label",
    "multilabel": "labels",
    "regression": "number",
    "embedding": "label",
}


def check_vertical(vertical: Vertical[Any, Any], directory: Path, *, files: Path | None = None, dim: int = DIM) -> None:
    """The promises of `Vertical`; `directory` is an empty one for its sample data.

    Names, types, default config, sample data that can be read and fits the task, documents that can be indexed, and
    answers to predictions made by hand: sure, unsure, outside the scope, and without anything to be found. `files` is
    what it put into a bundle, `dim` the size of an embedding's vectors; where a vertical extends its bundle and no
    files are given, no answers are asked for.
    """
    assert re.fullmatch(r"[a-z][a-z0-9-]*", vertical.name), f"{vertical.name!r}: use small letters, digits, hyphens"
    assert vertical.title.strip(), "the title is empty"
    assert issubclass(vertical.request_type, Request), "request_type must be a triptych.vertical.Request"
    assert issubclass(vertical.response_type, Response), "response_type must be a triptych.vertical.Response"
    vertical.response_type.model_json_schema()  # raises where a field has no JSON form
    config = load_config(vertical.defaults())
    assert config.encoders, "defaults() configures no encoder"
    settings = check_section(vertical.settings_type, config.vertical, "vertical.")
    task = vertical.task(settings)
    path = vertical.sample_data(directory)
    assert path.exists(), f"sample_data returned {path}, which does not exist"
    columns = config.data.columns.model_copy(update=dict(vertical.sample_columns))
    made = directory / "table"
    made.mkdir()
    table = vertical.training_data(settings, path, made)
    data = config.data.model_copy(update={"path": str(table), "columns": columns})
    dataset = load_dataset(data, kind=_KINDS[task.kind])
    assert not dataset.skipped, f"the sample data has rows that cannot be read: {dataset.skipped[0]}"
    assert {m for s in dataset.samples for m in s.modalities} & set(config.encoders), "no encoder fits the sample data"
    _check_targets(task, dataset.samples)
    documents = list(vertical.documents(settings, path))
    ids = [document.sample.id for document in documents]
    assert len(set(ids)) == len(ids), "two documents have one id"
    for document in documents:
        assert document.sample.modalities, f"document {document.sample.id!r} has nothing to encode"
        json.dumps(dict(document.metadata))  # raises where metadata is not JSON
    request = vertical.sample_request()
    assert request is None or isinstance(request, vertical.request_type), "sample_request is not of request_type"
    if files is not None or type(vertical).extend is Vertical.extend:
        state = directory / "state"
        state.mkdir(parents=True, exist_ok=True)
        context = functools.partial(FakeContext, settings=settings, state=state, files=files, dim=dim)
        _check_answers(vertical, context, task, dataset.samples, documents)


def _check_answers(
    vertical: Vertical[Any, Any],
    context: Callable[..., FakeContext],
    task: Task,
    samples: list[Sample],
    documents: list[Document],
) -> None:
    request = vertical.sample_request() or vertical.request_type(
        text=next((s.text for s in samples if s.text), "hello")
    )
    again = vertical.request_type.model_validate_json(request.model_dump_json())
    assert again.model_dump_json() == request.model_dump_json(), "a request does not survive JSON"
    labels = list(task.labels or sorted({str(t) for s in samples for t in _targets(task, s) if t != task.out_of_scope}))
    cases = [
        ("a sure prediction", prediction(labels[0], labels), documents, samples),
        ("an unsure prediction", prediction(labels[-1], labels, confidence=1 / len(labels)), documents, samples),
        ("a request out of scope", prediction(labels[0], labels, in_scope=False), documents, samples),
        ("a request with nothing to be found", prediction(labels[0], labels), [], []),
    ]
    for what, predicted, known, seen in cases:
        response = vertical.answer(request, predicted, context(request, documents=known, examples=seen, said=predicted))
        assert isinstance(response, vertical.response_type), f"the answer to {what} is not of response_type"
        assert response.answer.strip(), f"the answer to {what} is empty"
        assert 0 <= response.confidence <= 1, f"the confidence of {what} is {response.confidence}"
        written = response.model_dump_json()
        back = vertical.response_type.model_validate_json(written)
        assert back.model_dump_json() == written, f"the answer to {what} does not survive JSON"


def _targets(task: Task, sample: Sample) -> list[Any]:
    if task.kind in ("classification", "multilabel", "embedding"):
        return list(sample.target) if task.kind == "multilabel" else [sample.target]
    return ["value"]  # of a regression head without a name


def _check_targets(task: Task, samples: list[Sample]) -> None:
    if task.labels is None or task.kind not in ("classification", "multilabel"):
        return
    seen = {t for s in samples for t in ([s.target] if task.kind == "classification" else s.target)}
    unknown = seen - set(task.labels) - {task.out_of_scope}
    assert not unknown, f"the sample data has labels that task() does not name: {', '.join(sorted(unknown))}"
