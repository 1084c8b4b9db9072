"""Charts: the same picture each time, candles where the prices are, and a vector of their ink."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych_finance.volatility.charts import FALL, PAPER, RISE, VOLUME, render, thumbnail
from triptych_finance.volatility.prices import History


def history(closes: list[float], opens: list[float] | None = None, volumes: list[float] | None = None) -> History:
    close = np.array(closes, dtype=float)
    opened = np.array(opens, dtype=float) if opens else close.copy()
    dates = np.datetime64("2024-01-01") + np.arange(len(close))
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
    volume = np.array(volumes, dtype=float) if volumes else np.full(len(close), 100.0)
    return History("TVNA", dates, opened, high, low, close, close, volume, np.arange(1, len(close) + 1))


def where(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=2)


def test_a_chart_is_the_same_each_time_and_holds_only_its_colours():
    days = history([10, 11, 10.5, 12, 9], [10, 10, 11, 10.5, 12])
    picture = render(days, (120, 160))
    assert picture.shape == (120, 160, 3)
    assert picture.dtype == np.uint8
    assert (picture == render(days, (120, 160))).all()
    assert sum(where(picture, colour).sum() for colour in (PAPER, RISE, FALL, VOLUME)) == 120 * 160


def test_rising_days_stand_left_and_low_falling_ones_where_they_fell():
    picture = render(history([11, 12, 11, 9], [10, 11, 12, 11]), (100, 80))
    rise, fall = np.argwhere(where(picture, RISE)), np.argwhere(where(picture, FALL))
    assert rise[:, 1].max() < fall[:, 1].min()
    assert fall[:, 0].max() > rise[:, 0].max()  # row 0 is the top
    assert max(rise[:, 0].max(), fall[:, 0].max()) < 80  # the foot belongs to the volume


def test_volume_is_drawn_in_proportion():
    bars = where(render(history([10] * 4, volumes=[100, 50, 0, 100]), (200, 80)), VOLUME)
    heights = [int(bars[:, day * 20 : (day + 1) * 20].any(axis=1).sum()) for day in range(4)]
    assert heights[0] == heights[3] == 2 * heights[1]
    assert heights[2] == 0


def test_a_fixed_span_shows_how_wild_a_stock_is():
    calm, wild = history([100, 101, 100, 101]), history([100, 120, 90, 101])

    def spread(days: History, span: float | None) -> int:
        picture = render(days, span=span)
        rows = np.flatnonzero((where(picture, RISE) | where(picture, FALL)).any(axis=1))
        return int(rows[-1] - rows[0])

    assert abs(spread(calm, None) - spread(wild, None)) <= 2
    assert spread(wild, 0.5) > 5 * spread(calm, 0.5)


def test_one_day_without_movement_or_volume_can_be_drawn():
    still = history([10], volumes=[0])
    flat = History(
        "TVNA", *(getattr(still, n) for n in ("dates", "open")), *[still.close] * 4, still.volume, still.rows
    )
    picture = render(flat)
    assert where(picture, RISE).any()
    assert not where(picture, VOLUME).any()


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="at least one day"):
        render(history([10]).part(0, 0))
    for size, span in (((8, 200), None), ((200, 8), None), ((200, 200), 0.0)):
        with pytest.raises(ValueError, match="16 x 16 pixels or more and a positive span"):
            render(history([10, 11]), size, span=span)


def test_a_thumbnail_measures_ink():
    white = np.full((120, 240, 3), 255, dtype=np.uint8)
    assert thumbnail(white).shape == (288,)
    assert (thumbnail(white) == 0).all()
    white[:10, :10] = 0
    assert thumbnail(white)[0] == 1
    assert thumbnail(white)[1:].max() == 0


@settings(max_examples=30, deadline=None)
@given(
    closes=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=90),
    factor=st.sampled_from([0.5, 2.0, 1024.0]),
    span=st.sampled_from([None, 0.3]),
)
def test_the_unit_of_the_prices_does_not_matter(closes: list[float], factor: float, span: float | None):
    small = render(history(closes), (64, 96), span=span).astype(int)
    large = render(history([c * factor for c in closes]), (64, 96), span=span).astype(int)
    differing = (small != large).any(axis=2).mean()
    assert differing < 0.02  # a price on the border of two rows may round either way
