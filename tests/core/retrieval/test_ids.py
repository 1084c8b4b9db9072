"""Ids by position: short ones, long ones, and what numpy would take for padding."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from triptych.retrieval.ids import Ids

NAMES = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\0"), max_size=50)


@given(st.lists(st.lists(NAMES, max_size=5), max_size=6), st.data())
def test_what_was_put_in_comes_out(batches: list[list[str]], data: st.DataObject) -> None:
    ids, expected = Ids(), []
    for batch in batches:
        ids.extend(batch)
        expected += batch
        assert ids.at(np.arange(len(ids))) == expected
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))), dtype=np.bool_)
    kept = [name for name, stays in zip(expected, keep.tolist(), strict=True) if stays]
    taken = ids.take(keep)
    assert len(taken) == len(kept)
    assert taken.at(np.arange(len(taken))) == kept
    taken.extend(["later", "x" * 60])
    assert taken.at(np.arange(len(taken))) == [*kept, "later", "x" * 60]


def test_a_long_id_among_short_ones_leaves_these_as_they_were() -> None:
    ids = Ids(["a", "", "é" * 20])
    ids.extend(["z" * 1_000, "a\0"])
    assert ids.at(np.array([4, 3, 2, 1, 0, 0])) == ["a\0", "z" * 1_000, "é" * 20, "", "a", "a"]
