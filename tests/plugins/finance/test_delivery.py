"""Delivery over real sockets: what is down for an hour loses nothing, order is kept, and each failure is told apart."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import hmac
import json
import logging
import shutil
import socket
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.finance.desks import DAY, START, unhurried
from tests.plugins.finance.receivers import MailSink, Webhook
from triptych.config import check_section
from triptych.errors import ConfigError
from triptych_finance.alerts.delivery import (
    GIVE_UP_AFTER,
    LONGEST_WAIT,
    Delivered,
    Deliverer,
    LogChannel,
    NotSentError,
    backoff,
    open_channels,
    waited,
)
from triptych_finance.alerts.mail import MailChannel
from triptych_finance.alerts.settings import AlertSettings, Channels, EmailSettings, WebhookSettings
from triptych_finance.alerts.webhook import WebhookChannel, retry_after
from triptych_finance.store.schema import NoticeRow
from triptych_finance.store.store import Store

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
HOOK = "webhook:desk"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "news.sqlite3", writer=True) as opened:
        yield opened


@pytest.fixture
def hook() -> Iterator[Webhook]:
    server = Webhook()
    yield server
    server.stop()


@pytest.fixture
def deliverer(store: Store, hook: Webhook, clock: Clock) -> Deliverer:
    channel = WebhookChannel(WebhookSettings(url=hook.url, secret_env="SECRET", timeout_s=5), "secret")
    return Deliverer(store, {HOOK: channel}, clock)


def notice(name: str, created: datetime = START, *, after: str | None = None, **changes: Any) -> NoticeRow:
    payload = {"id": name, "subject": f"[firing] {name}", "text": f"All about {name}.", "after": after and ["a", after]}
    values = {"alert": "a", "kind": "firing", "channel": HOOK, "created": created, "next_try": created}
    return NoticeRow(name, payload=changes.pop("payload", payload), **{**values, **changes})


def add(store: Store, *notices: NoticeRow) -> None:
    with store.transaction() as tx:
        tx.add_notices(notices)


def stored(store: Store, name: str) -> NoticeRow:
    with store.reading() as tx:
        return next(row for row in tx.notices() if row.id == name)


def keys(hook: Webhook) -> list[str]:
    return [post.headers["Idempotency-Key"] for post in hook.posts]


def run_until(deliverer: Deliverer, clock: Clock, end: datetime, step: timedelta) -> None:
    while clock.now < end:
        deliverer.run_once()
        clock.now += step


# the webhook


def test_a_notice_is_posted_signed_and_marked(store, hook, deliverer):
    add(store, notice("n1"))
    assert deliverer.run_once() == Delivered(sent=1)
    (post,) = hook.posts
    assert json.loads(post.body) == dict(notice("n1").payload)
    assert (post.path, post.headers["Idempotency-Key"]) == ("/alerts", "n1")
    assert post.headers["X-Triptych-Timestamp"] == str(int(START.timestamp()))
    signed = post.headers["X-Triptych-Timestamp"].encode() + b"." + post.body
    assert post.headers["X-Triptych-Signature"] == "sha256=" + hmac.new(b"secret", signed, hashlib.sha256).hexdigest()
    row = stored(store, "n1")
    assert (row.sent, row.attempts, row.next_try, row.error) == (START, 1, None, "")
    assert deliverer.run_once() == Delivered()


def test_a_webhook_that_is_down_for_an_hour_gets_everything_in_order_when_it_is_back(store, hook, deliverer, clock):
    hook.stop()
    made: dict[str, list[str]] = {}
    while clock.now < START + HOUR:
        minute = (clock.now - START) // MINUTE
        group = f"g{minute % 3}"
        earlier = made.setdefault(group, [])
        name = f"{group}-{len(earlier):03}"
        add(store, notice(name, clock.now, after=earlier[-1] if earlier else None))
        earlier.append(name)
        deliverer.run_once()
        clock.now += MINUTE
    assert hook.posts == []
    hook.start()
    run_until(deliverer, clock, clock.now + 2 * LONGEST_WAIT, 10 * SECOND)
    assert sorted(keys(hook)) == sorted(name for names in made.values() for name in names)
    for group, names in made.items():
        assert [key for key in keys(hook) if key.startswith(group)] == names
    with store.reading() as tx:
        assert all(row.sent is not None for row in tx.notices())


def test_a_restart_keeps_the_order_while_the_first_notice_waits(store, hook, deliverer, clock):
    hook.stop()
    add(store, notice("first"))
    deliverer.run_once()
    clock.now += SECOND
    add(store, notice("second", clock.now, after="first"))
    hook.start()
    again = Deliverer(store, deliverer.channels, clock)
    assert again.run_once().sent == 0
    run_until(again, clock, clock.now + MINUTE, SECOND)
    assert keys(hook) == ["first", "second"]


def test_memory_is_bounded_however_much_waits(store, hook, deliverer, clock):
    hook.stop()
    text = "x" * 50_000
    add(store, *(notice(f"n{n}", payload={"text": text + str(n), "after": None}) for n in range(500)))
    tracemalloc.start()
    deliverer.run_once(10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000  # all of it is 25 MB
    assert all(stored(store, f"n{n}").next_try > clock.now for n in (0, 77, 499))


def test_while_nothing_answers_one_attempt_stands_for_all(store, hook, deliverer, clock):
    hook.stop()
    add(store, *(notice(f"n{n}", START + n * SECOND) for n in range(5)))
    clock.now += MINUTE
    deliverer.run_once()
    rows = [stored(store, f"n{n}") for n in range(5)]
    assert [row.attempts for row in rows] == [1, 0, 0, 0, 0]
    assert len({row.next_try for row in rows}) == 1
    assert "no answer" in rows[4].error


def test_other_channels_go_on_while_one_is_down(store, hook, deliverer, clock, tmp_path):
    hook.stop()
    deliverer.channels["log"] = LogChannel(tmp_path / "alerts.jsonl")
    add(store, *(notice(f"n{n}") for n in range(60)), *(notice(f"l{n}", channel="log") for n in range(60)))
    assert deliverer.run_once() == Delivered(sent=60, failed=1)


def test_a_notice_that_the_server_fails_on_holds_up_its_own_group_alone(store, hook, deliverer, clock):
    hook.answer = lambda post: 500 if post.headers["Idempotency-Key"] == "bad" else 200
    add(store, notice("bad"), notice("behind", START + SECOND, after="bad"), notice("other", START + SECOND))
    clock.now += MINUTE
    deliverer.run_once()
    assert keys(hook) == ["bad", "other"]
    behind = stored(store, "behind")
    assert (behind.error, behind.attempts) == ("waits for notice bad", 0)
    assert behind.next_try == stored(store, "bad").next_try
    hook.answer = lambda post: 200
    run_until(deliverer, clock, clock.now + MINUTE, SECOND)
    assert keys(hook) == ["bad", "other", "bad", "behind"]


@pytest.mark.parametrize("status", [400, 401, 404, 410, 301, 307])
def test_a_refusal_is_final_kept_and_shown(store, hook, deliverer, clock, status, caplog):
    hook.answer = lambda post: (status, {"Location": hook.url})
    add(store, notice("n1"), notice("n2", after="n1"))
    clock.now += DAY
    deliverer.run_once()
    row = stored(store, "n1")
    assert (row.sent, row.next_try, row.attempts) == (None, None, 1)
    assert f"HTTP {status}" in row.error
    assert "because" in row.error
    assert f"notice n1 was not sent to {HOOK}: HTTP {status}" in caplog.text
    clock.now += DAY
    deliverer.run_once()
    assert keys(hook) == ["n1", "n2"]  # neither again, nor elsewhere


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_passing_trouble_is_tried_again(store, hook, deliverer, clock, status):
    hook.answer = lambda post: status if len(hook.posts) < 3 else 200
    add(store, notice("n1"))
    run_until(deliverer, clock, clock.now + 2 * MINUTE, SECOND)
    assert keys(hook) == ["n1"] * 3
    assert stored(store, "n1").attempts == 3
    assert stored(store, "n1").sent is not None


@pytest.mark.parametrize("value", ["1800", format_datetime(START + 30 * MINUTE, usegmt=True)])
def test_retry_after_is_honoured(store, hook, deliverer, clock, value):
    hook.answer = lambda post: (429, {"Retry-After": value}) if len(hook.posts) == 1 else 200
    add(store, notice("n1"), notice("n2"))
    deliverer.run_once()
    assert stored(store, "n1").next_try == START + 30 * MINUTE
    clock.now = START + 30 * MINUTE - SECOND
    deliverer.run_once()
    assert keys(hook) == ["n1"]
    clock.now = START + 30 * MINUTE
    deliverer.run_once()
    assert keys(hook) == ["n1", "n1", "n2"]


def test_nobody_may_ask_for_more_than_a_day(store, hook, deliverer, clock):
    hook.answer = lambda post: (503, {"Retry-After": "99999999999999999999"})
    add(store, notice("n1"))
    deliverer.run_once()
    assert stored(store, "n1").next_try == START + DAY


def test_what_retry_after_may_say():
    assert retry_after("120", START) == 2 * MINUTE
    assert retry_after(format_datetime(START - HOUR, usegmt=True), START) == timedelta(0)
    assert [retry_after(value, START) for value in (None, "soon", "-5", "²")] == [None] * 4


def test_a_server_that_never_answers_is_left_after_the_timeout(store, clock):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        channel = WebhookChannel(WebhookSettings(url=url, secret_env="SECRET", timeout_s=0.2), "secret")
        add(store, notice("n1"))
        assert Deliverer(store, {HOOK: channel}, clock).run_once() == Delivered(failed=1)
    assert "timed out" in stored(store, "n1").error


def test_a_server_that_speaks_no_http_is_a_passing_trouble(store, clock):
    with MailSinkAt() as sink:
        channel = WebhookChannel(WebhookSettings(url=f"http://127.0.0.1:{sink.port}/", secret_env="S"), "secret")
        add(store, notice("n1"))
        assert Deliverer(store, {HOOK: channel}, clock).run_once() == Delivered(failed=1)


# at least once


class Killed(BaseException):
    """The process ends here."""


class DyingAfter:
    """A channel whose process is killed after the notice went out and before it is marked."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def send(self, one: NoticeRow, now: datetime) -> None:
        self.channel.send(one, now)
        raise Killed


