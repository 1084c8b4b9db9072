"""Items of a catalogue: what they say, show and sound like, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.data.columns import is_plain, media_value, plain_value, row_id
from triptych.data.sources import SkippedRow
from triptych.data.tables import Row, Table, first_few, format_of, read_table
from triptych.errors import DataError
from triptych.types import Modality, Sample
from triptych_recommendation.data.problems import tolerate
from triptych_recommendation.data.settings import DataSettings

_COLUMNS = ("id", "title", "description", "image", "audio", "category", "price", "stock", "tags")
_SEPARATOR = "|"  # between the tags in one cell


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be recommended; all but the id may be missing."""

    id: str
    title: str = ""
    description: str = ""
    image: Path | None = None  # absolute
    audio: Path | None = None  # absolute
    category: str = ""
    price: float | None = None  # in the currency of the shop
    stock: int | None = None  # pieces; None: not counted
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)  # further columns, as JSON

    @property
    def text(self) -> str:
        """Title, description, category and tags as one text; "" where there is none of them."""
        parts = [self.title, self.description, self.category, ", ".join(self.tags)]
        return ". ".join(part.strip().rstrip(".") for part in parts if part.strip())

    @property
    def has_content(self) -> bool:
        """Whether there is anything to read, see or hear."""
        return bool(self.text) or self.image is not None or self.audio is not None


def sample_of(item: Item) -> Sample:
    """What the item encoder reads of an item."""
    return Sample(item.id, text=item.text or None, image=item.image, audio=item.audio)


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The items of a file and the rows that cannot be used."""

    source: str
    items: list[Item]
    skipped: list[SkippedRow]

    def notes(self) -> list[str]:
        """What is worth telling whoever gave the file."""
        bare = [item.id for item in self.items if not item.has_content]
        counted = (
            (len(self.skipped), f"rows cannot be used; the first: {self.skipped[0] if self.skipped else ''}"),
            (len(bare), f"items have no content ({bare[0] if bare else ''}): they are known by events alone"),
        )
        return [f"{self.source}: {count:,} {words}" for count, words in counted if count]


def read_items(path: Path) -> list[Item]:
    """All items of a CSV, TSV, JSONL (each also with .gz) or Parquet file. Raises `DataError` for the first bad row.

    Of its columns only the id must be there: id, title, description, image and audio (paths below the folder of the
    file), category, price, stock, tags (divided by "|", or a list); further ones become metadata.
    """
    return read_catalogue(path, DataSettings(on_error="fail")).items


def read_catalogue(path: Path, settings: DataSettings) -> Catalogue:
    """As `read_items`, but with rows that cannot be used treated as the settings say.

    Those are rows without an id, with a price or stock that is no number or below 0 (NaN is no price), and with a
    picture or sound that does not exist or lies outside of the folder of the file.

    Raises `DataError` for two items of one id whatever the settings say, for the first bad row with
    `on_error = "fail"`, and when more than the share `max_skipped` of the rows is bad.
    """
    kind = format_of(path)
    if path.exists() and (kind is None or path.is_dir()):
        raise DataError("items are read from a .csv, .tsv, .jsonl (also with .gz) or .parquet file", file=path)
    table = read_table(path, kind or "csv")
    if "id" not in table.columns and any(row.problem is None for row in table.rows):
        reason = "no column is called 'id', and every item needs an id"
        raise DataError(f"{reason}. Columns: {first_few(table.columns, 30)}.", file=table.name)
    items: list[Item] = []
    problems: list[SkippedRow] = []
    first_row: dict[str, int] = {}
    for row in table.rows:
        try:
            item = _item(row, table)
        except DataError as error:
            problems.append(SkippedRow(table.name, row.number, error.reason))
            continue
        earlier = first_row.setdefault(item.id, row.number)
        if earlier != row.number:
            raise DataError(f"the id {item.id!r} was already used in row {earlier}", file=table.name, row=row.number)
        items.append(item)
    return Catalogue(table.name, items, tolerate(problems, len(table.rows), table.name, settings))


def _item(row: Row, table: Table) -> Item:
    """Raises `DataError` with the reason alone."""
    if row.problem is not None:
        raise DataError(row.problem)
    values = row.values
    rest = {name: cell for name, cell in values.items() if name not in _COLUMNS and is_plain(cell)}
    return Item(
        row_id(row, "id"),
        title=_text("title", values.get("title")),
        description=_text("description", values.get("description")),
        image=_file("image", values.get("image"), table.folder),
        audio=_file("audio", values.get("audio"), table.folder),
        category=_text("category", values.get("category")),
        price=_number("price", values.get("price")),
        stock=_stock(values.get("stock")),
        tags=_tags(values.get("tags")),
        metadata={name: value for name, cell in rest.items() if (value := plain_value(cell)) not in (None, "")},
    )


def _text(what: str, cell: Any) -> str:
    """A cell as text; "" for an empty one."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if not isinstance(cell, str | int | float):
        raise DataError(f"the {what} is a {type(cell).__name__}, not a text")
    return str(cell).strip()


def _file(modality: Modality, cell: Any, folder: Path) -> Path | None:
    """The file that a cell names, as an absolute path; it must lie in the folder, also behind links."""
    if isinstance(cell, str) and cell.strip() and "://" not in cell:
        place = (folder / cell.strip()).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise DataError(f"the {modality} file {cell} lies outside of the folder of the items ({folder})")
    value = media_value(modality, cell, folder)
    if value is None or isinstance(value, Path):
        return None if value is None else value.resolve()
    raise DataError(f"the {modality} is data, not the path of a file; write it to a file below {folder}")


def _stock(cell: Any) -> int | None:
    number = _number("stock", cell)
    if number is not None and not number.is_integer():
        raise DataError(f"the stock {cell!r} is not a whole number")
    return None if number is None else int(number)


def _number(what: str, cell: Any) -> float | None:
    """A cell as a number of at least 0; None for an empty one. A NaN that is written is no empty cell."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        number = float(cell)
    except (TypeError, ValueError) as error:
        raise DataError(f"the {what} {cell!r} is not a number") from error
    if not math.isfinite(number) or number < 0:
        raise DataError(f"the {what} {cell!r} is not a number of at least 0")
    return number


def _tags(cell: Any) -> tuple[str, ...]:
    """Tags in one cell, divided by "|" or as a list, each once."""
    cells = cell if isinstance(cell, list | tuple) else _text("column of tags", cell).split(_SEPARATOR)
    return tuple(dict.fromkeys(word for tag in cells if (word := _text("tag", tag))))
