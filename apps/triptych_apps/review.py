"""`triptych review`: what people say of the answers that a server gave."""

from __future__ import annotations

import getpass
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triptych.errors import ConfigError
from triptych_apps.options import VerticalName, json_option, vertical_argument
from triptych_apps.replay import decisions_option

if TYPE_CHECKING:
    from triptych_apps.server.reviewing import Accuracy, Verdict


@click.group(short_help="Review what a server answered: list, show, label, export.")
def review() -> None:
    """Review what a server answered.

    `triptych serve` writes every answer down; what reviewers say of them is learnt by `triptych train --verdicts`.
    """


@review.command("list", short_help="What to review next.")
@click.option("--vertical", type=VerticalName(), metavar="NAME", help="Decisions of this vertical alone.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Decisions at most.")
@decisions_option
@json_option
def list_queue(vertical: str | None, limit: int, decisions: Path | None, as_json: bool) -> None:
    """What to review next, the most valuable first, and what is known of the share of correct answers.

    Every fifth is drawn by lot, so that the share can be told without bias.
    """
    from triptych_apps.output import print_json, print_table, print_text
    from triptych_apps.server import reviewing

    items = reviewing.queue(limit, vertical, path=decisions)
    names = sorted({item.vertical for item in items} | ({vertical} if vertical else set()))
    known = [reviewing.accuracy(name, path=decisions) for name in names]
    if as_json:
        from triptych_apps.outcomes import ReviewListOutcome

        print_json(
            ReviewListOutcome(items=[item.model_dump() for item in items], accuracy=[one.model_dump() for one in known])
        )
        return
    rows = [
        [i.id, _short(i.text or ", ".join(i.media)), i.label or _short(i.answer), i.confidence, _why(i.why, i.drawn)]
        for i in items
    ]
    print_table("To review", ["decision", "request", "answered", "confidence", "why"], rows)
    for one in known:
        print_text(_share(one))


@review.command(short_help="Show one decision.")
@click.argument("decision", metavar="ID")
@decisions_option
@json_option
def show(decision: str, decisions: Path | None, as_json: bool) -> None:
    """Show everything that was written down of one decision. ID is what came in the header Triptych-Decision."""
    from triptych_apps.output import print_json, print_pairs
    from triptych_apps.server import reviewing

    found = reviewing.show(decision, path=decisions)
    if as_json:
        print_json(found)
        return
    about = found.model_dump(exclude={"request", "response", "value", "why", "drawn", "answer", "text"})
    print_pairs("Decision", {name: value for name, value in about.items() if value not in ({}, [], "")})
    print_pairs("Request", found.request)
    print_pairs("Response", found.response or {})


@review.command(short_help="Give a verdict.")
@click.argument("decision", metavar="ID")
@click.option("--correct", is_flag=True, help="The answer is right.")
@click.option("--wrong", is_flag=True, help="The answer is wrong, and what would be right is not known.")
@click.option("--label", metavar="LABEL", help="The label that is right.")
@click.option("--by", metavar="NAME", help="Who says so; by default the name of the user.")
@click.option("--note", default="", metavar="TEXT", help="Anything to remember.")
@decisions_option
@json_option
def label(
    decision: str,
    correct: bool,
    wrong: bool,
    label: str | None,
    by: str | None,
    note: str,
    decisions: Path | None,
    as_json: bool,
) -> None:
    """Say whether an answer is right, or which label is. A later verdict replaces an earlier one; both are kept."""
    from triptych_apps.output import print_json, print_text
    from triptych_apps.server import reviewing

    if (label is not None) + correct + wrong != 1:
        raise ConfigError("give one of --label LABEL, --correct and --wrong")
    verdict: Verdict = "correct" if correct else "wrong" if wrong else "label"
    given = reviewing.verdict(decision, verdict, label=label, by=by or getpass.getuser(), note=note, path=decisions)
    if as_json:
        print_json(given)
    else:
        print_text(f"{given.id}: {given.label or given.verdict}, says {given.by}.")


@review.command(short_help="Write the reviewed decisions as a table of samples.")
@vertical_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@decisions_option
@json_option
def export(vertical: str, file: Path, decisions: Path | None, as_json: bool) -> None:
    """Write the reviewed decisions of VERTICAL as a table of samples, for --data of `train` or `evaluate`.

    FILE ends in .parquet, or in .jsonl where no request has a picture or a sound. `train --verdicts` does the same by
    itself, and sees to it that nothing of it measures the model.
    """
    from triptych_apps.outcomes import ReviewExportOutcome
    from triptych_apps.output import print_json, print_pairs
    from triptych_apps.server.decision_store import DecisionStore
    from triptych_apps.verdicts import read_samples, write_samples

    with closing(DecisionStore(decisions, make=False)) as store:
        samples = read_samples(store, vertical)
    write_samples(samples, file)
    outcome = ReviewExportOutcome(
        path=str(file), samples=len(samples.rows), corrected=samples.corrected, left_out=dict(samples.left_out)
    )
    if as_json:
        print_json(outcome)
    else:
        print_pairs("", outcome.model_dump())


@review.command(short_help="Remove decisions for good.")
@click.argument("decision", metavar="ID...", nargs=-1, required=True)
@decisions_option
@json_option
def erase(decision: tuple[str, ...], decisions: Path | None, as_json: bool) -> None:
    """Remove decisions with their verdicts, and pictures and sounds that no other one has. They cannot be replayed."""
    from triptych_apps.output import print_json, print_text
    from triptych_apps.server.decision_store import DecisionStore

    with closing(DecisionStore(decisions, make=False)) as store:
        count = store.erase(decision)
        emptied = store.move_log(whole=True)
    if not emptied:
        click.echo("Others are reading: what was erased stays in the log beside the file for a while.", err=True)
    if as_json:
        print_json({"erased": count})
    else:
        print_text(f"{count} erased.")


def _share(found: Accuracy) -> str:
    if found.share is None:
        return f"{found.vertical}: how many answers are right is not known before some are reviewed that lots drew."
    error = "" if found.standard_error is None else f", give or take {2 * found.standard_error:.1%}"
    return f"{found.vertical}: {found.share:.1%} of the last {found.decisions:,} answers are right{error}."


def _why(why: list[str], drawn: bool) -> str:
    return ", ".join([*why, *(["drawn by lot"] if drawn else [])])


def _short(text: Any) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= 60 else f"{words[:59]}…"