def test_a_process_killed_after_sending_sends_again_under_the_same_key(store, hook, deliverer, clock):
    add(store, notice("n1"))
    with pytest.raises(Killed):
        Deliverer(store, {HOOK: DyingAfter(deliverer.channels[HOOK])}, clock).run_once()
    assert deliverer.run_once() == Delivered(sent=1)
    assert keys(hook) == ["n1", "n1"]


def test_the_log_has_each_notice_once_also_after_a_kill(store, clock, tmp_path, caplog):
    path = tmp_path / "logs" / "alerts.jsonl"
    add(store, notice("n1", channel="log"), notice("n2", START + SECOND, channel="log"))
    clock.now += MINUTE
    with caplog.at_level(logging.WARNING, "triptych_finance.alerts"):
        with pytest.raises(Killed):
            Deliverer(store, {"log": DyingAfter(LogChannel(path))}, clock).run_once()
        Deliverer(store, {"log": LogChannel(path)}, clock).run_once()
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["n1", "n2"]
    assert "[firing] n2\nAll about n2." in caplog.text


def test_a_line_torn_by_a_kill_is_written_anew(store, clock, tmp_path):
    path = tmp_path / "alerts.jsonl"
    path.write_text('{"id": "n0"}\n{"id": "n1", "tex')
    add(store, notice("n1", channel="log"))
    Deliverer(store, {"log": LogChannel(path)}, clock).run_once()
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["n0", "n1"]


