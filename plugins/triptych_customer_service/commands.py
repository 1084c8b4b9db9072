"""`triptych conversations`: what customer service has kept, for those who run it and for those who ask to be erased."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from triptych.bundle import triptych_home
from triptych.errors import UnknownNameError
from triptych_customer_service.conversations import FILE, Conversations
from triptych_customer_service.intents import OUT_OF_SCOPE
from triptych_customer_service.labels import labelled, write_labels

_STATE = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder that holds the conversations; by default the one that `triptych ask` and `triptych chat` use.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on standard output.")


@click.group()
def conversations() -> None:
    """List, show, export or erase the conversations that customer service keeps."""


@conversations.command("list")
@_STATE
@_JSON
def list_(state: Path | None, as_json: bool) -> None:
    """List all conversations, the latest first."""
    summaries = _store(state).list() if _exists(state) else []
    if as_json:
        _print([dataclasses.asdict(summary) for summary in summaries])
        return
    if not summaries:
        click.echo("There are no conversations yet.", err=True)
    for summary in summaries:
        words = summary.first_words if len(summary.first_words) <= 48 else summary.first_words[:47] + "…"
        click.echo(f"{summary.id}  {summary.last[:16]}  {summary.turns:>3} turns  {summary.status:<21}  {words}")


@conversations.command()
@click.argument("conversation", metavar="ID")
@_STATE
@_JSON
def show(conversation: str, state: Path | None, as_json: bool) -> None:
    """Show the turns of one conversation."""
    content = _content(conversation, state)
    if as_json:
        _print(content)
        return
    for turn in content["turns"]:
        notes = [turn["status"], turn["intent"], turn["urgency"] and f"urgency {turn['urgency']}"]
        mark = ", ".join(note for note in notes if note)
        click.echo(f"{turn['at'][:19]}  {turn['role']}{f' ({mark})' if mark else ''}")
        for line in [*turn["text"].splitlines(), *turn["attachments"]]:
            click.echo(f"    {line}")
        for key, name in (("read_audio", "heard"), ("read_image", "read")):
            if turn[key]:
                click.echo(f"    {name}: {turn[key]}")
    for packet in content["handoffs"]:
        click.echo(f"{packet['at'][:19]}  handed to a person: {packet['reference']} ({packet['reason']})")


@conversations.command()
@click.argument("conversation", metavar="[ID]", required=False)
@_STATE
def export(conversation: str | None, state: Path | None) -> None:
    """Print one conversation, or all, as JSON: one line each, with hand-offs, without the media themselves."""
    keys = [conversation] if conversation else [s.id for s in _store(state).list()] if _exists(state) else []
    for key in keys:
        click.echo(json.dumps(_content(key, state), ensure_ascii=False))


@conversations.command()
@click.argument("conversation", metavar="ID")
@_STATE
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(conversation: str, state: Path | None, yes: bool) -> None:
    """Erase one conversation with its media and hand-offs. It cannot be undone."""
    _content(conversation, state)
    if not yes:
        click.confirm(f"Erase {conversation} with its media and hand-offs?", abort=True)
    _store(state).erase(conversation)
    click.echo(f"{conversation} is erased.")


@conversations.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@_STATE
def labels(folder: Path, state: Path | None) -> None:
    """Write what people said of answers to FOLDER as labelled messages, which `triptych run --data` can learn from."""
    found = labelled(_store(state), OUT_OF_SCOPE) if _exists(state) else ()
    count = write_labels(found, folder)
    click.echo(f"{count} labelled messages are in {folder / 'messages.csv'}")


def _folder(state: Path | None) -> Path:
    return state if state is not None else triptych_home() / "state" / "customer-service"


def _exists(state: Path | None) -> bool:
    return (_folder(state) / FILE).is_file()  # looking must not create a store


def _store(state: Path | None) -> Conversations:
    return Conversations(_folder(state))


def _content(conversation: str, state: Path | None) -> dict[str, Any]:
    """A conversation as JSON. Raises `UnknownNameError`."""
    known = [summary.id for summary in _store(state).list()] if _exists(state) else []
    if conversation not in known:
        raise UnknownNameError("conversation", conversation, known[:20])
    store = _store(state)
    turns = [turn.model_dump(mode="json") for turn in store.turns(conversation)]
    packets = [packet.model_dump(mode="json") for packet in store.handoffs(conversation)]
    return {"id": conversation, "turns": turns, "handoffs": packets}


def _print(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
