"""Keys: who may ask what, how often and for how much, and what is kept of a key."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.apps.server.conftest import Running, error_kind, run, wait
from triptych.errors import UnknownNameError
from triptych_apps.server.access import Access, _Bucket
from triptych_apps.server.keys import KeyStore

Add = Callable[..., str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.sqlite"


@pytest.fixture(scope="module")
def guarded(desk_bundle: Path, store: Path) -> Iterator[Running]:
    """A server that asks for keys."""
    with run(desk_bundle, access=Access(KeyStore(store))) as running:
        yield running


@contextmanager
def other(path: Path) -> Iterator[KeyStore]:
    """The store as another process has it open."""
    keys = KeyStore(path)
    try:
        yield keys
    finally:
        keys.close()


def ask(running: Running, key: str | None, path: str = "/v1/desk/answer", text: str = "red") -> httpx.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    with running.client(headers=headers) as client:
        return client.post(path, json={"text": text}) if path.endswith("answer") else client.get(path)


def test_only_a_key_opens(guarded: Running, store: Path):
    with other(store) as keys:
        _, key = keys.add("shop")
    assert ask(guarded, key).status_code == 200
    assert ask(guarded, key, "/v1/desk").status_code == 200
    name, identity, secret = key.split("_", 2)
    wrong = [
        None,
        "x",
        "_",
        "__",
        key[:-1],
        key + "x",
        f"{name}_{identity}_",
        f"{name}_00000000_{secret}",
        "é" * 50,
    ]
    for given in wrong:
        for path in ("/v1/desk/answer", "/v1/desk", "/metrics"):
            headers = {} if given is None else {b"authorization": b"Bearer " + given.encode()}
            with guarded.client(headers=headers) as client:
                response = client.post(path, json={"text": "red"}) if path.endswith("answer") else client.get(path)
            assert (response.status_code, error_kind(response)) == (401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
    with guarded.client(headers={"authorization": f"Basic {key}"}) as client:
        assert client.get("/v1/desk").status_code == 401


def test_probes_need_no_key_and_measurements_one_for_everything(guarded: Running, store: Path):
    assert ask(guarded, None, "/health/ready").status_code == 200
    with other(store) as keys:
        scoped, whole = keys.add("desk alone", verticals=("desk",))[1], keys.add("operator")[1]
    assert ask(guarded, scoped, "/metrics").status_code == 403
    assert ask(guarded, whole, "/metrics").status_code == 200


def test_a_key_for_another_vertical_does_not_open(guarded: Running, store: Path):
    with other(store) as keys:
        elsewhere, here = keys.add("a", verticals=("finance",))[1], keys.add("b", verticals=("finance", "desk"))[1]
    response = ask(guarded, elsewhere)
    assert (response.status_code, error_kind(response)) == (403, "forbidden")
    assert ask(guarded, here).status_code == 200


def test_a_revoked_key_is_refused_at_once(guarded: Running, store: Path):
    with other(store) as keys:
        record, key = keys.add("leaving")
        assert ask(guarded, key).status_code == 200
        keys.revoke(record.id)
        assert ask(guarded, key).status_code == 401
        assert keys.revoke(record.id).revoked is not None
        with pytest.raises(UnknownNameError):
            keys.revoke("nobody")


def test_a_key_that_is_used_too_often_has_to_wait(guarded: Running, store: Path):
    with other(store) as keys:
        _, key = keys.add("eager", per_minute=3)
    responses = [ask(guarded, key) for _ in range(5)]
    assert [r.status_code for r in responses[:3]] == [200, 200, 200]
    assert {r.status_code for r in responses[3:]} == {429}
    assert error_kind(responses[-1]) == "rate_limited"
    assert 1 <= int(responses[-1].headers["retry-after"]) <= 21


def test_every_request_of_a_batch_counts(guarded: Running, store: Path):
    with other(store) as keys:
        _, key = keys.add("eager", per_minute=5)
    with guarded.client(headers={"authorization": f"Bearer {key}"}) as client:
        statuses = [
            client.post("/v1/desk/answers", json={"requests": [{"text": "red"}] * 3}).status_code for _ in range(2)
        ]
    assert statuses == [200, 429]


def test_a_bucket_fills_again(monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr("triptych_apps.server.access.time.monotonic", lambda: clock[0])
    bucket = _Bucket(60)
    assert bucket.take(60) == 0
    assert bucket.take(2) == pytest.approx(2.0)
    clock[0] = 2.0
    assert bucket.take(2) == 0
    assert bucket.take(1000) == pytest.approx(60.0)
    clock[0] = 500.0
    assert bucket.take(1000) == 0


def test_a_budget_is_spent_by_the_price_of_the_ledger_and_no_further(guarded: Running, store: Path):
    with other(store) as keys:
        record, key = keys.add("thrifty", budget=25e-6)  # an answer costs 10 of a million
        assert [ask(guarded, key).status_code for _ in range(4)] == [200, 200, 200, 403]
        assert error_kind(ask(guarded, key)) == "budget_spent"
        wait(lambda: {k.id: k.spent for k in keys.all()}[record.id] == pytest.approx(30e-6))
        assert error_kind(ask(guarded, key)) == "budget_spent"


def test_what_fails_costs_nothing(guarded: Running, store: Path):
    with other(store) as keys:
        _, key = keys.add("unlucky", budget=15e-6)
        assert {ask(guarded, key, text="boom").status_code for _ in range(4)} == {500}
        assert ask(guarded, key).status_code == 200


def test_a_budget_needs_a_price(guarded: Running, store: Path, monkeypatch: pytest.MonkeyPatch):
    with other(store) as keys:
        _, key = keys.add("thrifty", budget=1.0)
    monkeypatch.setattr(guarded.site.services[0].release, "prices", {})
    response = ask(guarded, key)
    assert (response.status_code, error_kind(response)) == (403, "not_priced")


def test_what_is_spent_while_the_rest_is_written_is_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "keys.sqlite"
    with other(path) as keys:
        key, _ = keys.add("shop")

    async def main() -> None:
        access = Access(KeyStore(path))
        charge = access.store.charge

        def late(amounts: dict[str, float]) -> None:
            monkeypatch.setattr(access.store, "charge", charge)
            access.charge(key, 1.0)
            charge(amounts)

        monkeypatch.setattr(access.store, "charge", late)
        access.start()
        await asyncio.sleep(0)
        access.charge(key, 2.0)
        await access.close()

    asyncio.run(main())
    with other(path) as keys:
        assert keys.all()[0].spent == pytest.approx(3.0)


def test_while_it_starts_a_budget_is_no_reason_to_refuse(
    guarded: Running, store: Path, monkeypatch: pytest.MonkeyPatch
):
    with other(store) as keys:
        _, key = keys.add("early", budget=1.0)
    service = guarded.site.services[0]
    monkeypatch.setattr(service._follower, "_apply", lambda: None)  # it would open it again
    monkeypatch.setattr(service, "release", None)
    response = ask(guarded, key)
    assert (response.status_code, error_kind(response)) == (503, "starting")


def test_what_was_spent_survives_the_server(desk_bundle: Path, tmp_path: Path):
    path = tmp_path / "keys.sqlite"
    with other(path) as keys:
        _, key = keys.add("thrifty", budget=35e-6)
    statuses = []
    for _ in range(2):
        with run(desk_bundle, access=Access(KeyStore(path))) as running:
            statuses += [ask(running, key).status_code for _ in range(3)]
    assert statuses == [200, 200, 200, 200, 403, 403]
    with other(path) as keys:
        assert keys.all()[0].spent == pytest.approx(40e-6)


def test_no_secret_is_kept(tmp_path: Path):
    path = tmp_path / "home" / "keys.sqlite"
    with other(path) as keys:
        record, key = keys.add("shop", verticals=("desk",), per_minute=9, budget=2.0)
        assert keys.find(key) == record
    secret = key.split("_", 2)[2]
    files = list(path.parent.iterdir())
    assert not any(secret.encode() in file.read_bytes() for file in files)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(secret) >= 43


def test_many_write_down_what_is_spent(tmp_path: Path):
    path = tmp_path / "keys.sqlite"
    with other(path) as keys, other(path) as too:
        record, _ = keys.add("shop")

        async def main() -> None:
            charges = [asyncio.to_thread(store.charge, {record.id: 0.25}) for store in (keys, too) for _ in range(10)]
            await asyncio.gather(*charges)

        asyncio.run(main())
        assert keys.all()[0].spent == pytest.approx(5.0)


def test_the_description_names_the_key(guarded: Running):
    with guarded.client() as client:
        document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert document["paths"]["/v1/desk/answer"]["post"]["security"] == [{"key": []}]
    assert "401" in document["paths"]["/v1/desk/answer"]["post"]["responses"]
    assert "security" not in document["paths"]["/health/live"]["get"]
