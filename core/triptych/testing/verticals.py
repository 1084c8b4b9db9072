"""Checks for domain applications: everything that can be known before a model is trained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

from triptych.config import check_section, load_config
from triptych.data.sources import load_dataset
from triptych.types import Sample, Task
from triptych.vertical import Request, Response, Vertical

_KINDS: dict[str, Literal["label", "labels", "number"]] = {
    "classification": "label",
    "multilabel": "labels",
    "regression": "number",
    "embedding": "label",
}


def check_vertical(vertical: Vertical[Any, Any], directory: Path) -> None:
    """The promises of `Vertical`; `directory` is an empty one for its sample data.

    Names, types, default config, sample data that can be read and fits the task, documents that can be indexed.
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
    data = config.data.model_copy(update={"path": str(path)})
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


def _check_targets(task: Task, samples: list[Sample]) -> None:
    if task.labels is None or task.kind not in ("classification", "multilabel"):
        return
    seen = {t for s in samples for t in ([s.target] if task.kind == "classification" else s.target)}
    unknown = seen - set(task.labels) - {task.out_of_scope}
    assert not unknown, f"the sample data has labels that task() does not name: {', '.join(sorted(unknown))}"