def test_a_log_that_cannot_be_written_is_tried_again(store, clock, tmp_path):
    (tmp_path / "taken").write_text("")
    add(store, notice("n1", channel="log"))
    one = Deliverer(store, {"log": LogChannel(tmp_path / "taken" / "alerts.jsonl")}, clock)
    assert one.run_once() == Delivered(failed=1)
    (tmp_path / "taken").unlink()
    clock.now += MINUTE
    assert one.run_once() == Delivered(sent=1)


def test_a_notice_for_a_channel_that_is_gone_waits_for_it(store, hook, deliverer, clock):
    add(store, notice("n1"), notice("n2"))
    assert Deliverer(store, {}, clock).run_once() == Delivered(unknown=1)
    clock.now += HOUR
    assert deliverer.run_once() == Delivered(sent=2)


def test_a_round_ends_at_its_limit(store, hook, deliverer):
    add(store, *(notice(f"n{n:02}") for n in range(20)))
    assert deliverer.run_once(limit=7).sent == 7
    assert deliverer.run_once().sent == 13


# back-off


@unhurried
@given(st.text(min_size=1), st.integers(1, 10_000))
def test_the_wait_doubles_up_to_ten_minutes_less_at_most_half(name, attempts):
    most = min(LONGEST_WAIT, 5 * SECOND * 2 ** min(attempts - 1, 12))
    assert most / 2 <= backoff(name, attempts) <= most
    assert backoff(name, attempts) == backoff(name, attempts)


