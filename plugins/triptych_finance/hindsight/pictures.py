"""Pictures of an index with its alarms above the price, and of ways of looking side by side; PNG, by matplotlib."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from triptych_finance.hindsight.judging import Judged
from triptych_finance.volatility.prices import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind can tell apart; marks differ in form as well
_INDEX, _PRICE, _HIT, _MISS, _OPEN, _EVENT = "#0072B2", "#333333", "#009E73", "#D55E00", "#777777", "#CC79A7"
_GRID = "#e4e6ea"
_MARKS = {"hit": ("^", _HIT, _HIT), "miss": ("v", "white", _MISS), "alert": ("D", "white", _OPEN)}
Floats = npt.NDArray[np.float64]
_MARGIN = dt.timedelta(days=5)


@dataclass(frozen=True, slots=True)
class Mark:
    """An alert in a picture. `kind` is "hit", "miss" or "alert", of which nothing is known."""

    at: dt.datetime
    kind: str


def draw_entity(
    path: Path,
    title: str,
    ends: Sequence[dt.datetime],
    index: Sequence[float],
    marks: Sequence[Mark],
    *,
    history: History | None = None,
    events: Sequence[dt.date] = (),
    names: dict[str, str],
) -> Path:
    """The index of an entity with its alerts, and below it the price with its events. `names` are the marks' words."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure = _figure(height=4.6 if history is not None else 2.6)
    rows = 2 if history is not None else 1
    grid = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=[3, 2][:rows])
    top = grid[0, 0]
    values = np.asarray(index, dtype=np.float64)
    top.axhline(0, color=_PRICE, linewidth=0.6)
    times = _days(ends)
    top.fill_between(times, values, 0, where=values >= 0, color=_INDEX, alpha=0.25, linewidth=0, interpolate=True)
    top.fill_between(times, values, 0, where=values <= 0, color=_MISS, alpha=0.20, linewidth=0, interpolate=True)
    top.plot(times, values, color=_INDEX, linewidth=1.1)
    span = max(float(np.abs(values).max(initial=0.0)), 0.1)
    highest = max(float(values.max(initial=0.0)), 0.1) + 0.2 * span
    top.set_ylim(min(float(values.min(initial=0.0)), 0.0) - 0.12 * span, highest + 0.15 * span)
    _marks(top, marks, times, values, highest, names)
    top.set_ylabel("index of sentiment")
    top.set_title(title, loc="left", fontsize=11)
    first, last = ends[0] - _MARGIN, ends[-1] + _MARGIN
    if history is not None:
        _price(grid[1, 0], history, events, first, last)
    locator = AutoDateLocator()
    grid[-1, 0].xaxis.set_major_locator(locator)
    grid[-1, 0].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    for axes in grid[:, 0]:
        axes.set_xlim(*_days([first, last]))
        axes.grid(color=_GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = [], []
    for axes in grid[:, 0]:
        more = axes.get_legend_handles_labels()
        handles += more[0]
        labels += more[1]
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5)
    figure.savefig(path)
    return path


def draw_ways(path: Path, methods: Sequence[Judged], measures: Sequence[tuple[str, str]]) -> Path:
    """Measures of ways of looking, each with its interval. `measures` are pairs of a measure and its heading."""
    figure = _figure(height=0.9 + 0.45 * len(methods))
    grid = figure.subplots(1, len(measures), sharey=True, squeeze=False)
    for axes, (measure, heading) in zip(grid[0], measures, strict=True):
        for row, way in enumerate(methods):
            one = way.measures.get(measure)
            if one is None or one.value is None:
                continue
            colour = _INDEX if row == 0 else _OPEN
            if one.low is not None and one.high is not None:
                axes.plot([one.low, one.high], [row, row], color=colour, linewidth=2.2, alpha=0.6, zorder=2)
            axes.plot([one.value], [row], "o", color=colour, markersize=6, zorder=3)
        axes.set_yticks(range(len(methods)), [way.name for way in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_title(heading, loc="left", fontsize=10)
        axes.set_xlim(left=0)
        axes.grid(axis="x", color=_GRID, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return path


def _figure(*, height: float) -> Any:
    # only here: matplotlib takes half a second to import; this way of drawing touches no global state
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _marks(
    axes: Axes,
    marks: Sequence[Mark],
    times: Floats,
    values: Floats,
    above: float,
    names: dict[str, str],
) -> None:
    """Each alert on a line above the index, tied to the place of the index at which it fired."""
    for at in _days([mark.at for mark in marks]):
        place = min(max(int(np.searchsorted(times, at, side="right")) - 1, 0), len(values) - 1)
        axes.plot([at, at], [values[place], above], color=_OPEN, linewidth=0.8, alpha=0.7)
    for kind, (form, face, edge) in _MARKS.items():
        found = _days([mark.at for mark in marks if mark.kind == kind])
        if len(found):
            axes.plot(
                found, np.full(len(found), above), form, markersize=7.5, markerfacecolor=face, markeredgecolor=edge,
                markeredgewidth=1.4, linestyle="none", label=f"{names[kind]} ({len(found)})", zorder=4,
            )  # fmt: skip


def _price(axes: Axes, history: History, events: Sequence[dt.date], first: dt.datetime, last: dt.datetime) -> None:
    wanted = [place for place in range(len(history)) if first.date() <= history.day(place) <= last.date()]
    closes = {history.day(place): float(history.adj_close[place]) for place in wanted}
    axes.plot(_days(list(closes)), np.array(list(closes.values())), color=_PRICE, linewidth=1.1)
    known = [day for day in events if day in closes]
    if known:
        axes.plot(
            _days(known), np.array([closes[day] for day in known]), "o", color=_EVENT, markersize=5.5,
            linestyle="none", label=f"day of unusual volatility ({len(known)})", zorder=3,
        )  # fmt: skip
    axes.set_ylabel("adjusted close")


def _days(moments: Sequence[dt.date]) -> Floats:
    """Moments and dates as matplotlib counts them."""
    from matplotlib.dates import date2num

    return np.array([float(date2num(moment)) for moment in moments])
