"""`triptych index delete`: items by id, and the proof that they are gone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triptych.errors import ConfigError, DataError
from triptych_apps.index.options import location_argument
from triptych_apps.options import json_option

if TYPE_CHECKING:
    from triptych.retrieval.base import Index
    from triptych_apps.outcomes import IndexDeleteOutcome


@click.command(short_help="Delete items; with --erase, prove that no trace is left.")
@location_argument
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--from", "file", metavar="FILE", help="A file with one id a line.")
@click.option("--erase", is_flag=True, help="Compact at once, and search every file for what was deleted.")
@json_option
@click.pass_context
def delete(
    ctx: click.Context, /, location: str, ids: tuple[str, ...], file: str | None, erase: bool, as_json: bool
) -> None:
    """Delete items by id; ids that are not there are passed over.

    A deleted item is found no more at once; its bytes leave the disk with the next compaction. --erase compacts at once
    and searches every file of the index for the ids, vectors, texts and metadata; a trace that it finds is listed, and
    the exit code is 3.
    """
    from triptych_apps.index.places import opened, shown
    from triptych_apps.outcomes import ErasedOutcome, IndexDeleteOutcome
    from triptych_apps.output import print_json

    wanted = [*ids, *(_ids_in(file) if file is not None else [])]
    if not wanted:
        raise click.UsageError("no id was given; name ids, or a file of them with --from", ctx)
    with opened(location) as index:
        before = len(index)
        erased = _erase(index, wanted) if erase else None
        if erased is None:
            index.delete(wanted)
        outcome = IndexDeleteOutcome(
            location=shown(location),
            deleted=before - len(index),
            unknown=len(set(wanted)) - (before - len(index)),
            items=len(index),
            erased=None if erased is None else ErasedOutcome(**{n: erased[n] for n in ErasedOutcome.model_fields}),
        )
    if as_json:
        print_json(outcome)
    else:
        _print(outcome)
    ctx.exit(3 if outcome.erased is not None and outcome.erased.traces else 0)


def _ids_in(file: str) -> list[str]:
    """One id a line; blank lines are none."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DataError("the file does not exist", file=file) from error
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        raise DataError("the file is not UTF-8", file=file) from error
    return [line.strip() for line in lines if line.strip()]


def _erase(index: Index, ids: list[str]) -> dict[str, Any]:
    erase = getattr(index, "erase", None)
    if erase is None:
        raise ConfigError(
            "what a database keeps in its log and its backups cannot be searched from here; delete without --erase, "
            "then `triptych index compact`"
        )
    found: dict[str, Any] = erase(ids)
    return found


def _print(outcome: IndexDeleteOutcome) -> None:
    from triptych_apps.errors import say_error
    from triptych_apps.output import print_pairs
    from triptych_apps.render import print_warnings

    pairs: dict[str, Any] = {
        "index": outcome.location,
        "deleted": f"{outcome.deleted:,}",
        "items left": f"{outcome.items:,}",
    }
    if outcome.erased is not None:
        pairs["searched for"] = "their ids, vectors, texts and metadata"
        pairs["searched in"] = f"{outcome.erased.bytes:,} bytes, files: {outcome.erased.files:,}"
        pairs["traces"] = f"{len(outcome.erased.traces):,}" if outcome.erased.traces else "none"
    print_pairs("", pairs)
    if outcome.unknown:
        print_warnings([f"{outcome.unknown:,} of the ids were not in the index"])
    for trace in outcome.erased.traces if outcome.erased is not None else []:
        say_error(f"a trace is left: {trace}")
