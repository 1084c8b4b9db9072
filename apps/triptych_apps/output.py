"""Results on standard output: tables for people, or one JSON object for a program."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType
    from rich.table import Table

_WIDTH_OF_A_FILE = 160  # where the output goes into a file or a pipe, rich would cut at 80 columns


def print_json(result: BaseModel | Mapping[str, Any]) -> None:
    """Exactly one JSON object, on one line. Numbers that JSON does not have (NaN, infinity) become null."""
    data = result if isinstance(result, Mapping) else result.model_dump(mode="json")
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(_finite(data), ensure_ascii=not unicode, allow_nan=False))


def console(*, stderr: bool = False) -> Console:
    """A rich console that writes plain text into files and honours `NO_COLOR`."""
    from rich.console import Console  # late: it costs more to import than the whole command line

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_A_FILE
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table with a title; numbers stand to the right. Nothing is printed for no rows."""
    from rich.table import Table
    from rich.text import Text

    body = [[format_value(cell) for cell in row] for row in rows]
    if not body:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=any(columns), header_style="dim")
    for i, name in enumerate(columns):
        numeric = all(_looks_numeric(row[i]) for row in body)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    _print_block(title, table)


def print_pairs(title: str, pairs: Mapping[str, Any]) -> None:
    """Names and values below each other; None is left out."""
    from rich.table import Table
    from rich.text import Text

    shown = {name: format_value(value) for name, value in pairs.items() if value is not None}
    if not shown:
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in shown.items():
        grid.add_row(Text(name), Text(value))
    _print_block(title, grid)


def print_text(text: str, *, indent: int = 0, dim: bool = False) -> None:
    """Plain words, folded at the width of the terminal; a file gets the lines as they are."""
    if not sys.stdout.isatty():
        print(textwrap.indent(text, " " * indent))
        return
    from rich.text import Text

    _print(_indented(Text(text, style="dim" if dim else ""), indent))


def _print_block(title: str, table: Table) -> None:
    """A title in bold, what belongs to it two columns further in, and an empty line."""
    from rich.text import Text

    heading = [Text(title, style="bold")] if title else []
    _print(*heading, _indented(table, 2), "")


def _indented(content: RenderableType, columns: int) -> RenderableType:
    from rich.padding import Padding

    return Padding(content, (0, 0, 0, columns), expand=False)


def _print(*contents: RenderableType) -> None:
    out = console()
    with out.capture() as capture:
        for content in contents:
            out.print(content)
    text = capture.get()
    if not out.is_terminal:  # rich fills every line to its width, which is of no use in a file
        text = "".join(line.rstrip() + "\n" for line in text.splitlines())
    print(text, end="")


def format_value(value: Any) -> str:
    """A value as people read it: three to four digits of a number, lists with commas."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _format_number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {format_value(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple, set)):
        return ", ".join(format_value(item) for item in value)
    return str(value)


def _format_number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 10 else 2 if size > 1 else 3
    return f"{value:,.{digits}f}"


def _looks_numeric(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "", 1).removeprefix("-").isdigit()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
