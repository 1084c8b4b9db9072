"""`triptych chat`: question after question, until the user has enough."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from triptych.errors import TriptychError
from triptych_apps.errors import error_text, say, say_error
from triptych_apps.fields import RequestCommand, given_fields
from triptych_apps.options import bundle_argument, device_option, json_option

if TYPE_CHECKING:
    from triptych.predictor import Predictor

_HELP = """\
/image PATH   add a picture to the next message
/audio PATH   add a voice note to the next message
/quit         leave (so does the end of the input)
An empty line sends what was added without words."""


@click.command(cls=RequestCommand, without=("text", "image", "audio"), short_help="Talk with a bundle.")
@bundle_argument
@device_option
@json_option
@click.pass_context
def chat(ctx: click.Context, /, bundle: str, device: str | None, as_json: bool, **fields: Any) -> None:
    """Talk with a bundle.

    Each line is a message. /image PATH and /audio PATH add a file to the next message, an empty line sends it without
    words, /quit leaves. When standard input is not a terminal, its lines are answered one after the other; with
    --json each answer is one line of JSON.
    """
    from triptych import predictor  # late: it brings torch

    loaded = predictor.load(bundle, device=device or "auto")
    talk = Chat(loaded, given_fields(fields), as_json=as_json)
    if sys.stdin.isatty():
        say(f"{loaded.vertical.title}. /help shows what you can do, /quit leaves.")
    for line in _lines():
        if line.strip() == "/quit":
            break
        talk.take(line)
    else:
        talk.send("")  # a file that was added last and got no words
    ctx.exit(talk.exit_code)


class Chat:
    """A conversation in progress. `exit_code` is that of the last message that failed, 0 where none did."""

    def __init__(self, predictor: Predictor, fields: dict[str, Any], *, as_json: bool) -> None:
        self._predictor = predictor
        self._fields = fields
        self._as_json = as_json
        self._added: dict[str, Path] = {}
        self.exit_code = 0
        if "conversation" in predictor.vertical.request_type.model_fields:
            self._fields.setdefault("conversation", uuid4().hex)  # one chat is one conversation

    def take(self, line: str) -> None:
        """A line as the user typed it: a message, or something that begins with a slash."""
        word, _, rest = line.strip().partition(" ")
        if word in ("/image", "/audio"):
            self._add(word[1:], rest.strip())
        elif word == "/help":
            say(_HELP)
        elif word.startswith("/") and word.count("/") == 1:  # a path that was pasted is a message
            say(f"{word} is not known here.\n{_HELP}")
        else:
            self.send(line.strip())

    def send(self, text: str) -> None:
        """Answer a message; an error is told, and the conversation goes on."""
        request: dict[str, Any] = {**self._fields, **self._added}
        if text:
            request["text"] = text
        elif not self._added:
            return
        self._added = {}
        try:
            response = self._predictor.answer(**request)
        except TriptychError as error:
            say_error(error_text(error))
            self.exit_code = error.exit_code
            return
        if self._as_json:
            from triptych_apps.output import print_json

            print_json(response)
        else:
            from triptych_apps.render import print_brief_response

            print_brief_response(response)
        sys.stdout.flush()

    def _add(self, modality: str, path: str) -> None:
        file = Path(path.strip("'\"")).expanduser()
        if not path or not file.is_file():
            say_error(f"there is no file {str(file)!r}" if path else f"say which file: /{modality} PATH")
            self.exit_code = 3
            return
        self._added[modality] = file
        if sys.stdin.isatty():
            say(f"{file.name} goes with the next message; an empty line sends it without words.")


def _lines() -> Iterator[str]:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        for line in sys.stdin:
            yield line.rstrip("\n")
        return
    import readline  # noqa: F401 - gives `input` line editing and history

    while True:
        try:
            yield input("> ")
        except (EOFError, KeyboardInterrupt) as end:
            say("")  # the prompt's own line ends here
            if isinstance(end, KeyboardInterrupt):
                raise
            return
