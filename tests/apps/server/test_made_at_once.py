"""The files of a server, made by several processes that start at the same moment; here they are threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from triptych_apps.server.decision_store import DecisionStore
from triptych_apps.server.keys import KeyStore
from triptych_apps.server.release_journal import Journal
from triptych_customer_service.conversations import Conversations


def _conversations(folder: Path) -> None:
    Conversations(folder).list(["nobody"])


def _keys(folder: Path) -> None:
    KeyStore(folder / "keys.sqlite").close()


def _decisions(folder: Path) -> None:
    DecisionStore(folder / "decisions.sqlite").close()


def _releases(folder: Path) -> None:
    Journal().close()


@pytest.mark.parametrize("opened", [_conversations, _keys, _decisions, _releases])
def test_a_store_may_be_made_by_many_at_once(
    opened: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    failed: list[BaseException] = []

    def go(folder: Path, together: threading.Barrier) -> None:
        together.wait()
        try:
            opened(folder)
        except BaseException as error:
            failed.append(error)

    for number in range(30):
        folder = tmp_path / str(number)
        monkeypatch.setenv("TRIPTYCH_HOME", str(folder))
        together = threading.Barrier(8)
        threads = [threading.Thread(target=go, args=(folder, together)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
