"""Files that several processes make at the same moment."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from triptych_apps.server.decision_store import DecisionStore
from triptych_apps.server.keys import KeyStore
from triptych_apps.server.release_journal import Journal
from triptych_customer_service.conversations import Conversations
from triptych_recommendation.catalogue.store import Store

STORES: dict[str, Callable[[Path], object]] = {
    "conversations.sqlite3": lambda path: Conversations(path.parent).list(["nobody"]),
    "keys.sqlite": lambda path: KeyStore(path).close(),
    "decisions.sqlite": lambda path: DecisionStore(path).close(),
    "releases.sqlite": lambda path: Journal().close(),
    "catalogue.sqlite3": lambda path: Store.open(path, writer=True).close(),
}


@pytest.mark.parametrize("name", STORES)
def test_a_store_waits_for_one_who_is_writing_into_its_new_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / name, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        later = threading.Timer(0.3, lambda: other.execute("ROLLBACK"))
        later.start()
        STORES[name](tmp_path / name)
        later.join()
        assert other.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_tables_of_decisions_that_appear_meanwhile_are_known_as_ours(tmp_path: Path):
    failed: list[BaseException] = []

    def make(path: Path, together: threading.Barrier) -> None:
        together.wait()
        try:
            DecisionStore(path).close()
        except BaseException as error:
            failed.append(error)

    for number in range(30):
        together = threading.Barrier(8)
        path = tmp_path / f"{number}.sqlite"
        threads = [threading.Thread(target=make, args=(path, together)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