def test_the_waits_of_two_notices_differ():
    assert len({backoff(f"n{n}", 9) for n in range(100)}) == 100


@unhurried
@given(st.text(min_size=1), st.integers(1, 3000))
def test_what_is_counted_as_waited_was_waited(name, attempts):
    assert waited(name, attempts) <= sum((backoff(name, n) for n in range(1, attempts)), timedelta(0))


def test_a_notice_is_given_up_after_seven_days_of_trying_and_no_sooner(store, hook, deliverer, clock):
    hook.answer = lambda post: 500
    last = next(n for n in range(1, 10_000) if waited("n1", n) >= GIVE_UP_AFTER)
    add(store, notice("n1", attempts=last - 2))
    assert deliverer.run_once() == Delivered(failed=1)
    clock.now += HOUR
    assert deliverer.run_once() == Delivered(refused=1)
    row = stored(store, "n1")
    assert (row.sent, row.next_try) == (None, None)
    assert row.error.startswith(f"given up after {last} attempts: HTTP 500")


# mail


class MailSinkAt:
    """A sink for the length of a block."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __enter__(self) -> MailSink:
        self.sink = MailSink(**self.options)
        return self.sink

    def __exit__(self, *_: object) -> None:
        self.sink.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate for localhost and its key, in one file, that the system's TLS is told to trust."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{path}.key", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(f"{path}.key").read_text())
    return str(path)


def mail_settings(port: int, **more: Any) -> EmailSettings:
    values = {"host": "localhost", "port": port, "security": "none", "sender": "triptych@example.com", "timeout_s": 5}
    return EmailSettings(**{**values, "to": ["ann@example.com", "ben@example.com"], **more})


def send_mail(store: Store, clock: Callable[[], datetime], channel: MailChannel) -> NoticeRow:
    payload = {"id": "n1", "subject": "[firing]\r\nBcc: eve@example.com", "text": "Größe\n.\nend", "after": None}
    add(store, notice("n1", channel="email:team", payload=payload))
    Deliverer(store, {"email:team": channel}, clock).run_once()
    return stored(store, "n1")


def test_a_mail_has_subject_text_and_an_id_of_its_own(store, clock):
    with MailSinkAt() as sink:
        row = send_mail(store, clock, MailChannel(mail_settings(sink.port)))
        (mail,) = sink.mails
    assert row.sent == START
    assert (mail.sender, mail.recipients) == ("triptych@example.com", ["ann@example.com", "ben@example.com"])
    read = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert read["Subject"] == "[firing] Bcc: eve@example.com"
    assert read["Bcc"] is None
    assert read["Message-ID"] == "<n1@triptych.example.com>"
    assert read.get_content().splitlines()[:3] == ["Größe", ".", "end"]


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_mail_is_encrypted_and_logs_in(store, clock, certificate, monkeypatch, security):
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    with MailSinkAt(security=security, certificate=certificate) as sink:
        chosen = mail_settings(sink.port, security=security, user_env="U", password_env="P")
        assert send_mail(store, clock, MailChannel(chosen, "ann", "pass")).sent == START
        (mail,) = sink.mails
    assert mail.encrypted
    assert base64.b64decode(mail.user) == b"\0ann\0pass"


def test_a_certificate_that_nobody_vouches_for_gets_no_password(store, clock, certificate):
    with MailSinkAt(security="starttls", certificate=certificate) as sink:
        chosen = mail_settings(sink.port, security="starttls", user_env="U", password_env="P")
        row = send_mail(store, clock, MailChannel(chosen, "ann", "pass"))
        assert sink.mails == []
    assert row.next_try is not None
    assert "certificate" in row.error


def test_a_server_without_starttls_gets_no_mail(store, clock):
    with MailSinkAt() as sink:
        row = send_mail(store, clock, MailChannel(mail_settings(sink.port, security="starttls")))
        assert sink.mails == []
    assert "STARTTLS" in row.error


@pytest.mark.parametrize(
    ("replies", "permanent", "error"),
    [
        ({"MAIL": "550 no such sender"}, True, "the mail was refused: 550"),
        ({"MAIL": "451 later"}, False, "the mail was refused: 451"),
        ({"RCPT": "550 unknown"}, True, "no recipient was accepted: ann@example.com: 550 unknown"),
        ({"RCPT ann@example.com": "550 unknown", "RCPT ben@example.com": "450 busy"}, False, "no recipient"),
        ({"DATA": "552 too large"}, True, "the mail was refused: 552"),
        ({"EHLO": "421 closing", "HELO": "421 closing"}, False, "the mail server cannot be used"),
    ],
)
def test_what_a_mail_server_refuses_for_good_is_told_from_what_passes(store, clock, replies, permanent, error):
    with MailSinkAt() as sink:
        sink.replies = replies
        row = send_mail(store, clock, MailChannel(mail_settings(sink.port)))
    assert (row.next_try is None) is permanent
    assert row.sent is None
    assert error in row.error


def test_a_recipient_who_is_refused_is_reported_and_the_others_get_it(store, clock, caplog):
    with MailSinkAt() as sink:
        sink.replies = {"RCPT ann@example.com": "550 unknown"}
        assert send_mail(store, clock, MailChannel(mail_settings(sink.port))).sent == START
        assert sink.mails[0].recipients == ["ben@example.com"]
    assert "was not taken for ann@example.com: 550 unknown" in caplog.text


def test_a_mail_that_was_taken_is_sent_however_the_server_says_good_bye(store, clock):
    with MailSinkAt() as sink:
        sink.replies = {"QUIT": "500 what?"}
        assert send_mail(store, clock, MailChannel(mail_settings(sink.port))).sent == START


def test_a_wrong_password_loses_no_notice(store, clock, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    with MailSinkAt(security="ssl", certificate=certificate) as sink:
        sink.replies = {"AUTH": "535 wrong"}
        chosen = mail_settings(sink.port, security="ssl", user_env="U", password_env="P")
        row = send_mail(store, clock, MailChannel(chosen, "ann", "pass"))
    assert row.next_try is not None
    assert "refuses the user or password: 535 wrong" in row.error


def test_a_mail_server_that_is_not_there_is_tried_again(store, clock):
    with MailSinkAt() as sink:
        port = sink.port
    assert send_mail(store, clock, MailChannel(mail_settings(port))).next_try is not None


# settings


GOOD_MAIL = {"host": "mail", "sender": "a@example.com", "to": ["b@example.com"]}


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"webhook": {"w": {"url": "ftp://x/", "secret_env": "S"}}}, "webhook.w.url"),
        ({"webhook": {"w": {"url": "https:///x", "secret_env": "S"}}}, "webhook.w.url"),
        ({"webhook": {"w": {"url": "https://ann:pass@x/", "secret_env": "S"}}}, "holds a user or password"),
        ({"webhook": {"w": {"url": "https://x:port/", "secret_env": "S"}}}, "webhook.w.url"),
        ({"webhook": {"w": {"url": "https://x/a b", "secret_env": "S"}}}, "webhook.w.url"),
        ({"webhook": {"w": {"url": "https://x/"}}}, "webhook.w.secret_env"),
        ({"webhook": {"w": {"url": "https://x/", "secret_env": "the secret!"}}}, "webhook.w.secret_env"),
        ({"webhook": {"w w": {"url": "https://x/", "secret_env": "S"}}}, "cannot name a channel"),
        ({"webhook": {"w": {"url": "https://x/", "secret_env": "S", "timeout_s": 0}}}, "webhook.w.timeout_s"),
        ({"email": {"m": {**GOOD_MAIL, "host": ""}}}, "email.m.host"),
        ({"email": {"m": {**GOOD_MAIL, "port": 0}}}, "email.m.port"),
        ({"email": {"m": {**GOOD_MAIL, "to": []}}}, "email.m.to"),
        ({"email": {"m": {**GOOD_MAIL, "to": ["b@x\r\nBcc: c@x"]}}}, "email.m.to.0"),
        ({"email": {"m": {**GOOD_MAIL, "sender": "nobody"}}}, "email.m.sender"),
        ({"email": {"m": {**GOOD_MAIL, "user_env": "U"}}}, "give both or neither"),
        ({"email": {"m": {**GOOD_MAIL, "security": "none", "user_env": "U", "password_env": "P"}}}, "in the clear"),
        ({"email": {"m": {**GOOD_MAIL, "password": "pass"}}}, "unknown key"),
        ({"sms": {}}, "unknown key"),
    ],
)
def test_a_channel_that_cannot_work_is_refused_with_its_key(channels, message):
    with pytest.raises(ConfigError, match=r"vertical\.alerts\.channels\.") as error:
        check_section(AlertSettings, {"channels": channels}, "vertical.alerts.")
    assert message in str(error.value)


def test_a_secret_that_is_not_set_is_refused_with_its_key():
    chosen = Channels.model_validate(
        {
            "webhook": {"w": {"url": "https://x/", "secret_env": "HOOK"}},
            "email": {"m": {**GOOD_MAIL, "user_env": "MAIL_USER", "password_env": "MAIL_PASSWORD"}},
        }
    )
    with pytest.raises(ConfigError) as error:
        open_channels(chosen, {"MAIL_USER": "ann", "MAIL_PASSWORD": ""})
    assert error.value.problems == [
        "vertical.alerts.channels.webhook.w.secret_env: the environment variable HOOK is not set",
        "vertical.alerts.channels.email.m.password_env: the environment variable MAIL_PASSWORD is not set",
    ]
    opened = open_channels(chosen, {"HOOK": "h", "MAIL_USER": "ann", "MAIL_PASSWORD": "p"})
    assert list(opened) == chosen.names == ["log", "webhook:w", "email:m"]


def test_without_settings_the_log_is_told():
    assert list(open_channels(AlertSettings().channels, {})) == ["log"]
    assert open_channels(Channels.model_validate({"log": {"enabled": False}}), {}) == {}


def test_the_secret_is_in_no_error_and_no_representation(hook):
    channel = WebhookChannel(WebhookSettings(url=hook.url, secret_env="SECRET"), "the secret")
    hook.answer = lambda post: 500
    with pytest.raises(NotSentError) as error:
        channel.send(notice("n1"), START)
    assert "the secret" not in f"{error.value!r} {channel!r} {channel.settings!r}"
