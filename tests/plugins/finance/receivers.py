"""Receivers for tests: a webhook that can be stopped, started and told what to answer, and a sink for mail."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes


class _Http(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True


class Webhook:
    """A real HTTP server. `answer` decides on each post: a status, or a status and headers."""

    def __init__(self) -> None:
        self.posts: list[Posted] = []
        self.answer: Callable[[Posted], int | tuple[int, dict[str, str]]] = lambda post: 204
        self._server: _Http | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                post = Posted(self.path, dict(self.headers.items()), body)
                hook.posts.append(post)
                answer = hook.answer(post)
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"because" if status >= 300 else b"")

            def log_message(self, *_: Any) -> None:
                return

        self._server = _Http(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts"


@dataclass
class Mail:
    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    content: bytes = b""
    user: str = ""  # as the client sent it, in base64
    encrypted: bool = False


class _Smtp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    sink: MailSink


class _SmtpHandler(socketserver.StreamRequestHandler):
    server: _Smtp

    def handle(self) -> None:
        self.mail, sink = Mail(), self.server.sink
        if sink.security == "ssl":
            self.secure()
        self.say("220 sink")
        while line := self.rfile.readline().decode().strip():
            word = line.split(" ")[0].split(":")[0].upper()
            argument = line.partition("<")[2].partition(">")[0] or line.split(" ")[-1]
            reply = sink.replies.get(f"{word} {argument}", sink.replies.get(word))
            if reply is not None:
                self.say(reply)
                continue
            getattr(self, f"on_{word.lower()}", self.on_other)(argument)
            if word == "QUIT":
                break

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    def secure(self) -> None:
        assert self.server.sink.context is not None
        self.request = self.server.sink.context.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
        self.mail.encrypted = True

    def on_other(self, argument: str) -> None:
        self.say("250 well")

    def on_quit(self, argument: str) -> None:
        self.say("221 bye")

    def on_ehlo(self, argument: str) -> None:
        offer = ["250-STARTTLS"] if self.server.sink.security == "starttls" and not self.mail.encrypted else []
        self.say("250-sink", *offer, "250 AUTH PLAIN")

    def on_starttls(self, argument: str) -> None:
        self.say("220 go on")
        self.secure()

    def on_auth(self, argument: str) -> None:
        self.mail.user = argument
        self.say("235 welcome")

    def on_mail(self, argument: str) -> None:
        self.mail.sender = argument
        self.say("250 well")

    def on_rcpt(self, argument: str) -> None:
        self.mail.recipients.append(argument)
        self.say("250 well")

    def on_data(self, argument: str) -> None:
        self.say("354 go on")
        while (line := self.rfile.readline()).rstrip(b"\r\n") != b".":
            self.mail.content += line[1:] if line.startswith(b"..") else line
        self.server.sink.mails.append(self.mail)
        self.say("250 taken")


class MailSink:
    """A small SMTP server. `replies` has the answer to a command, by its first word, where it is not the usual one."""

    def __init__(self, *, security: str = "none", certificate: str = "") -> None:
        self.mails: list[Mail] = []
        self.replies: dict[str, str] = {}
        self.security = security
        self.context: ssl.SSLContext | None = None
        if security != "none":
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self._server = _Smtp(("127.0.0.1", 0), _SmtpHandler)
        self._server.sink = self
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
