"""Options and arguments that the commands of `triptych index` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from triptych_apps.options import device_option, json_option

if TYPE_CHECKING:
    from triptych.data.items import ItemColumns

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
COLUMNS = ("id", "text", "image", "audio", "vector")


def location_argument(command: Decorated) -> Decorated:
    """The argument LOCATION: a directory or a URL."""
    return click.argument("location")(command)


def encoder_option(*, required: bool = False, default: str = "") -> Callable[[Decorated], Decorated]:
    """`--encoder`, any number of times."""
    text = "What makes vectors: an encoder, as sentence:all-MiniLM-L6-v2, timm:mobilenetv2_100 or yamnet, or a trained"
    text += f" bundle, as bundle:NAME; may be repeated.{default}"
    return click.option("--encoder", "encoders", multiple=True, metavar="SOURCE", required=required, help=text)


def data_options(command: Decorated) -> Decorated:
    """Where items come from, and which column is what."""
    holds = {
        "id": "The column with an id for each row.",
        "text": "The column with the words.",
        "image": "The column with paths of pictures.",
        "audio": "The column with paths of sounds.",
        "vector": "The column with vectors that were made elsewhere (JSONL, Parquet).",
    }
    for option in (
        json_option,
        device_option,
        *(
            click.option(f"--{name}", f"{name}_column", metavar="COLUMN", help=f"{holds[name]} By default {name!r}.")
            for name in reversed(COLUMNS)
        ),
        click.option(
            "--data",
            required=True,
            metavar="FILE",
            help="A table (CSV, TSV, JSONL, Parquet), a folder of media, or hub:NAME.",
        ),
    ):
        command = option(command)
    return command


def item_columns(given: dict[str, str | None], vectors: dict[str, str | None]) -> ItemColumns:
    """The columns as the reader of items takes them; `vectors` has the column of each field of vectors, if named."""
    from triptych.data.items import ItemColumns

    return ItemColumns(
        id=given["id_column"],
        text=given["text_column"],
        image=given["image_column"],
        audio=given["audio_column"],
        vectors=vectors,
    )
