"""Clients that mean no good, or do not know better: refused with a reason, and nothing is left behind."""

from __future__ import annotations

import io
import json
import os
import random
import select
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.server.conftest import Running, error_kind, run, wait
from tests.apps.server.test_answers import picture, text64
from tests.apps.shop import write_sound
from triptych_apps.server.settings import Settings

HURRIED = Settings(
    max_body=200_000, max_pixels=10_000, max_audio_seconds=2.0, header_seconds=0.3, body_seconds=0.4, drain_seconds=0
)
MALFORMED = 2_000


@pytest.fixture(scope="module")
def hurried(desk_bundle: Path) -> Iterator[Running]:
    """A server with small limits and little patience."""
    with run(desk_bundle, HURRIED, local=True) as running:
        yield running


def talk(running: Running, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send bytes as they are, and what came back until the server hung up or was silent.

    With a pause, no piece follows an answer: what is sent to a closed connection takes the answer with it.
    """
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as connection:
        for piece in pieces:
            connection.sendall(piece)
            if pause and select.select([connection], [], [], pause)[0]:
                break
        found = b""
        while piece := connection.recv(65_536):
            found += piece
        return found


def status_of(raw: bytes) -> int:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert set(json.loads(body)) == {"error"}, raw
    return int(head.split()[1])


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def malformed(chance: random.Random, sounds: list[bytes]) -> tuple[bytes, str]:
    """A body that is wrong in some way, and its content type."""
    boundary = b"b0undary"
    kind = chance.randrange(6)
    whole = chance.choice([picture(), picture("red", "JPEG"), picture(kind="GIF"), picture(kind="BMP"), *sounds])
    damaged = bytearray(whole)
    for _ in range(chance.randint(1, 12)):
        damaged[chance.randrange(min(len(damaged), 200))] = chance.randrange(256)
    content = chance.choice([bytes(damaged), whole[: chance.randrange(len(whole))], chance.randbytes(50), b""])
    name = chance.choice([b"image", b"audio"])
    if kind == 0:
        return json.dumps({name.decode(): text64(content)}).encode(), "application/json"
    if kind == 1:
        body = bytearray(json.dumps({"text": "red", name.decode(): text64(whole)}).encode())
        body[chance.randrange(30)] = chance.randrange(256)
        return bytes(body), "application/json"
    part = b'Content-Disposition: form-data; name="' + name + b'"; filename="../../../etc/passwd"\r\n\r\n' + content
    form = b"--" + boundary + b"\r\n" + part + b"\r\n--" + boundary + b"--\r\n"
    if kind == 2:
        return form, "multipart/form-data; boundary=b0undary"
    if kind == 3:
        return form, chance.choice(
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x"]
        )
    if kind == 4:
        cut = bytearray(form[: chance.randrange(1, len(form))])
        cut[chance.randrange(len(cut))] = chance.randrange(256)
        return bytes(cut), "multipart/form-data; boundary=b0undary"
    return chance.randbytes(chance.randrange(300)), chance.choice(
        ["application/json", "multipart/form-data; boundary=b"]
    )


def test_malformed_uploads_are_refused_with_a_reason_and_leave_nothing_open(hurried: Running, tmp_path: Path):
    chance = random.Random(7)
    sounds = [write_sound(tmp_path / "a.wav", "red", 0.05).read_bytes()]
    with hurried.client() as client:
        client.post("/v1/desk/answer", json={"image": text64(picture()), "audio": text64(sounds[0])})
        before = open_files()
        statuses: dict[int, int] = {}
        for _ in range(MALFORMED):
            body, kind = malformed(chance, sounds)
            response = client.post("/v1/desk/answer", content=body, headers={"content-type": kind})
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
            if response.status_code != 200:  # some damage is to bytes that nobody reads
                assert error_kind(response)
        assert set(statuses) <= {200, 400, 413, 415, 422}
        assert sum(n for status, n in statuses.items() if status != 200) > MALFORMED / 2
        assert open_files() <= before + 2
        assert client.post("/v1/desk/answer", json={"text": "red"}).status_code == 200


def test_a_sound_of_which_the_model_makes_no_number_is_refused_alone(hurried: Running, tmp_path: Path):
    sound = write_sound(tmp_path / "a.wav", "red", 0.05).read_bytes()[:50]  # three frames
    with hurried.client() as client:
        response = client.post("/v1/desk/answer", json={"audio": text64(sound)})
        assert (response.status_code, error_kind(response)) == (422, "invalid")
        both = client.post("/v1/desk/answers", json={"requests": [{"audio": text64(sound)}, {"text": "red"}]})
        first, second = both.json()["answers"]
        assert (first["error"]["kind"], second["answer"]) == ("invalid", "It is red")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "a\x00b", "C:\\boot.ini"]
)
def test_no_name_of_a_file_or_text_reaches_the_disk(hurried: Running, name: str, tmp_path: Path):
    with hurried.client() as client:
        for field in ("image", "audio", "paper"):
            assert client.post("/v1/desk/answer", json={field: name}).status_code == 422
            response = client.post("/v1/desk/answer", files={field: (None, name)})
            assert (response.status_code, error_kind(response)) == (422, "invalid")
        response = client.post("/v1/desk/answer", files={"paper": (name, b"12345")}, data={"text": name + "red"})
        assert response.status_code == 200
        assert response.json()["received"]["paper"] == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/v1/desk/../../../etc/passwd",
        "/v1/%2e%2e/%2e%2e/etc/passwd",
        "/v1/desk%00/answer",
        "//etc",
    ],
)
def test_no_path_of_a_call_reaches_the_disk(hurried: Running, path: str):
    raw = talk(hurried, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert status_of(raw) in (400, 404)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(width: int, height: int) -> bytes:
    """A few bytes that would be `width` x `height` pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(101, 100), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_pictures_that_would_unfold_to_too_much_are_refused(hurried: Running, size: tuple[int, int]):
    with hurried.client() as client:
        response = client.post("/v1/desk/answer", files={"image": ("a.png", png_bomb(*size))})
    assert (response.status_code, error_kind(response)) == (413, "too_large")


def test_text_in_a_picture_that_would_unfold_to_too_much_is_refused(hurried: Running):
    text = b"Comment\0\0" + zlib.compress(b"a" * 5_000_000)
    bomb = picture()[:33] + chunk(b"zTXt", text) + picture()[33:]
    with hurried.client() as client:
        response = client.post("/v1/desk/answer", files={"image": ("a.png", bomb)})
    assert response.status_code in (415, 422), response.text
    assert error_kind(response)


def test_postscript_is_no_picture(hurried: Running):
    with hurried.client() as client:
        eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
        response = client.post("/v1/desk/answer", files={"image": ("a.png", eps)})
    assert (response.status_code, error_kind(response)) == (415, "unsupported_media")


@pytest.mark.parametrize(
    "listing",
    [
        b"ffconcat version 1.0\nfile a.wav\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.wav\n#EXT-X-ENDLIST\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    ],
)
def test_a_sound_that_names_other_files_or_addresses_is_refused(
    hurried: Running, listing: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_sound(tmp_path / "a.wav", "green", 1.0)
    monkeypatch.chdir(tmp_path)
    with hurried.client() as client:
        response = client.post("/v1/desk/answer", files={"audio": ("a.ogg", listing)})
    assert (response.status_code, error_kind(response)) == (415, "unsupported_media")


def test_sounds_that_are_too_long_are_refused_whatever_their_size(hurried: Running, tmp_path: Path):
    import numpy as np
    import soundfile

    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(16_000 * 60, dtype=np.float32), 16_000, format="FLAC")
    assert len(silence.getvalue()) < HURRIED.max_body
    with hurried.client() as client:
        response = client.post("/v1/desk/answer", files={"audio": ("a.flac", silence.getvalue())})
        assert (response.status_code, error_kind(response)) == (413, "too_large")
        short = write_sound(tmp_path / "a.wav", "green", 1.0).read_bytes()
        assert client.post("/v1/desk/answer", files={"audio": ("a.wav", short)}).status_code == 200


def test_a_body_that_is_too_large_is_refused_before_and_while_it_is_read(hurried: Running):
    def pieces() -> Iterator[bytes]:
        for _ in range(300):
            yield b"x" * 10_000

    with hurried.client() as client:
        for content in (b"x" * 200_001, pieces()):
            response = client.post("/v1/desk/answer", content=content, headers={"content-type": "application/json"})
            assert (response.status_code, error_kind(response)) == (413, "too_large")
            assert response.headers["connection"] == "close"
    wait(lambda: hurried.site.edge.held == 0)


def test_a_huge_length_is_refused_at_once(hurried: Running):
    head = b"POST /v1/desk/answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert status_of(talk(hurried, head + b"Content-Length: 99999999999999\r\n\r\n")) == 413
    assert status_of(talk(hurried, head + b"Content-Length: -1\r\n\r\n")) == 400
    assert status_of(talk(hurried, head + b"Content-Length: 10\r\nContent-Length: 11\r\n\r\n")) == 400
    assert status_of(talk(hurried, head + b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n")) == 400


def test_slow_clients_are_sent_away(hurried: Running):
    assert status_of(talk(hurried, b"GET /health/live HT", b"TP/1.1\r\n", pause=0.1)) == 408
    head = b"POST /v1/desk/answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 99\r\n\r\n"
    assert status_of(talk(hurried, head + b'{"te')) == 408
    drops = [b"a"] * 8
    assert status_of(talk(hurried, head, *drops, pause=0.1)) == 408
    with hurried.client() as client:
        assert client.get("/health/live").status_code == 200
    wait(lambda: hurried.site.edge.open == 0)


def test_a_second_head_that_is_slow_is_no_better(hurried: Running):
    whole = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for pieces in ((whole, whole[:20]), (whole + whole[:20],)):
        raw = talk(hurried, *pieces)
        assert raw.count(b"HTTP/1.1") == 2
        assert b"HTTP/1.1 408" in raw


def test_a_good_client_may_be_silent_between_requests(hurried: Running):
    whole = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", hurried.port), timeout=5) as connection:

        def answers(count: int) -> None:
            found = b""
            while found.count(b"HTTP/1.1 200") < count:
                found += connection.recv(65_536)

        connection.sendall(whole + whole[:20])
        answers(1)
        connection.sendall(whole[20:])
        answers(1)
        assert not select.select([connection], [], [], 3 * HURRIED.header_seconds)[0]
        connection.sendall(whole + whole)
        answers(2)
        assert not select.select([connection], [], [], 3 * HURRIED.header_seconds)[0]
        connection.sendall(whole)
        answers(1)


def test_a_head_without_end_behind_a_slow_answer_is_cut_off(hurried: Running):
    body = b'{"text": "sleep 3000"}'
    head = b"POST /v1/desk/answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    slow = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(("127.0.0.1", hurried.port), timeout=5) as connection:

        def go_on() -> None:
            for number in range(400):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * 1000))
                time.sleep(0.002)

        connection.sendall(slow + b"GET /health/live HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            go_on()


def test_a_head_without_end_is_cut_off(hurried: Running):
    lines = [b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(200)]
    raw = talk(hurried, b"GET /health/live HTTP/1.1\r\n" + b"".join(lines[:100]))
    assert status_of(raw) == 400


@pytest.mark.parametrize(
    "line",
    [b"X-A: a\rSet-Cookie: b", b"X-A: a\x00b", b"X A: a", b"X-A : a", b": a", b"X-A: a\n b"],
)
def test_damaged_headers_are_refused_or_never_come_back(hurried: Running, line: bytes):
    raw = talk(hurried, b"GET /v1/desk HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + line + b"\r\n\r\n")
    assert b"set-cookie" not in raw.lower()
    assert raw.startswith((b"HTTP/1.1 400", b"HTTP/1.1 200"))
    assert raw.count(b"HTTP/1.1") == 1


def test_what_a_client_sends_is_in_no_header_of_the_answer(hurried: Running):
    with hurried.client() as client:
        headers = {"request-id": "mine", "x-request-id": "mine", "triptych-variant": "mine"}
        response = client.post("/v1/desk/answer?variant=mine", json={"text": "mine\r\nSet-Cookie: a"}, headers=headers)
    assert not any("mine" in value for value in response.headers.values())
    assert "set-cookie" not in response.headers


def test_what_is_no_http_is_told_so(hurried: Running):
    assert status_of(talk(hurried, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")) == 400
    assert status_of(talk(hurried, b"BREW /pot HTCPCP/1.0\r\n\r\n")) == 400


def calls_with(running: Running, status: str) -> float:
    labels = {"route": "POST /v1/desk/answer", "status": status}
    return running.site.metrics.registry.get_sample_value("triptych_calls_total", labels) or 0


def test_a_client_that_leaves_is_forgotten(hurried: Running):
    body = json.dumps({"text": "sleep 30 red"}).encode()
    head = b"POST /v1/desk/answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    before, gone, bugs = open_files(), calls_with(hurried, "499"), calls_with(hurried, "500")
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", hurried.port)) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", hurried.port)) as connection:
            connection.sendall(head + b"Content-Length: 900\r\n\r\n" + body)
    with hurried.client() as client:
        assert client.post("/v1/desk/answer", json={"text": "red"}).status_code == 200
    wait(lambda: hurried.site.edge.open == 0)
    assert open_files() <= before + 2
    assert (calls_with(hurried, "499"), calls_with(hurried, "500")) == (gone + 20, bugs)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:80"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
    ],
)
def test_without_keys_a_page_of_another_site_is_not_answered(hurried: Running, headers: dict[str, str]):
    with hurried.client() as client:
        response = client.post("/v1/desk/answer", files={"text": (None, "red")}, headers=headers)
        assert (response.status_code, error_kind(response)) == (403, "forbidden")
        assert client.get("/health/live", headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "127.0.0.2", "[::1]", "[::1]:80"])
def test_every_name_of_this_machine_is_its_own(hurried: Running, host: str):
    with hurried.client() as client:
        assert client.get("/v1/desk", headers={"host": host}).status_code == 200


def test_proxies_that_were_not_named_are_not_believed(hurried: Running):
    assert hurried.server.config.proxy_headers is False
    with hurried.client() as client:
        response = client.get("/v1/desk", headers={"x-forwarded-host": "evil.example", "x-forwarded-for": "1.2.3.4"})
    assert response.status_code == 200


def test_a_picture_of_every_kind_is_still_taken(hurried: Running):
    with hurried.client() as client:
        for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
            response = client.post("/v1/desk/answer", files={"image": ("a", picture("blue", kind))})
            assert (kind, response.status_code) == (kind, 200)
            assert response.json()["answer"] == "It is blue"
