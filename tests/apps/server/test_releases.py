"""Several versions of one bundle in a running server: no request fails while they come, go and share the requests."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from tests.apps.server import desk
from tests.apps.server.conftest import Process, desk_host, run, wait
from tests.core.runtime.bundles import write_exported
from triptych.bundle import BundleWriter, Manifest, Plan, change_plan, read_plan
from triptych.bundle.files import VERSIONS
from triptych.bundle.plan import PLAN
from triptych.bundle.reader import current_version, version_ids
from triptych.errors import BudgetError, BundleError, ConfigError, UnknownNameError
from triptych.runtime.open import variant_path
from triptych_apps.server.redaction import redact
from triptych_apps.server.release import Release
from triptych_apps.server.releasing import change, decide, followed, releases
from triptych_apps.server.service import Service, lot

COLOURS = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def _plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk is what is installed, as the command line finds it."""
    monkeypatch.setattr("triptych.predictor.default_host", desk_host)


def write_version(output: Path, workspace: Path, **changes: Any) -> str:
    """One more version of a bundle of the desk that reads words alone."""
    with BundleWriter(output, workspace) as writer:
        write_exported(variant_path(writer.path, "tiny"), ("text",), variant="tiny", **changes)
        rows = [{"name": "tiny", "cost_per_million": 2.0, "currency": "EUR"}]
        manifest = Manifest(vertical="desk", config={"vertical": {}}, ledger={"chosen": "tiny", "variants": rows})
        return writer.commit(manifest).name


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[Path, str, str]:
    """A bundle with two versions that answer alike, the older one being in use."""
    output = tmp_path / "bundle"
    old = write_version(output, tmp_path / "work")
    new = "2999" + old[4:]
    shutil.copytree(output / VERSIONS / old, output / VERSIONS / new)
    return output, old, new


class Clients:
    """Threads that ask without a pause, and what they were answered."""

    def __init__(self, url: str, count: int = 3) -> None:
        self.statuses: Counter[int] = Counter()
        self.by: Counter[str] = Counter()
        self.failures: list[str] = []
        self._url, self._stop, self._lock = url, threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, number: int) -> None:
        turn = 0
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._stop.is_set():
                turn += 1
                try:
                    answer = client.post("/v1/desk/answer", json={"text": f"{COLOURS[turn % 3]} {number} {turn}"})
                    ready = client.get("/health/ready") if turn % 8 == 0 else answer
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                with self._lock:
                    self.statuses[answer.status_code] += 1
                    self.statuses[ready.status_code] += 1
                    self.by[answer.headers.get("triptych-release", "none")] += 1
                time.sleep(0.002)

    def seen(self, version: str) -> None:
        """Wait until a version answers again."""
        before = self.by[version]
        wait(lambda: self.by[version] > before + 5)


def test_promotion_and_rollback_under_load_fail_no_request(bundle: tuple[Path, str, str]):
    output, old, new = bundle
    with run(output) as running, Clients(running.url) as clients:
        service = running.site.services[0]
        clients.seen(old)
        change(output, "canary", new, 0.5)
        clients.seen(new)
        clients.seen(old)
        change(output, "promote", force=True)
        wait(lambda: service.release is not None and service.release.version == new)
        clients.seen(new)
        assert [release.version for release in service.releases] == [new, old]  # at hand for a roll-back
        plan = change(output, "rollback")
        assert (plan.service, plan.previous) == (old, None)
        wait(lambda: service.release is not None and service.release.version == old)
        gone = weakref.ref(service.predictor)
        clients.seen(old)
        change(output, "promote", new, force=True)
        clients.seen(new)
        change(output, "close")
        wait(lambda: gone() is None)  # its memory is free
        clients.seen(new)
        said = followed(output, change(output, "open", new), 20)
        measured = httpx.get(f"{running.url}/metrics").text
    assert f'triptych_release_share{{release="{new}",vertical="desk"}} 1.0' in measured
    assert not clients.failures
    assert set(clients.statuses) == {200}
    assert set(clients.by) == {old, new}
    assert [state.service for state in said.values()] == [new]
    assert current_version(output) == new  # `triptych ask` answers as the servers do
    assert releases(output).versions[0].roles == ["service"]


