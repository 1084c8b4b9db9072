"""From verdicts of reviewers to a table of labelled samples."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.errors import DataError

if TYPE_CHECKING:
    from triptych_apps.server.decision_store import DecisionStore

_REVIEWED = """
SELECT d.batch || '-' || d.place AS name, d.request, d.label, r.version, v.id, v.verdict, v.label AS verdict_label
FROM decision d JOIN release r ON r.id = d.release
JOIN verdict v ON v.id = (SELECT max(id) FROM verdict w WHERE w.batch = d.batch AND w.place = d.place)
WHERE r.vertical = ? ORDER BY v.id
"""


@dataclass(slots=True)
class Samples:
    """Rows in the order of the verdicts, with the columns of `triptych.data.reviewed.COLUMNS`; media are bytes."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    corrected: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # by the reason

    @property
    def has_media(self) -> bool:
        """Whether there is a picture or a sound."""
        return any(row["image"] or row["audio"] for row in self.rows)


def read_samples(store: DecisionStore, vertical: str) -> Samples:
    """What the reviewed decisions of a vertical teach."""
    from triptych_apps.server.stored import request_fields

    found = Samples()
    for row in store.rows(_REVIEWED, (vertical,)):
        label = {"label": row["verdict_label"], "correct": row["label"], "wrong": None}[row["verdict"]]
        fields = request_fields(row["request"] or "{}", store.blob)
        content = {name: fields.get(name) or None for name in ("text", "image", "audio")}
        if label is None:
            found.left_out["wrong, without the right label" if row["verdict"] == "wrong" else "no label"] += 1
        elif not any(content.values()):
            found.left_out["no text, picture or sound"] += 1
        else:
            found.corrected += label != row["label"]
            about = {"label": label, "verdict": row["verdict"], "version": row["version"]}
            found.rows.append({"id": f"decision:{row['name']}", **content, **about})
    return found


def write_samples(samples: Samples, path: Path) -> None:
    """A table for `--data`: Parquet, or JSONL where there are no media. Raises `DataError` for another name."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"image": pa.binary(), "audio": pa.binary()}
        from triptych.data.reviewed import COLUMNS

        schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
        pq.write_table(pa.Table.from_pylist(samples.rows, schema=schema), path)
    elif path.suffix == ".jsonl":
        if samples.has_media:
            raise DataError("the decisions have pictures or sounds, which fit into no JSONL; name a .parquet file")
        path.write_text("".join(_lines(samples.rows)), encoding="utf-8")
    else:
        raise DataError(f"the name of the table ends in .parquet or .jsonl, not in {path.suffix!r}")


def table_for_training(vertical: str, decisions: Path | None = None) -> Path:
    """The verdicts of a vertical as a file under the home, named by its content, so that a build finds it again.

    Raises `DataError` where nothing was reviewed, and what `DecisionStore` raises.
    """
    from triptych.bundle import verdicts_home
    from triptych_apps.server.decision_store import DecisionStore

    with closing(DecisionStore(decisions, make=False)) as store:
        samples = read_samples(store, vertical)
    if not samples.rows:
        raise DataError(
            f"no reviewed decision of {vertical} has a label to learn from; `triptych review list` shows what to review"
        )
    digest = hashlib.sha256()
    for row in samples.rows:
        digest.update(repr(sorted(row.items())).encode())
    home = verdicts_home()
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"{vertical}-{digest.hexdigest()[:16]}.parquet"
    aside = path.with_suffix(".part.parquet")
    write_samples(samples, aside)
    aside.replace(path)
    return path


def _lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False) + "\n"
