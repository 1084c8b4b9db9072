"""What `--json` prints. `docs/schemas/` is generated from these models; their fields are a promise.

`triptych ask --json` prints the vertical's own response, which is `triptych.vertical.Response` or more.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Outcome(BaseModel):
    """Base of all: unknown fields are errors, so that nothing is printed that is not documented."""

    model_config = ConfigDict(extra="forbid")


class SkippedRowOutcome(Outcome):
    """A row of the data that could not be used."""

    file: str
    row: int | None = Field(description="Counted from 1; null where the problem is not of one row.")
    reason: str


class RunOutcome(Outcome):
    """`triptych run --json` and `triptych train --json`."""

    bundle: str = Field(description="The directory to give to `ask`, `evaluate`, `info` or `triptych.load`.")
    metrics: dict[str, Any] = Field(
        description="Metrics of the splits `validation` and `test`, and counts of the data."
    )
    chosen: str = Field(description="The name of the variant in the ledger that the bundle answers with.")
    ledger: dict[str, Any] = Field(
        description=(
            "Quality and cost of every variant and of the classical rival; `parent`, `budget`, `nearest_miss` (empty"
            " where the budget is held), `refused` and `break_even` as docs/economics.md explains them."
        )
    )
    seconds: float = Field(description="Wall-clock time of the build.")
    warnings: list[str] = Field(description="Skipped rows, encoders that were replaced, and whatever else to know.")


class EvaluateOutcome(Outcome):
    """`triptych evaluate --json`."""

    bundle: str
    vertical: str
    data: str
    metrics: dict[str, Any]
    skipped: list[SkippedRowOutcome]
    seconds: float


class InfoOutcome(Outcome):
    """`triptych info --json`."""

    bundle: str = Field(description="The directory of the version that answers.")
    vertical: str
    vertical_version: str
    created: str = Field(description="ISO 8601, UTC.")
    triptych_version: str
    versions: dict[str, str] = Field(description="Packages that the bundle was built with.")
    size_mb: float
    files: int
    data: dict[str, Any]
    training: dict[str, Any] = Field(default={}, description="How it was fine-tuned, and on which device.")
    metrics: dict[str, Any]
    ledger: dict[str, Any]
    licences: list[dict[str, Any]]
    config: dict[str, Any]


class NamedOutcome(Outcome):
    """Something that a plugin offers."""

    kind: str = Field(description='"vertical", "command", or the kind of a part, as "encoder".')
    name: str
    target: str = Field(description='Where its code is: "module:Name".')
    summary: str


class PluginOutcome(Outcome):
    """One plugin; with an `error` it is not in use."""

    name: str
    version: str
    offers: list[NamedOutcome]
    hooks: list[str]
    error: str | None


class PluginsOutcome(Outcome):
    """`triptych plugins --json`."""

    plugins: list[PluginOutcome]
    problems: list[str] = Field(description="Names that cannot be used, for two plugins claim them.")


class PackageOutcome(Outcome):
    """A package that triptych needs or can use."""

    name: str
    version: str | None = Field(description="null where it is not installed.")
    wanted: str = Field(description="The versions that triptych was made for; empty for any.")
    extra: str | None = Field(description="The extra that brings it; null for a dependency of triptych itself.")
    ok: bool


class FoundOutcome(Outcome):
    """Weights or a reader, and whether they can be used here."""

    name: str
    status: Literal["ok", "absent", "unusable"]
    detail: str


class DiskOutcome(Outcome):
    """Free space where the bundles go."""

    path: str
    free_mb: float


class DoctorOutcome(Outcome):
    """`triptych doctor --json`."""

    triptych: str
    python: str
    platform: str
    home: str
    cores: int
    memory_mb: float
    devices: list[str]
    disk: DiskOutcome
    packages: list[PackageOutcome]
    weights: list[FoundOutcome]
    readers: list[FoundOutcome]
    problems: list[str] = Field(description="What keeps triptych from working here; empty means all is well.")


class RollbackOutcome(Outcome):
    """`triptych rollback --json`."""

    bundle: str = Field(description="The version that answers from now on.")


class ExportOutcome(Outcome):
    """`triptych export --json`."""

    bundle: str = Field(description="The directory that was written; give it to `ask`, or copy it elsewhere.")
    size_mb: float


class IndexFieldOutcome(Outcome):
    """One kind of vector that the items of an index have."""

    name: str
    dim: int
    metric: str
    encoder: str = Field(description="The fingerprint of what made the vectors; empty where nobody said.")
    source: str = Field(description="How to open that again; empty for vectors that were made elsewhere.")


class IndexAddOutcome(Outcome):
    """`triptych index build --json` and `triptych index add --json`."""

    location: str
    items: int = Field(description="In the index now.")
    added: int = Field(description="By this command, those among them that replaced others included.")
    known: int = Field(description="Rows that were passed over, for their id was there.")
    fields: list[IndexFieldOutcome]
    skipped: list[SkippedRowOutcome]
    seconds: float


class ErasedOutcome(Outcome):
    """What was searched for traces of deleted items."""

    erased: int = Field(description="Items whose ids, vectors, texts and metadata were searched for.")
    files: int
    bytes: int
    traces: list[str] = Field(description="Empty means: none is left.")


class IndexDeleteOutcome(Outcome):
    """`triptych index delete --json`."""

    location: str
    deleted: int
    unknown: int = Field(description="Ids that were not there.")
    items: int = Field(description="Left in the index.")
    erased: ErasedOutcome | None = Field(description="null without --erase.")


class IndexHitOutcome(Outcome):
    """One item that was found."""

    id: str
    score: float = Field(description="Higher is better; scores of different searches cannot be compared.")
    metadata: dict[str, Any]
    content: dict[str, Any] = Field(description="Any of `text`, `image` and `audio` (paths).")


class IndexSearchOutcome(Outcome):
    """`triptych index search --json`."""

    location: str
    by: Literal["words", "vectors", "hybrid"]
    hits: list[IndexHitOutcome] = Field(description="The best first.")


class IndexStatsOutcome(Outcome):
    """`triptych index stats --json`."""

    location: str
    items: int
    fields: list[IndexFieldOutcome]
    details: dict[str, Any] = Field(description="What the backend says of itself.")


class IndexVerifyOutcome(Outcome):
    """`triptych index verify --json`."""

    location: str
    items: int
    problems: list[str] = Field(description="Empty means that all is well.")


class IndexCompactOutcome(Outcome):
    """`triptych index compact --json`."""

    location: str
    items: int
    bytes_before: int | None = Field(description="On disk; null where the backend does not say.")
    bytes_after: int | None
    seconds: float


class IndexMigrateOutcome(Outcome):
    """`triptych index migrate --json`."""

    location: str
    items: int
    before: list[IndexFieldOutcome]
    fields: list[IndexFieldOutcome] = Field(description="From now on.")
    seconds: float


class ReplayOutcome(Outcome):
    """`triptych replay --json`."""

    id: str
    same: bool = Field(
        description="Whether all but the time it took is the same: answer, error, and the model's scores."
    )
    differences: dict[str, list[Any]] = Field(description="By the name of the field, what it was and what it is now.")
    notes: list[str] = Field(description="What may explain differences.")
    vertical: str
    version: str = Field(description="Of the bundle that answered, and has answered again.")
    variant: str
    batch: int = Field(description="Requests that were answered together.")
    answer: dict[str, Any] | None = Field(description="The response now; null where there is an error.")
    error: str | None


class ReviewListOutcome(Outcome):
    """`triptych review list --json`."""

    items: list[dict[str, Any]] = Field(description="The next decisions to review, the first one first.")
    accuracy: list[dict[str, Any]] = Field(
        description="For each vertical the share of correct answers, estimated from decisions that were drawn by lot."
    )


class ReviewExportOutcome(Outcome):
    """`triptych review export --json`."""

    path: str = Field(description="A table for --data of `train` or `evaluate`.")
    samples: int
    corrected: int = Field(description="Samples among them whose label is not the one that was answered.")
    left_out: dict[str, int] = Field(description="Reviewed decisions that are no samples, by the reason.")


class ErrorDetail(Outcome):
    """What went wrong."""

    type: str
    message: str
    exit_code: int


class ErrorOutcome(Outcome):
    """What any command prints with `--json` when it fails."""

    error: ErrorDetail


SCHEMAS: dict[str, type[BaseModel]] = {
    "run": RunOutcome,
    "evaluate": EvaluateOutcome,
    "info": InfoOutcome,
    "plugins": PluginsOutcome,
    "doctor": DoctorOutcome,
    "rollback": RollbackOutcome,
    "export": ExportOutcome,
    "index-add": IndexAddOutcome,
    "index-delete": IndexDeleteOutcome,
    "index-search": IndexSearchOutcome,
    "index-stats": IndexStatsOutcome,
    "index-verify": IndexVerifyOutcome,
    "index-compact": IndexCompactOutcome,
    "index-migrate": IndexMigrateOutcome,
    "replay": ReplayOutcome,
    "review-list": ReviewListOutcome,
    "review-export": ReviewExportOutcome,
    "error": ErrorOutcome,
}
