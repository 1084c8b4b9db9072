"""Drafts of chains, each beginning shared and made once, kept on disk: a search that was stopped goes on with them."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from triptych.compression.base import CompressionContext, Compressor, Draft, Precision, StepLog, describe_chain
from triptych.compression.quality import quality
from triptych.host import Host
from triptych.models.build import load_model
from triptych.runtime.open import variant_directory

LOG = "steps.json"


class Workshop:
    """Applies compressors to the teacher. `directory` belongs to one teacher and one set of data."""

    def __init__(self, context: CompressionContext, host: Host, directory: Path) -> None:
        self.context, self.host, self.directory = context, host, directory

    def draft(self, compressors: Sequence[Compressor], effort: float) -> Draft:
        """The model after a chain, recovered with an effort in (0, 1], or only converted with 0.

        Raises what a compressor raises.
        """
        teacher = self.context.teacher.model
        changing = [c for c in compressors if c.precision is None]
        precisions: list[Precision] = [c.precision for c in compressors if c.precision is not None]
        draft = self._changed(changing, effort) if changing else Draft(teacher)
        return dataclasses.replace(draft, precision=precisions[0] if precisions else "fp32")

    def _changed(self, compressors: Sequence[Compressor], effort: float) -> Draft:
        """As `draft`, for compressors that change the model; taken from disk where it was made before."""
        name = f"{variant_directory(describe_chain(compressors))}@{effort:g}"
        directory = self.directory / _code_of(compressors) / name
        if (directory / LOG).is_file():
            steps = json.loads((directory / LOG).read_text(encoding="utf-8"))
            log = tuple(StepLog(**{**step, "notes": tuple(step["notes"])}) for step in steps)
            return Draft(load_model(directory, self.host), log=log)
        last = compressors[-1]
        before = self._changed(compressors[:-1], effort) if len(compressors) > 1 else Draft(self.context.teacher.model)
        context = dataclasses.replace(self.context, effort=effort, workspace=directory / "work")
        draft = self._apply(last, before, context)
        aside = directory.with_name(directory.name + ".part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        draft.model.save(aside)
        (aside / LOG).write_text(json.dumps([dataclasses.asdict(step) for step in draft.log]), encoding="utf-8")
        shutil.rmtree(directory, ignore_errors=True)
        aside.rename(directory)
        return draft

    def _apply(self, compressor: Compressor, draft: Draft, context: CompressionContext) -> Draft:
        """Convert, measure the loss, recover; with effort 0 only convert."""
        if context.effort == 0:
            return Draft(compressor.convert(draft.model, context).to("cpu").eval(), log=draft.log)
        context.workspace.mkdir(parents=True, exist_ok=True)
        before = draft.log[-1].recovered if draft.log else self._quality(draft)
        wall, cpu = time.perf_counter(), time.process_time()
        model = compressor.convert(draft.model, context)
        converted = self._quality(Draft(model.to("cpu").eval()))
        notes = compressor.recover(model, context)
        model.to("cpu").eval()
        recovered = self._quality(Draft(model)) if trains(compressor) else converted
        step = StepLog(
            compressor.spelling,
            before,
            converted,
            recovered,
            time.perf_counter() - wall,
            time.process_time() - cpu,
            tuple(notes),
        )
        return Draft(model, log=(*draft.log, step))

    def _quality(self, draft: Draft) -> float:
        """On validation data; the teacher's vectors were computed before."""
        teacher, context = self.context.teacher, self.context
        same = draft.model is teacher.model
        features = teacher.validation if same else draft.model.features(context.validation)
        return quality(draft.model, features, context.validation_targets)


def _code_of(compressors: Sequence[Compressor]) -> str:
    """A hash of the code that the compressors are written in: a draft does not outlive a change of it."""
    digest = hashlib.sha256()
    for compressor in compressors:
        try:
            digest.update(inspect.getsource(inspect.getmodule(type(compressor)) or type(compressor)).encode())
        except (OSError, TypeError):  # not from a file
            digest.update(repr(type(compressor)).encode())
    return digest.hexdigest()[:8]


def trains(compressor: Compressor) -> bool:
    """Whether a compressor has anything to recover."""
    return type(compressor).recover is not Compressor.recover
