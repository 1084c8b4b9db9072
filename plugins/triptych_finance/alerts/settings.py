"""What can be set about alerts, and the channels that notices go to."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from triptych.config import Section

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_ADDRESS = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+")


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or _BLANK.search(url):
        raise ValueError("is no address of a webhook; write it as https://example.com/alerts")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or password; use secret_env, which names an environment variable")
    _ = parts.port  # raises ValueError where it is no number
    return url


def _check_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("is no name of an environment variable; write the variable's name, not the secret itself")
    return name


def _check_address(address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is no e-mail address; write it as name@example.com")
    return address


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a channel; use letters, digits, - and _, at most 40")
    return name


Variable = Annotated[str, AfterValidator(_check_variable)]
Address = Annotated[str, AfterValidator(_check_address)]
ChannelName = Annotated[str, AfterValidator(_check_name)]
Timeout = Annotated[float, Field(gt=0, le=60)]


class LogSettings(Section):
    """Notices as lines of the log and, where `path` is given, of a JSONL file."""

    enabled: bool = True
    path: str | None = None  # JSONL, one notice a line


class WebhookSettings(Section):
    """An HTTP address that notices are posted to."""

    url: Annotated[str, AfterValidator(_check_url)]
    secret_env: Variable  # the environment variable with the secret that bodies are signed with
    timeout_s: Timeout = 10.0  # for connecting, and for each answer of the socket


class EmailSettings(Section):
    """A mail server and whom to write to."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "ssl", "none"] = "starttls"
    sender: Address
    to: Annotated[list[Address], Field(min_length=1)]
    user_env: Variable | None = None  # environment variables with the user and the password; neither: no log-in
    password_env: Variable | None = None
    timeout_s: Timeout = 20.0

    @model_validator(mode="after")
    def _credentials_are_whole_and_safe(self) -> Self:
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("user_env and password_env go together: give both or neither")
        if self.user_env is not None and self.security == "none":
            raise ValueError('a password is not sent in the clear: set security to "starttls" or "ssl"')
        return self


class Channels(Section):
    """Where notices go: the log, and any number of webhooks and mails, each under a name of its own."""

    log: LogSettings = LogSettings()
    webhook: dict[ChannelName, WebhookSettings] = Field(default_factory=dict)
    email: dict[ChannelName, EmailSettings] = Field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The channels' names, as notices carry them: log, webhook:NAME, email:NAME."""
        log = ["log"] if self.log.enabled else []
        return log + [f"webhook:{name}" for name in self.webhook] + [f"email:{name}" for name in self.email]


class AlertSettings(Section):
    """When an alarm becomes an alert, and whom it is told to how often."""

    for_buckets: Annotated[int, Field(ge=0)] = 0  # an alert is pending until the alarm has held so many buckets more
    keep_firing_hours: Annotated[float, Field(ge=0)] = 48.0  # an alert ends when its alarm has been silent so long
    group_by: Literal["sector", "entity"] = "sector"  # what is told in one notice
    group_wait_minutes: Annotated[float, Field(ge=0)] = 0.0  # a group's first notice waits so long for others
    group_interval_minutes: Annotated[float, Field(ge=0)] = 60.0  # between two notices of one group, at least
    repeat_hours: Annotated[float, Field(ge=0)] = 72.0  # a group that still fires is told of again; 0: never
    inhibit: bool = True  # while a sector's alert fires, its entities' alerts of the same direction are not told
    channels: Channels = Channels()
