"""What a command of `triptych finance` needs before it can begin: model, companies, settings, store, sources."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.bundle import triptych_home
from triptych.config import check_section, parse_value
from triptych.errors import BundleError, ConfigError
from triptych_finance.language.entities import Gazetteer
from triptych_finance.settings import Settings

if TYPE_CHECKING:
    from triptych_finance.monitor.engine import Monitor
    from triptych_finance.monitor.loop import Progress
    from triptych_finance.scoring import Scorer
    from triptych_finance.store.store import Store
    from triptych_finance.stream.source import Source

FILE = "finance.sqlite3"
STORE = "TRIPTYCH_FINANCE_STORE"  # the environment variable that names the store where no command does
_SECTION = "vertical."


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads items: the model, the companies that it looks for, and all that is set."""

    scorer: Scorer
    gazetteer: Gazetteer
    settings: Settings


def open_reader(bundle: str, overrides: Iterable[str] = ()) -> Reader:
    """The reader that a finance bundle makes; its settings with `overrides` (vertical.key=value) on top.

    Raises `BundleError` for a bundle of another vertical, `ConfigError` for an override that cannot be.
    """
    from triptych import predictor  # late: it brings the model
    from triptych_finance.scoring import BundleScorer
    from triptych_finance.vertical import gazetteer_of

    loaded = predictor.load(bundle)
    if not isinstance(loaded.settings, Settings):
        raise BundleError(f"{loaded.bundle.path} is a bundle of {loaded.vertical.name!r}, not of finance")
    settings = settings_with(loaded.settings, overrides)
    return Reader(BundleScorer(loaded), gazetteer_of(settings), settings)


def settings_with(settings: Settings, overrides: Iterable[str]) -> Settings:
    """Settings with some changed, each given as vertical.key=value. Raises `ConfigError` naming what is wrong."""
    values = settings.model_dump()
    problems = []
    for override in overrides:
        key, separator, value = override.partition("=")
        path = key.strip().split(".")
        if not separator or not all(path):
            problems.append(f"--set {override!r} is not of the form key=value")
        elif not key.strip().startswith(_SECTION):
            problems.append(
                f"--set {override!r}: the bundle is built; only keys that begin with {_SECTION!r} can be set"
            )
        elif not _put(values, path[1:], parse_value(value.strip())):
            problems.append(f"--set {override!r}: a part of {key.strip()!r} is a value and has no keys")
    if problems:
        raise ConfigError(problems)
    changed = check_section(Settings, values, _SECTION)
    assert isinstance(changed, Settings)
    return changed


def store_place(store: str | None) -> str | Path:
    """Where the store is: what is given, else what the variable `STORE` says, else a file under `TRIPTYCH_HOME`."""
    given = store if store is not None else os.environ.get(STORE)
    return given or triptych_home() / "state" / "finance" / FILE


@contextlib.contextmanager
def open_store(store: str | None, *, writer: bool) -> Iterator[Store]:
    """The store of a command; the folder of a new one is made."""
    from triptych_finance.store.store import Store

    place = store_place(store)
    if writer and isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
    with Store.open(place, writer=writer) as opened:
        yield opened


@contextlib.contextmanager
def open_sources(specs: Sequence[str], store: Store) -> Iterator[list[Source]]:
    """The sources of some addresses, several replays merged into one; all are closed at the end."""
    from triptych_finance.sources.merged import Merged
    from triptych_finance.sources.tables import Replay
    from triptych_finance.stream.source import open_source

    with contextlib.ExitStack() as stack:
        sources: list[Source] = []
        for spec in specs:
            source = open_source(spec, store=store)
            stack.callback(source.close)
            sources.append(source)
        replays = [source for source in sources if isinstance(source, Replay)]
        if len(replays) > 1:
            sources = [Merged(replays), *(source for source in sources if not isinstance(source, Replay))]
        yield sources


def take_what_is_there(monitor: Monitor, sources: Sequence[Source]) -> Progress:
    """Read each source until it has nothing more to give for now."""
    from triptych_finance.monitor.loop import Progress

    done = Progress()
    settings = monitor.settings.stream
    for source in sources:
        cursor = monitor.cursor(source.name)
        while True:
            poll = source.poll(cursor, settings.chunk, settings.wait_seconds)
            done.add(monitor.process(source.name, poll), poll.problems)
            source.acknowledge(poll.cursor)
            if poll.ended or (not poll.items and not poll.problems and poll.cursor == cursor):
                break
            cursor = poll.cursor
    done.add(monitor.attend(), [])
    return done


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> bool:
    """Set a nested value; False where the way leads through something that has no keys."""
    for part in path[:-1]:
        inner = values.get(part)
        if inner is None:
            inner = values[part] = {}
        if not isinstance(inner, dict):
            return False
        values = inner
    values[path[-1]] = value
    return True
