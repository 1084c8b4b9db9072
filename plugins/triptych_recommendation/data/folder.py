"""A data folder: events and items side by side, as one set of interactions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from triptych.data.tables import first_few, format_of
from triptych.errors import DataError
from triptych_recommendation.data.events import Events, read_events
from triptych_recommendation.data.interactions import Interactions
from triptych_recommendation.data.items import Catalogue, Item, read_catalogue
from triptych_recommendation.data.settings import DataSettings


@dataclass(frozen=True, slots=True, eq=False)
class RecommendationData:
    """All that a folder holds. The items of the catalogue without any event have the last rows of `interactions`.

    Items that have events but are not in the catalogue have rows too, and no content.
    """

    events: Events
    catalogue: Catalogue
    interactions: Interactions

    @property
    def items(self) -> list[Item]:
        """The items of the catalogue, in its order."""
        return self.catalogue.items

    def notes(self) -> list[str]:
        """What is worth telling whoever gave the folder."""
        known = {item.id for item in self.items}
        acted_on = set(self.events.items)
        unknown = [item for item in self.events.items if item not in known]
        new = sum(item.id not in acted_on for item in self.items)
        counted = (
            (len(unknown), f"items have events but are not in the catalogue: {first_few(unknown)}"),
            (new, "items have no event yet: they are recommended by their content alone"),
        )
        return [*self.events.notes(), *self.catalogue.notes(), *(f"{n:,} {words}" for n, words in counted if n)]


def open_folder(path: Path, settings: DataSettings | None = None, *, now: datetime | None = None) -> RecommendationData:
    """Read `events.*` and `items.*` (CSV, TSV, JSONL, each also with .gz, or Parquet) in a folder.

    Pictures and sounds lie below it, where the items say. Raises `DataError` where one of the two is missing, is there
    twice, or cannot be used.
    """
    settings = settings or DataSettings()
    if not path.is_dir():
        what = "this is not a folder" if path.exists() else "the folder does not exist"
        raise DataError(f"{what}; give a folder with events.csv and items.csv (or .jsonl, .parquet)", file=path)
    events = read_events(_only(path, "events"), settings, now=now)
    catalogue = read_catalogue(_only(path, "items"), settings)
    interactions = events.interactions().with_items([item.id for item in catalogue.items])
    return RecommendationData(events, catalogue, interactions)


def _only(folder: Path, stem: str) -> Path:
    """The one table of that name in a folder."""
    found = sorted(file for file in folder.iterdir() if file.name.split(".")[0] == stem and format_of(file))
    if not found:
        reason = f"the folder holds no {stem}.csv, {stem}.csv.gz, {stem}.jsonl or {stem}.parquet"
        raise DataError(f"{reason}; it holds {_names(folder)}", file=folder)
    if len(found) > 1:
        raise DataError(f"{' and '.join(file.name for file in found)} are both there; keep one", file=folder)
    return found[0]


def _names(folder: Path) -> str:
    return first_few(sorted(file.name for file in folder.iterdir()), 10) or "nothing"
