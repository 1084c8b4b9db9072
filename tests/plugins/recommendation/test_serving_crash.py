"""`kill -9` while items come and go: what was promised holds in the next process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.recommendation import served
from triptych.errors import DataError
from triptych_recommendation.serving.recommender import Recommender
from triptych_recommendation.serving.settings import RuleSettings

ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import sys
from pathlib import Path
from tests.plugins.recommendation import served
from triptych_recommendation.catalogue.schema import EventRow
from triptych_recommendation.data.items import Item
from triptych_recommendation.serving.recommender import Recommender, now_us

recommender = Recommender.open(Path(sys.argv[1]), Path(sys.argv[2]), encode=served.encode)
for number in range(10_000):
    name = f"night{number}"
    recommender.add_items([Item(name, "Horror Night", "A horror game.")])
    print("added", name, flush=True)
    recommender.add_events([EventRow(f"fresh{number}", name, "click", now_us())])
    print("chosen", name, flush=True)
    recommender.recommend(f"fresh{number}", 5)
    if number % 2:
        recommender.remove_items([name])
        print("removed", name, flush=True)
"""


def _killed(shop: Path, store: Path, lines: int) -> list[tuple[str, str]]:
    """What a child said that it had done before it was killed, at once after its n-th line."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(shop), str(store)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    said += child.stdout.readlines()  # what it had said already
    child.wait()
    assert child.returncode == -signal.SIGKILL
    return [(line.split()[0], line.split()[1]) for line in said if line.endswith("\n")]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_removed_items_stay_away_and_added_ones_stay_after_a_kill(tmp_path: Path) -> None:
    shop, store = served.write_shop(tmp_path / "shop"), tmp_path / "store.sqlite3"
    done = _killed(shop, store, 23)
    removed = {name for what, name in done if what == "removed"}
    last = done[-1][1]  # its next step may have been taken or not
    added = {name for what, name in done if what == "added"} - removed - {last}
    assert removed
    assert added
    with Recommender.open(shop, store, RuleSettings(little_seen=1_000, exploration=0.5)) as recommender:
        listed: set[str] = set()
        for user in ("u0", "u1", "nobody", *(f"fresh{n}" for n in range(3))):
            listed |= set(recommender.recommend(user, 100).ids)
        listed |= set(recommender.similar("horror01", 100).ids)
        assert not listed & removed
        assert added <= listed
        for name in removed:
            with pytest.raises(DataError, match="was removed"):
                recommender.item(name)
        chosen = [name for what, name in done if what == "chosen"]
        for name in chosen:
            user = name.replace("night", "fresh")
            assert recommender.recommend(user, 3, record=False).policy == "content"  # the event was kept
        gone = sorted(removed)
        assert not set(recommender.recommend("u0", 100, where={"id": {"in": gone}}).ids)
    again = _killed(shop, store, 5)  # a store that was killed is written to as before
    assert again
