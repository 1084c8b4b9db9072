"""`triptych replay`: the answer of a decision once more."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triptych.errors import BundleError, DataError
from triptych_apps.options import device_option, json_option

if TYPE_CHECKING:
    from triptych.predictor import Predictor
    from triptych_apps.outcomes import ReplayOutcome
    from triptych_apps.server.decision_store import DecisionStore

_DIFFERENT = 3  # the exit code


def decisions_option(command: Any) -> Any:
    """`--decisions`, of the commands that read them."""
    text = "The file of decisions; by default decisions.sqlite under the home directory."
    return click.option("--decisions", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help=text)(
        command
    )


@click.command(short_help="Answer once more what a server answered, and compare.")
@click.argument("decision", metavar="ID")
@click.option(
    "--bundle", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Where the version that answered lies now; by default where it lay then.",
)  # fmt: skip
@decisions_option
@device_option
@json_option
@click.pass_context
def replay(
    ctx: click.Context, decision: str, bundle: Path | None, decisions: Path | None, device: str | None, as_json: bool
) -> None:
    """Answer once more what a server answered, and compare.

    ID is what came in the header Triptych-Decision. The very version of the bundle answers the whole batch again, in
    its order, with what the answers took from elsewhere at that time; nothing is written. Exit code 0: everything but
    the time it took is the same. 3: there are differences, which are printed. 4: the version of the bundle is gone.
    """
    from triptych_apps.server.decision_store import DecisionStore

    with closing(DecisionStore(decisions, make=False)) as store, tempfile.TemporaryDirectory() as state:
        outcome = replayed(store, decision, bundle=bundle, device=device, state=Path(state))
    if as_json:
        from triptych_apps.output import print_json

        print_json(outcome)
    else:
        _print(outcome)
    ctx.exit(0 if outcome.same else _DIFFERENT)


def replayed(
    store: DecisionStore, decision: str, *, bundle: Path | None = None, device: str | None = None, state: Path
) -> ReplayOutcome:
    """The comparison of a decision with what its bundle answers now.

    `state` is an empty directory: a vertical that keeps state beside `AnswerContext.recall` finds nothing in it, and
    what it writes there is lost. Raises `UnknownNameError` for the id, `DataError` where the request was not kept, and
    `BundleError` where the version that answered is gone.
    """
    from triptych.trace import Trace
    from triptych_apps.outcomes import ReplayOutcome
    from triptych_apps.server.stored import differences, request_fields

    wanted = store.find(decision)
    if wanted["request"] is None:
        raise DataError(f"the request of {decision} was not kept: {wanted['error']}")
    left = store.batch(decision)
    rows = [row for row in left if row["request"] is not None]
    predictor = open_release(wanted, bundle, device or wanted["device"], state)
    requests = [predictor.request(**request_fields(row["request"], store.blob)) for row in rows]
    traces = [Trace(json.loads(row["recalled"] or "{}")) for row in rows]
    results = predictor.answer_each(requests, traces=traces)
    place = next(number for number, row in enumerate(rows) if row["place"] == wanted["place"])
    before = _recorded(wanted)
    after = _answered(results[place], traces[place].prediction)
    found = differences(before, after)
    return ReplayOutcome(
        id=decision,
        same=not found,
        differences={name: list(pair) for name, pair in found.items()},
        notes=_notes(predictor, wanted, len(left), found),
        vertical=wanted["vertical"],
        version=wanted["version"],
        variant=wanted["variant"],
        batch=len(rows),
        answer=after["response"],
        error=after["error"],
    )


def open_release(decision: dict[str, Any], bundle: Path | None, device: str, state: Path) -> Predictor:
    """The bundle and variant that made a decision. Raises `BundleError` where that version is gone."""
    from triptych import bundle as bundles
    from triptych.bundle.files import MANIFEST, VERSIONS
    from triptych.files import sha256
    from triptych.predictor import load

    version = decision["version"]
    places = [Path(decision["bundle"]), bundles.bundles_home() / decision["vertical"] / VERSIONS / version]
    if bundle is not None:
        places = [bundle / VERSIONS / version, bundle]
    for place in places:
        manifest = place / MANIFEST
        if manifest.is_file() and sha256(manifest) == decision["digest"]:
            predictor = load(place, device=device, state=state)
            variant = decision["variant"]
            return predictor if predictor.session.variant == variant else predictor.with_variant(variant)
    raise BundleError(
        f"version {version} of {decision['vertical']}, which made this decision, is not in "
        f"{' or '.join(map(str, places))}: a bundle keeps the version in use and the one before it. Restore it from a "
        "backup, or copy it with `triptych export` while it is there, and name its directory with --bundle"
    )


def _recorded(row: dict[str, Any]) -> dict[str, Any]:
    """What was answered, in the form of `_answered`."""
    from triptych_apps.server.stored import IGNORED

    response = None if row["response"] is None else json.loads(row["response"])
    kept = None if response is None else {name: value for name, value in response.items() if name not in IGNORED}
    return {"response": kept, "error": row["error"], "scores": json.loads(row["scores"] or "null")}


def _answered(result: Any, said: Any) -> dict[str, Any]:
    """What is answered now."""
    from triptych_apps.server.decisions import error_text, scores_json
    from triptych_apps.server.stored import response_fields

    failed = isinstance(result, Exception)
    return {
        "response": None if failed else response_fields(result),
        "error": error_text(result) if failed else None,
        "scores": json.loads(scores_json(said) or "null"),
    }


def _notes(predictor: Predictor, row: dict[str, Any], left: int, found: dict[str, Any]) -> list[str]:
    """What may explain differences."""
    import triptych

    notes = []
    if left < row["size"]:
        notes.append(
            f"{row['size'] - left} of the {row['size']} decisions of its batch are no longer kept, and a model of "
            "whole numbers answers in dependence on the whole batch"
        )
    if row["triptych_version"] != triptych.__version__:
        notes.append(f"it was made by triptych {row['triptych_version']}, and this is {triptych.__version__}")
    if found and predictor.vertical.answers_depend_on_state and row["recalled"] in (None, "{}"):
        names = ", ".join(sorted({name.split(".")[1] for name in found if name.startswith("response.")}))
        notes.append(
            f"answers of {predictor.vertical.name} rest on state that is not kept with a decision, and was empty here: "
            f"{names} may differ for that"
        )
    return notes


def _print(outcome: ReplayOutcome) -> None:
    from triptych_apps.output import print_pairs, print_table, print_text

    about = {"decision": outcome.id, "bundle": outcome.version, "variant": outcome.variant, "batch": outcome.batch}
    print_pairs("", {**about, "result": "the same" if outcome.same else "different"})
    rows: Sequence[Sequence[Any]] = [[name, *map(_short, pair)] for name, pair in outcome.differences.items()]
    print_table("Differences", ["field", "then", "now"], rows)
    for note in outcome.notes:
        print_text(f"Note: {note}.")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
