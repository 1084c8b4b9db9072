"""The ledger as a picture: quality against cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.compression.ledger import Ledger
from triptych.compression.records import Quality, Row, Variant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart
_FRONT, _OTHER, _CHOSEN, _RIVAL, _PARENT = "#0072B2", "#999999", "#D55E00", "#009E73", "#AA5588"
_LABELS = 9  # more of them hide what they name

# Where a label may stand, nearest first: its offset from the point in points and its alignment
_PLACES = [
    (dx, sign * dy, side, "bottom" if sign > 0 else "top")
    for dy in (6, 22, 38, 54, 70, 90)
    for dx, side in ((9, "left"), (-9, "right"))
    for sign in (1, -1)
]
_AWAY = 3.0  # square pixels of overlap that one point of distance outweighs


def plot_ledger(ledger: Ledger, path: str | Path, *, title: str = "") -> Path:
    """Draw quality (with its interval) against cost per million requests into a PNG, and return its path.

    The line drawn is the front of the two axes; the ledger's own also counts latency and size. Names stand beside the
    chosen variant, its parent, the rival and the front; where that is too many, beside those of the front on the line.
    """
    # only here: matplotlib takes half a second to import; this way of drawing touches no global state
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = _points(ledger)
    costs = [_cost(v) for v in rows]
    if min(costs) > 0 and max(costs) / min(costs) > 5:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:g}"))
    front = _staircase(ledger.variants)
    costs, values = [v.cost_per_million for v in front], [v.quality.value for v in front]
    axes.plot(costs, values, drawstyle="steps-post", color=_FRONT, linewidth=1.2, alpha=0.5, zorder=1)
    for variant in rows:
        _draw(axes, variant, ledger)
    if ledger.rival is not None:
        axes.axhline(ledger.rival.quality.value, color=_RIVAL, linewidth=1, linestyle=":", alpha=0.7, zorder=1)
    quality = rows[0].quality
    better = "higher" if quality.higher_is_better else "lower"
    axes.set_xlabel(f"cost per million requests ({rows[0].currency}, assumed prices)")
    axes.set_ylabel(f"{quality.metric} ({better} is better)")
    if not quality.higher_is_better:
        axes.invert_yaxis()
    axes.set_title(title or "Quality against cost", loc="left", fontweight="bold")
    axes.grid(alpha=0.25, which="both", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    handles, names = _legend(ledger)
    figure.legend(handles, names, frameon=False, fontsize=9, loc="outside lower right", ncols=len(names))
    _label(axes, figure, rows, ledger)  # last: everything else moves the axes
    figure.savefig(path, metadata={"Software": None})
    return Path(path)


def _staircase(variants: list[Variant]) -> list[Variant]:
    """The variants that none is both cheaper and better than, cheapest first."""
    front: list[Variant] = []
    for v in sorted(variants, key=lambda v: (v.cost_per_million, -v.quality.merit)):
        if not front or v.quality.merit > front[-1].quality.merit:
            front.append(v)
    return front


def _named(rows: list[Row], ledger: Ledger) -> list[Row]:
    """The rows that get a label."""
    named = [v for v in rows if _colour(v, ledger) != _OTHER]
    if len(named) > _LABELS:
        stairs = {v.name for v in _staircase(ledger.variants)}
        named = [v for v in named if v.name in stairs or _colour(v, ledger) != _FRONT]
    return named


def _draw(axes: Axes, variant: Row, ledger: Ledger) -> None:
    quality, cost, colour = variant.quality, _cost(variant), _colour(variant, ledger)
    other = colour == _OTHER
    axes.vlines(cost, *_interval(quality), color=colour, linewidth=0.8 if other else 1.4, alpha=0.4, zorder=2)
    axes.plot(cost, quality.value, zorder=2.5 if other else 3, **_style(variant, ledger))


def _points(ledger: Ledger) -> list[Row]:
    """All rows that have a cost, the rival last."""
    rival = ledger.rival
    return [*ledger.variants, *([rival] if rival is not None and rival.cost_per_million is not None else [])]


def _cost(variant: Row) -> float:
    assert variant.cost_per_million is not None
    return variant.cost_per_million


def _interval(quality: Quality) -> tuple[float, float]:
    """The ends of the interval; twice the value where there is none."""
    if quality.low is None or quality.high is None:
        return quality.value, quality.value
    return quality.low, quality.high


def _colour(variant: Row, ledger: Ledger) -> str:
    if variant is ledger.rival:
        return _RIVAL
    if variant.name == ledger.chosen:
        return _CHOSEN
    if variant.name == ledger.parent:
        return _PARENT
    return _FRONT if variant.name in ledger.front else _OTHER


def _style(variant: Row, ledger: Ledger) -> dict[str, Any]:
    colour = _colour(variant, ledger)
    marker = {_RIVAL: "D", _CHOSEN: "*", _PARENT: "s"}.get(colour, "o")
    size = {_RIVAL: 7, _CHOSEN: 15, _OTHER: 5}.get(colour, 8)
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.8}
    return {"marker": marker, "markersize": size, "color": colour, "linestyle": "none", **edge}


def _legend(ledger: Ledger) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    names = {
        _CHOSEN: "chosen",
        _PARENT: "parent",
        _FRONT: "on the Pareto front",
        _OTHER: "dominated",
        _RIVAL: "classical rival",
    }
    shown: dict[str, Any] = {}
    for variant in _points(ledger):
        shown.setdefault(_colour(variant, ledger), Line2D([], [], **_style(variant, ledger)))
    colours = [colour for colour in names if colour in shown]
    return [shown[colour] for colour in colours], [names[colour] for colour in colours]


def _label(axes: Axes, figure: Figure, rows: list[Row], ledger: Ledger) -> None:
    """Write names and sizes beside their points, where they cover no other label, point or interval."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    axes.margins(x=0.12, y=0.12)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # Agg's canvas has one
    taken = []
    for v in rows:
        bottom, top = _interval(v.quality)
        levels = (bottom, v.quality.value, top)
        low, middle, high = axes.transData.transform([(_cost(v), level) for level in levels])  # pixels
        taken.append(Bbox([[low[0] - 4, min(low[1], high[1])], [low[0] + 4, max(low[1], high[1])]]))
        taken.append(Bbox([middle - 12, middle + 12]))
    frame = axes.get_window_extent(renderer)
    for v in _named(rows, ledger):
        text = axes.annotate(
            "\n".join([v.name, *_details(v)]),
            (_cost(v), v.quality.value),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            color=_colour(v, ledger),
            fontweight="bold" if v.name == ledger.chosen else "normal",
            zorder=4,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "#999999", "shrinkB": 5, "alpha": 0.7},
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
        text.set_in_layout(False)
        best: tuple[float, Any] = (float("inf"), None)
        for place in _PLACES:
            box = _put(text, place, renderer).padded(3)
            hidden = sum(_overlap(box, other) for other in taken)
            outside = box.width * box.height - _overlap(box, frame)
            penalty = hidden + 5 * outside + _AWAY * abs(place[1])
            if penalty < best[0]:
                best = (penalty, place)
        taken.append(_put(text, best[1], renderer))


def _details(variant: Row) -> list[str]:
    """The second line of a label: size and latency, where they are known."""
    numbers = [(variant.size_mb, "MB"), (variant.p50_ms, "ms")]
    known = [f"{number:.3g} {unit}" for number, unit in numbers if number is not None]
    return [", ".join(known)] if known else []


def _put(annotation: Any, place: tuple[int, int, str, str], renderer: Any) -> Any:
    """Move a label and return the box of its text, in pixels."""
    from matplotlib.text import Text

    annotation.set_position(place[:2])
    annotation.set_ha(place[2])
    annotation.set_va(place[3])
    annotation.update_positions(renderer)
    return Text.get_window_extent(annotation, renderer)  # an annotation's own box holds its line as well


def _overlap(one: Any, other: Any) -> float:
    """The area that two boxes share, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(0.0, width) * max(0.0, height))
