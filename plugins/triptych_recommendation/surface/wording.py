"""How the commands of `triptych recommendation` print what they found."""

from __future__ import annotations

import click

from triptych import printing
from triptych.printing import print_json, print_rows, say
from triptych_recommendation.data.times import moment_of
from triptych_recommendation.responses import RecommendationResponse


def print_answer(answer: RecommendationResponse, *, as_json: bool) -> None:
    """A list, with the reason for each place."""
    if as_json:
        print_json(answer)
        return
    click.echo(answer.answer)
    rows = [
        [str(place), item.id, item.title, f"{item.score:.2f}", item.reason or item.source]
        for place, item in enumerate(answer.items, start=1)
    ]
    if rows:
        print_rows(("", "id", "title", "score", "why"), rows)
    for note in answer.notes:
        say(f"note: {note}")


def minute(microseconds: int | None) -> str:
    """Microseconds since 1970 as people read a time, in UTC."""
    return printing.minute(None if microseconds is None else moment_of(microseconds))
