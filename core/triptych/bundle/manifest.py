"""What a bundle says of itself."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import triptych
from triptych.errors import BundleError

SCHEMA_VERSION = 1  # raise it when an older triptych could no longer read what this one writes
_PACKAGES = ("torch", "transformers", "sentence-transformers", "timm", "peft", "faiss-gpu", "faiss-cpu", "numpy")


def installed_versions() -> dict[str, str]:
    """The versions of Python's packages that shape a model, without importing them."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSummary(_Section):
    """What the bundle was trained on."""

    source: str = ""  # file or folder name, or "embedded sample"
    fingerprint: str = ""
    counts: dict[str, int] = {}  # samples of each split, skipped rows, documents: by name
    details: dict[str, Any] = {}  # anything else worth keeping: modalities, labels, warnings


class Licence(_Section):
    """The licence of something that the bundle holds or was made from."""

    name: str  # of the weights or the data
    licence: str  # an SPDX identifier, or the words of its owner
    source: str = ""
    note: str = ""


class Manifest(_Section):
    """The content of `manifest.json`. `BundleWriter.commit` fills `files`."""

    schema_version: int = SCHEMA_VERSION
    vertical: str
    vertical_version: str = "1"
    created: datetime.datetime = Field(default_factory=_now)  # UTC
    triptych_version: str = triptych.__version__
    versions: dict[str, str] = Field(default_factory=installed_versions)
    data: DataSummary = DataSummary()
    licences: list[Licence] = []
    config: dict[str, Any] = {}
    training: dict[str, Any] = {}  # strategy, epochs, seconds, device and why
    metrics: dict[str, Any] = {}
    ledger: dict[str, Any] = {}
    files: dict[str, str] = {}  # POSIX path relative to the version directory, to the SHA-256 of its content

    def to_json(self) -> str:
        """Readable JSON; numbers that JSON does not have (NaN, infinity) become null."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, file: str) -> Manifest:
        """The manifest in `text`. Raises `BundleError` naming `file` where it is damaged or of another version."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise BundleError(f"{file} is not whole JSON ({error}); build the bundle again") from error
        found = content.get("schema_version") if isinstance(content, dict) else None
        if not isinstance(found, int):
            raise BundleError(f"{file} has no schema_version: it is not the manifest of a Triptych bundle")
        if found > SCHEMA_VERSION:
            writer = content.get("triptych_version", "a newer release")
            raise BundleError(
                f"{file} has schema version {found}, this triptych {triptych.__version__} reads up to"
                f" {SCHEMA_VERSION}: upgrade triptych (the bundle was written by {writer})"
            )
        if found < 1:
            raise BundleError(f"{file} has schema version {found}, which never existed; build the bundle again")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BundleError(f"{file} is not a valid manifest: {problems}") from error
