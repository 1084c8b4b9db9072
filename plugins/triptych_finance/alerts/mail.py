"""The channel "email": a notice as a mail, over SMTP with STARTTLS or TLS."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

from triptych_finance.alerts.delivery import NotSentError, log
from triptych_finance.alerts.settings import EmailSettings
from triptych_finance.store.schema import NoticeRow

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class MailChannel:
    """Sends mails through one server, with a connection for each."""

    def __init__(self, settings: EmailSettings, user: str = "", password: str = "") -> None:
        self.settings = settings
        self._user, self._password = user, password

    def send(self, notice: NoticeRow, now: datetime) -> None:
        """Send a notice. Raises `NotSentError`: for good where the server refuses this mail with a 5xx."""
        try:
            server = self._connect()
            try:
                refused = server.send_message(self.message(notice, now), self.settings.sender, self.settings.to)
                with contextlib.suppress(OSError, smtplib.SMTPException):  # the mail was taken
                    server.quit()
            finally:
                server.close()
        except smtplib.SMTPAuthenticationError as error:
            reason = f"the mail server refuses the user or password: {_said(error)}"
            raise NotSentError(reason, whole_channel=True) from error
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            text = ", ".join(f"{to}: {code} {_text(said)}" for to, (code, said) in sorted(error.recipients.items()))
            raise NotSentError(f"no recipient was accepted: {text}", permanent=min(codes) >= 500) from error
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            raise NotSentError(f"the mail was refused: {_said(error)}", permanent=error.smtp_code >= 500) from error
        except (OSError, smtplib.SMTPException) as error:
            raise NotSentError(
                f"the mail server cannot be used: {error or type(error).__name__}", whole_channel=True
            ) from error
        for address, (code, said) in refused.items():
            log.error("notice %s was not taken for %s: %s %s", notice.id, address, code, _text(said))

    def message(self, notice: NoticeRow, now: datetime) -> EmailMessage:
        """The mail of a notice; its Message-ID is the same each time."""
        mail = EmailMessage()
        mail["Subject"] = _CONTROL.sub(" ", str(notice.payload.get("subject", notice.id)))[:200]
        mail["From"], mail["To"] = self.settings.sender, ", ".join(self.settings.to)
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{notice.id}@triptych.{self.settings.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"  # so that no holiday notice answers
        mail.set_content(str(notice.payload.get("text", "")) + f"\n\nNotice {notice.id}\n", cte="quoted-printable")
        return mail

    def _connect(self) -> smtplib.SMTP:
        chosen = self.settings
        context = ssl.create_default_context()
        if chosen.security == "ssl":
            server: smtplib.SMTP = smtplib.SMTP_SSL(chosen.host, chosen.port, timeout=chosen.timeout_s, context=context)
        else:
            server = smtplib.SMTP(chosen.host, chosen.port, timeout=chosen.timeout_s)
        try:
            if chosen.security == "starttls":
                server.starttls(context=context)
            if self._user:
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server


def _said(error: smtplib.SMTPResponseException) -> str:
    return f"{error.smtp_code} {_text(error.smtp_error)}"


def _text(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:200]
