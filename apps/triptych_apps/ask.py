"""`triptych ask`: one question, one answer."""

from __future__ import annotations

import sys
from typing import Any

import click

from triptych_apps.fields import RequestCommand, given_fields
from triptych_apps.options import bundle_argument, device_option, json_option


@click.command(cls=RequestCommand, short_help="Ask a bundle one question, in words, a picture or a voice note.")
@bundle_argument
@click.argument("text", required=False)
@device_option
@json_option
def ask(bundle: str, text: str | None, device: str | None, as_json: bool, **fields: Any) -> None:
    """Ask a bundle one question, in words, a picture or a voice note.

    BUNDLE is a directory or the name of a vertical (its newest bundle); it comes first. TEXT may be - to read the
    words from standard input. `triptych ask BUNDLE --help` shows what else a request to this bundle may carry.
    """
    request = given_fields(fields)
    if text is not None:
        if "text" in request:
            raise click.UsageError("The words were given twice: as TEXT and as --text.")
        request["text"] = sys.stdin.read().strip() if text == "-" else text
    if not request:
        raise click.UsageError("There is nothing to ask: give TEXT, --image FILE or --audio FILE.")
    from triptych import predictor  # late: it brings the model

    response = predictor.load(bundle, device=device or "auto").answer(**request)
    if as_json:
        from triptych_apps.output import print_json

        print_json(response)
        return
    from triptych_apps.render import print_response

    print_response(response)