def test_what_cannot_be_opened_changes_nothing_and_is_explained(bundle: tuple[Path, str, str]):
    output, old, new = bundle
    change_plan(output, lambda now: Plan(service=old))
    before = (output / PLAN).read_text()
    damaged = next((output / VERSIONS / new).rglob("head.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x07")
    for action in ("open", "canary", "promote", "shadow"):
        with pytest.raises(BundleError, match=r"hash mismatch|head\.safetensors"):
            change(output, action, new, 0.5, force=True)
    for name in ("../../etc", "/etc", "2", "nothing"):
        with pytest.raises(UnknownNameError):
            change(output, "open", name)
    with pytest.raises(ConfigError, match="in service"):
        change(output, "promote", old, force=True)
    with pytest.raises(ConfigError, match="no version before"):
        change(output, "rollback")
    assert (output / PLAN).read_text() == before


def test_a_server_that_cannot_open_a_release_goes_on_and_says_so(
    bundle: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
):
    output, old, new = bundle
    change_plan(output, lambda now: Plan(service=old, managed=True))
    with run(output) as running, running.client() as client:
        monkeypatch.setattr(Release, "load", lambda *_, **__: 1 / 0)  # as for want of memory
        with pytest.raises(BundleError, match=r"goes on as it was.*division by zero"):
            decide(output, "promote", new, force=True)
        plan = read_plan(output)
        assert plan is not None
        assert (plan.service, plan.open) == (old, ())  # it was taken back
        asked = {"vertical": "desk", "action": "promote", "version": new, "force": True}
        refused = client.post("/v1/_server/versions", json=asked)
        assert refused.status_code == 422
        assert "goes on as it was" in refused.json()["error"]["message"]
        assert read_plan(output) == plan
        change(output, "promote", new, force=True)
        service = running.site.services[0]
        wait(lambda: bool(service._follower._failed))
        assert [release.version for release in service.releases] == [old]  # once, though it is the one before, too
        answer = client.post("/v1/desk/answer", json={"text": "red"})
        assert (answer.status_code, answer.headers["triptych-release"]) == (200, old)
        assert client.get("/health/ready").status_code == 200


def test_a_run_removes_no_version_that_servers_answer_with(tmp_path: Path):
    output = tmp_path / "bundle"
    first = write_version(output, tmp_path / "work")
    change_plan(output, lambda now: now.model_copy(update={"managed": True}))
    later = [write_version(output, tmp_path / "work") for _ in range(3)]
    assert version_ids(output) == [first, *later[1:]]


class Sticky(desk.Desk):
    sticky_field: ClassVar[str | None] = "paper"


def test_a_canary_gets_its_share_and_keeps_whom_it_has():
    vertical, requests = desk.Desk(), [desk.DeskRequest(text=f"number {n}") for n in range(2000)]
    lots = [lot(vertical, request, "v2") for request in requests]
    for share in (0.05, 0.2, 0.5):
        got = sum(drawn < share for drawn in lots)
        assert abs(got - 2000 * share) < 4 * (2000 * share * (1 - share)) ** 0.5  # four deviations of the binomial
    assert lots[:50] == [lot(vertical, request, "v2") for request in requests[:50]]
    assert lots[:50] != [lot(vertical, request, "v3") for request in requests[:50]]  # others go first another time
    same = [lot(Sticky(), desk.DeskRequest(text=f"turn {n}", paper=b"c-1"), "v2") for n in range(20)]
    assert len(set(same)) == 1


def test_a_shadow_is_compared_and_writes_nothing(
    bundle: tuple[Path, str, str], triptych_home: Path, monkeypatch: pytest.MonkeyPatch
):
    answer = desk.Desk.answer
    asked: list[str | None] = []
    monkeypatch.setattr(Service, "redactor", staticmethod(redact))

    def keeping(self: desk.Desk, request: desk.DeskRequest, prediction: Any, context: Any) -> Any:
        """The worst of verticals: it writes whether it is replayed or not."""
        asked.append(request.text)
        context.state.mkdir(parents=True, exist_ok=True)
        with (context.state / "kept").open("a") as file:
            file.write(f"{request.text}\n")
        return answer(self, request, prediction, context)

    monkeypatch.setattr(desk.Desk, "answer", keeping)
    output, old, new = bundle
    change_plan(output, lambda now: Plan(service=old, managed=True))
    change(output, "shadow", new)
    with run(output) as running, running.client() as client:
        follower = running.site.services[0]._follower
        wait(lambda: follower._shadow is not None)
        for turn in range(6):
            response = client.post("/v1/desk/answer", json={"text": f"red a@b.org {turn}"})
            assert response.headers["triptych-release"] == old

        def compared() -> Any:
            return next(v.shadowed for v in releases(output).versions if v.version == new)

        wait(lambda: compared() is not None and compared().answers + compared().dropped == 6)
        found = compared()
    assert found.answers > 0
    assert (found.agreement, found.failed) == (1.0, 0)
    assert found.shadow_per_million == pytest.approx(2.0)
    assert (triptych_home / "state" / "desk" / "kept").read_text().split("\n") == [
        *(f"red [e-mail address] {n}" for n in range(6)), "",
    ]  # fmt: skip
    assert len(asked) == 6 + found.answers
    assert not any("a@b.org" in str(text) for text in asked)


def test_a_killed_server_begins_where_the_last_decision_left_it(
    bundle: tuple[Path, str, str], start: Callable[..., Process]
):
    output, old, new = bundle
    change_plan(output, lambda now: Plan(service=old, managed=True))
    process = start(bundle=output)
    process.ready()
    change(output, "promote", new, force=True)
    change(output, "canary", old, 0.25)
    wait(lambda: bool(process.events("release")))
    process.process.send_signal(signal.SIGKILL)
    process.end()
    again = start(bundle=output)
    url = again.ready()
    wait(lambda: any(event["share"] == 0.25 for event in again.events("release")))  # the canary answers
    with httpx.Client(base_url=url) as client:
        answers = [client.post("/v1/desk/answer", json={"text": f"red {n}"}) for n in range(40)]
    by = Counter(answer.headers["triptych-release"] for answer in answers)
    assert set(by) == {old, new}
    assert by[new] > by[old]


def write_data(path: Path) -> Path:
    """Labelled words of two branches."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "branch"])
        for n in range(90):
            writer.writerow([n, f"{COLOURS[n % 3]} number {n}", COLOURS[n % 3], "north" if n % 2 else "south"])
    return path


@pytest.fixture
def gated(bundle: tuple[Path, str, str], tmp_path: Path) -> Callable[[str], tuple[int, Any]]:
    """Put a candidate to the gate by the command line: exit code and what it printed."""
    from click.testing import CliRunner

    from triptych_apps.release import release

    output, data = bundle[0], write_data(tmp_path / "data.csv")

    def ask(candidate: str) -> tuple[int, Any]:
        """Also looks whether the list tells it."""
        options = ["--candidate", candidate, "--data", str(data), "--group", "branch", "--slower", "1000", "--json"]
        done = CliRunner().invoke(release, ["gate", str(output), *options])
        assert done.exit_code in (0, 7), done.output
        listed = CliRunner().invoke(release, ["list", str(output)]).stdout
        assert ("refused" if done.exit_code else "passed") in next(x for x in listed.splitlines() if candidate in x)
        return done.exit_code, json.loads(done.stdout)

    return ask


def test_the_gate_passes_an_equal_candidate_and_refuses_a_worse_one(
    bundle: tuple[Path, str, str], tmp_path: Path, gated: Callable[[str], tuple[int, Any]]
):
    output, old, new = bundle
    change_plan(output, lambda now: Plan(service=old, open=(new,)))
    labels = {"kind": "classification", "labels": ["green", "red", "blue"]}  # two of three are mistaken
    worse = write_version(output, tmp_path / "work", head=labels)
    with pytest.raises(BudgetError, match="no verdict"):
        change(output, "promote", new)
    code, found = gated(worse)
    assert (code, found["passed"]) == (7, False)
    assert any("accuracy" in reason for reason in found["reasons"])
    assert found["rows"][0]["candidate"] == pytest.approx(1 / 3)
    with pytest.raises(BudgetError, match="refuses"):
        change(output, "promote", worse)
    code, found = gated(new)
    assert (code, found["reasons"]) == (0, [])
    assert {"branch = north", "gap over branch", "p95, ms", "size, MB"} <= {row["what"] for row in found["rows"]}
    assert change(output, "promote", new).service == new
    assert releases(output).versions[-1].verdict is None  # it was against another version
