"""Ten thousand uploads that are wrong in every way that came to mind, over one real server process."""

from __future__ import annotations

import base64
import io
import json
import random
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
import soundfile
from PIL import Image

from tests.apps.server.conftest import Process, wait

UPLOADS = 10_000
GROWTH_MB = 48  # of resident memory after the first tenth, in which caches, pools and arenas fill
PATH = b"/v1/desk/answer"
PICTURES = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
SOUNDS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")
HOURS = 3 * 3600
FOREIGN = (  # heads of what is neither picture nor sound
    b"%PDF-1.7\n", b"PK\3\4" + bytes(26), b"%!PS-Adobe-3.0 EPSF-3.0\n", b"MZ", b"\x7fELF", b"GIF89a/*", b"#!/bin/sh\n",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
)  # fmt: skip
WRONG_JSON = (
    b'{"count": NaN}', b'{"count": Infinity}', b'{"count": -Infinity}', b'{"count": 1e999}', b'{"options": {"a": NaN}}',
    b'{"options": {"a": 1e999}}', b'{"text": "\\ud800"}', b'{"text": "\\udfff\\ud800"}', b'{"text": "\xed\xa0\x80"}',
    b'{"text": "\xff"}', b'{"text": "a\0b"}', b'{"te\\u0000xt": "red"}', b"null", b"0", b'"red"', b"[]", b"{}", b"",
    b'{"text": null}', b'{"text": {}}', b'{"count": %s}' % (b"9" * 5_000), b'{"image": "====", "text": "red"}',
    b'{"image": "YQ", "text": "red"}', b'{"image": "\xc3\xa9"}', b'{"image": {"path": "/etc/passwd"}}', b"\0" * 40,
    b'{"%s": 1}' % (b"k" * 5_000), b'{"tags": [%s]}' % b",".join([b"1"] * 500), b'{"audio": [1, 2, 3]}',
)  # fmt: skip


@dataclass
class Upload:
    """One call as bytes. After `ends`, the server may take nothing more on this connection."""

    raw: bytes
    ends: bool = False


def call(body: bytes, kind: bytes = b"application/json", length: bytes | None = None, more: bytes = b"") -> bytes:
    head = b"POST " + PATH + b" HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: " + kind + b"\r\n" if kind else b""
    return head + more + b"Content-Length: " + (length or b"%d" % len(body)) + b"\r\n\r\n" + body


def form(name: str, content: bytes, head: bytes | None = None) -> bytes:
    """A form with one file."""
    part = b'Content-Disposition: form-data; name="%s"; filename="../a\\"b"\r\n\r\n' % name.encode()
    return b"--b\r\n" + (part if head is None else head) + content + b"\r\n--b--\r\n"


def upload(chance: random.Random, name: str, content: bytes) -> Upload:
    """A file in a form, or in JSON."""
    if chance.random() < 0.5:
        return Upload(call(form(name, content), b"multipart/form-data; boundary=b"))
    return Upload(call(json.dumps({name: base64.b64encode(content).decode()}).encode()))


def pictures() -> dict[str, bytes]:
    pixels = np.random.default_rng(7).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    found = {}
    for kind in PICTURES:
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, kind)
        found[kind] = content.getvalue()
    return found


def sounds() -> dict[str, bytes]:
    samples = np.random.default_rng(7).normal(0, 0.1, 2_000).astype(np.float32)
    found = {}
    for kind in SOUNDS:
        content = io.BytesIO()
        soundfile.write(content, samples, 16_000, format=kind)
        found[kind] = content.getvalue()
    return found


