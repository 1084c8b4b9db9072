"""Quality against what lists are like, as a PNG by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.evaluation.bootstrap import Interval

# Okabe and Ito's colours, which the colour-blind can tell apart; marks differ in form as well
_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#666666", "#000000")
_MARKS = ("o", "s", "^", "v", "D", "P", "X", "<", ">")
_CHOSEN, _GRID = "#D55E00", "#e4e6ea"


@dataclass(frozen=True, slots=True)
class Point:
    """A rival in the plot."""

    name: str
    quality: Interval  # NDCG@10
    coverage: float  # 0 to 1
    popularity: float  # 0 to 1
    chosen: bool


def draw_quality(path: Path, points: Sequence[Point]) -> Path:
    """Draw NDCG@10 with its interval against coverage, and beside it against the popularity of what is recommended."""
    # only here: matplotlib takes half a second to import; this way of drawing touches no global state
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(9, 4.3), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, 2, sharey=True)
    others = 0
    for point in points:
        if point.chosen:
            colour, mark, size = _CHOSEN, "*", 15.0
        else:
            colour, mark, size = _COLOURS[others % len(_COLOURS)], _MARKS[others % len(_MARKS)], 7.5
            others += 1
        quality = point.quality
        reach = [[max(0.0, quality.value - quality.low)], [max(0.0, quality.high - quality.value)]]
        label = f"{point.name} (chosen)" if point.chosen else point.name
        for axes, x in zip(grid, (point.coverage, point.popularity), strict=True):
            axes.errorbar(
                [x], [quality.value], reach, fmt=mark, color=colour, markersize=size, markeredgecolor="white",
                markeredgewidth=0.8, elinewidth=1.4, capsize=3, label=label.replace("$", r"\$"), zorder=4,
            )  # fmt: skip
    grid[0].set_xlabel("share of all items that are in any list")
    grid[1].set_xlabel("mean popularity percentile of recommended items")
    grid[0].set_ylabel("NDCG@10, with its 95 % interval")
    for axes in grid:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.margins(x=0.12, y=0.12)
        axes.grid(color=_GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    bottom = min(point.quality.low for point in points)
    grid[0].set_ylim(bottom=0 if bottom <= 0.4 * max(point.quality.high for point in points) else None)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(points)), frameon=False, fontsize=9)
    figure.savefig(path)
    return path
