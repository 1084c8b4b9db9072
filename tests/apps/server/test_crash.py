"""`kill -9` under load: what was answered is there after a restart."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.apps.server.conftest import Process, wait

CLIENTS = 6


def test_no_conversation_that_was_answered_is_lost(
    start: Callable[..., Process], customer_service: Path, triptych_home: Path
):
    process = start(bundle=customer_service)
    url = process.ready()
    told: list[dict[str, str]] = [{} for _ in range(CLIENTS)]  # message to answer, by client

    def client(number: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as session:
            for turn in range(1_000):
                message = f"message {turn} of client {number}"
                body = {"text": message, "conversation": f"c-{number}"}
                try:
                    answered = session.post("/v1/customer-service/answer", json=body)
                    told[number][message] = answered.json()["answer"]
                except (httpx.HTTPError, ValueError):  # killed
                    return

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    wait(lambda: all(len(messages) >= 5 for messages in told))
    process.process.send_signal(signal.SIGKILL)
    for thread in threads:
        thread.join(60)
    assert process.end() == -signal.SIGKILL
    again = start(bundle=customer_service)
    url = again.ready()
    for number, messages in enumerate(told):
        kept = httpx.get(f"{url}/v1/customer-service/conversations/c-{number}").json()
        texts = [turn["turn"]["text"] for turn in kept["turns"]]
        for message, answer in messages.items():
            assert answer == texts[texts.index(message) + 1]
    body = {"text": "and now?", "conversation": "c-0"}
    assert httpx.post(f"{url}/v1/customer-service/answer", json=body).status_code == 200
    files = list(triptych_home.rglob("*.sqlite*"))
    assert files
    for file in (file for file in files if file.suffix in (".sqlite", ".sqlite3")):
        with sqlite3.connect(file) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