class Wrong:
    """Makes uploads of which none can be answered."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.pictures, self.sounds = pictures(), sounds()
        self.makers: tuple[Callable[[], Upload], ...] = (
            *3 * (
                self.cut_picture, self.flipped_picture, self.flipped_picture, self.broken_form, self.bomb,
                self.long_sound, self.of_another_type, self.broken_form, self.lying_length, self.broken_json,
                self.broken_json, self.deep, self.flipped_picture, self.broken_json, self.broken_form,
            ),
            self.cut_sound, self.flipped_sound, self.polyglot,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Upload]:
        while True:
            for make in self.makers:
                yield make()

    def cut_picture(self) -> Upload:
        whole = self.pictures[self.chance.choice(PICTURES)]
        return upload(self.chance, "image", whole[: self.chance.randrange(len(whole) * 6 // 10)])

    def flipped_picture(self) -> Upload:
        """In its first bytes, by which it is known."""
        damaged = bytearray(self.pictures[self.chance.choice(PICTURES)])
        among = 1 if damaged[:2] == b"P6" else 2  # P4 and P5 are pictures, too
        damaged[self.chance.randrange(among)] ^= 1 << self.chance.randrange(8)
        if damaged[4:8] == b"ftyp":  # of AVIF, these are a length
            damaged[4 + self.chance.randrange(4)] ^= 1 << self.chance.randrange(8)
        return upload(self.chance, "image", bytes(damaged))

    def cut_sound(self) -> Upload:
        whole = self.sounds[self.chance.choice(("WAV", "FLAC", "OGG", "AIFF"))]  # any piece of an MP3 is one
        return upload(self.chance, "audio", whole[: self.chance.randrange(20)])

    def flipped_sound(self) -> Upload:
        damaged = bytearray(self.sounds[self.chance.choice(("WAV", "FLAC", "OGG", "AIFF"))][:600])
        damaged[:4] = self.chance.randbytes(4)
        damaged[8:12] = b"\0\0\0\0"
        return upload(self.chance, "audio", bytes(damaged))

    def bomb(self) -> Upload:
        """Heads that promise up to four thousand million pixels, and a text that unfolds to a gigabyte."""
        wide, high = (self.chance.choice((9_000, 20_000, 65_535)) for _ in range(2))
        png, gif, bmp = bytearray(self.pictures["PNG"]), bytearray(self.pictures["GIF"]), self.pictures["BMP"]
        head = png[12:16] + struct.pack(">II", wide, high) + png[24:29]
        heads = [
            bytes(png[:12] + head + struct.pack(">I", zlib.crc32(head)) + png[33:]),
            bytes(gif[:6]) + struct.pack("<HH", wide, high) + bytes(gif[10:]),
            bmp[:18] + struct.pack("<ii", wide, -high) + bmp[26:],
            b"P6 %d %d 255\n" % (wide, high),
            bytes(png[:33]) + _chunk(b"zTXt", b"Comment\0\0" + _ZEROS) + bytes(png[33:]),
            bytes(png[:33]) + _chunk(b"iCCP", b"profile\0\0" + _ZEROS) + bytes(png[33:]),
        ]
        return upload(self.chance, "image", self.chance.choice(heads))

    def long_sound(self) -> Upload:
        """FLAC whose head says that it lasts for hours, or has many channels at a rate that nobody uses."""
        flac = bytearray(self.sounds["FLAC"])
        rate, channels = self.chance.choice(((16_000, 1), (655_350, 8), (192_000, 8)))
        frames = (HOURS if channels == 1 else 100) * rate
        flac[18:26] = struct.pack(">Q", rate << 44 | (channels - 1) << 41 | 15 << 36 | frames)
        return upload(self.chance, "audio", bytes(flac))

    def polyglot(self) -> Upload:
        """Two things at once, of which the first is no picture; and what is no file of ours at all."""
        picture = self.pictures[self.chance.choice(PICTURES)]
        first = self.chance.choice(FOREIGN)
        return upload(self.chance, self.chance.choice(("image", "audio")), first + picture)

    def of_another_type(self) -> Upload:
        kind = self.chance.choice((b"", b"text/plain", b"image/png", b"application/octet-stream", b"multipart/mixed",
                                   b"application/x-www-form-urlencoded", b"application/xml", b"\xff\xfe"))  # fmt: skip
        if self.chance.random() < 0.2:
            return Upload(call(b"{}", more=b"Content-Encoding: gzip\r\n"))
        return Upload(call(self.pictures["PNG"], kind))

    def broken_form(self) -> Upload:
        whole = form("image", self.pictures["PNG"])
        boundary = b"multipart/form-data; boundary="
        bodies = [
            (whole, b"multipart/form-data"), (whole, boundary), (whole, boundary + b"x"), (whole, boundary + b"\xff"),
            (whole[: self.chance.randrange(90)], boundary + b"b"), (whole[2:], boundary + b"b"), (b"", boundary + b"b"),
            (whole, boundary + b"b; charset=utf-7"), (form("image", b"", b""), boundary + b"b"),
            (form("", b"x", b"Content-Type: image/png\r\n\r\n"), boundary + b"b"),
            (form("", b"x", b'Content-Disposition: form-data; name="text\0"\r\n\r\n'), boundary + b"b"),
            (form("", b"x", b'Content-Disposition: form-data; name="image"\r\n\r\n'), boundary + b"b"),
            (form("text", b"a text in a file"), boundary + b"b"), (form("tags", b"x"), boundary + b"b"),
            (form("x", b"1").replace(b"--b--", b"--b") * 250, boundary + b"b"),
            (form("", b"x", b"X: " + b"a" * 20_000 + b"\r\n\r\n"), boundary + b"b"),
            (self.chance.randbytes(200), boundary + b"b"), (whole.replace(b"\r\n", b"\n"), boundary + b"b"),
        ]  # fmt: skip
        return Upload(call(*self.chance.choice(bodies)))

    def lying_length(self) -> Upload:
        """A length that is too short makes the rest a second request, which is none; others are no numbers."""
        body = b'{"text": "%s"}' % (b"x" * 60)
        if self.chance.random() < 0.5:
            return Upload(call(body, length=b"%d" % self.chance.randrange(1, 20)), ends=True)
        lies = (b"-1", b"+7", b"0x10", b"1e3", b"7, 7", b"7 7", b"9" * 30, b"99999999999")
        return Upload(call(body, length=self.chance.choice(lies)), ends=True)

    def broken_json(self) -> Upload:
        whole = json.dumps({"text": "red", "options": {"a": 1}, "tags": ["a", "b"]}).encode()
        changed = (
            whole[: self.chance.randrange(len(whole))], whole + whole, whole.replace(b'"', b"'"),
            whole.decode().encode("utf-16"), b"\xef\xbb\xbf" + whole, self.chance.randbytes(60),
        )  # fmt: skip
        return Upload(call(self.chance.choice(self.chance.choice((changed, WRONG_JSON)))))

    def deep(self) -> Upload:
        depth = self.chance.choice((33, 60, 150, 1_000, 20_000))
        opening, closing = self.chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
        inner = opening * depth + b"1" + closing * depth
        return Upload(call(b'{"options": ' + (inner if self.chance.random() < 0.7 else opening * depth) + b"}"))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


_ZEROS = zlib.compress(bytes(20_000_000))  # in 20 kB


class Line:
    """A connection that is opened again where the server ended it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._rest = b""

    def ask(self, upload: Upload) -> tuple[int, bytes]:
        if self._socket is None:
            self._socket, self._rest = socket.create_connection(("127.0.0.1", self._port), timeout=60), b""
        self._socket.sendall(upload.raw)
        head, body = self._answer()
        if upload.ends or b"connection: close" in head.lower():
            self.close()
        return int(head.split()[1]), body

    def _answer(self) -> tuple[bytes, bytes]:
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return head, body

    def _more(self) -> None:
        assert self._socket is not None
        piece = self._socket.recv(65_536)
        assert piece, "the server hung up without an answer"
        self._rest += piece

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@pytest.mark.filterwarnings("ignore")
def test_ten_thousand_malformed_uploads(start: Callable[..., Process]):
    process = start()
    port = int(process.ready().rpartition(":")[2])
    server = psutil.Process(process.process.pid)
    line, right = Line(port), Upload(call(b'{"text": "is it red?"}'))
    assert line.ask(right)[0] == 200
    files = server.num_fds()
    memory, statuses = 0, Counter[int]()
    for number, wrong in zip(range(UPLOADS), Wrong(7), strict=False):
        status, body = line.ask(wrong)
        statuses[status] += 1
        assert 400 <= status < 500, (number, status, body[:300], wrong.raw[:300])
        error = json.loads(body)
        assert set(error) == {"error"}, wrong.raw[:300]
        assert set(error["error"]) == {"kind", "message"}, wrong.raw[:300]
        assert len(error["error"]["message"]) > 10, wrong.raw[:300]
        assert len(body) < 5_000, wrong.raw[:300]
        if number % 500 == 0:
            assert b"It is red" in line.ask(right)[1]
        if number == UPLOADS // 10:
            memory = server.memory_info().rss
    assert sum(statuses.values()) == UPLOADS
    assert set(statuses) == {400, 413, 415, 422}
    assert (server.memory_info().rss - memory) / 1e6 < GROWTH_MB
    for _ in range(100):  # a length that promises more than comes, and nobody waits for the answer
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(call(b'{"text": "red"}', length=b"5000"))
    assert b"It is red" in line.ask(right)[1]
    line.close()
    wait(lambda: server.num_fds() <= files)
    assert process.process.poll() is None
    assert not process.events("bug")
