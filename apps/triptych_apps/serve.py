"""`triptych serve`: bundles over HTTP."""

from __future__ import annotations

import click

from triptych.cores import keep_blas_to_one_thread
from triptych.errors import MissingError
from triptych_apps.options import VerticalName, device_option


@click.command(short_help="Answer over HTTP.")
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=VerticalName())
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 for any.")
@device_option
@click.option("--no-auth", is_flag=True, help="Ask for no key; for servers that something else guards.")
@click.option(
    "--proxy", "proxies", multiple=True, metavar="ADDRESS",
    help="Believe X-Forwarded-For and X-Forwarded-Proto from this address or network; may be repeated.",
)  # fmt: skip
@click.option("--cache", default=0, show_default=True, type=click.IntRange(0), help="Answers that are remembered.")
@click.option(
    "--batch", default=32, show_default=True, type=click.IntRange(1), help="Requests answered together at most."
)
@click.option(
    "--threads", type=click.IntRange(1), show_default="a core each, 4 at most; one for a quick model",
    help="Batches answered at once, of each bundle that answers without torch.",
)  # fmt: skip
@click.option("--queue", default=256, show_default=True, type=click.IntRange(1), help="Requests that may wait.")
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(0.01), help="Seconds for an answer.")
@click.option(
    "--max-mb", default=16.0, show_default=True, type=click.FloatRange(0.001, 256), help="Megabytes of a call."
)
@click.option(
    "--drain", default=1.0, show_default=True, type=click.FloatRange(0), help="Seconds to go on after SIGTERM."
)
@click.option(
    "--decisions", metavar="off|FILE",
    help="Where every answer is written down; by default decisions.sqlite under the home directory.",
)  # fmt: skip
@click.option(
    "--keep-days", default=90.0, show_default=True, type=click.FloatRange(0, min_open=True),
    help="How long decisions without a verdict are kept.",
)  # fmt: skip
@click.option(
    "--redact", is_flag=True,
    help="Answer and keep texts without card numbers, e-mail addresses, phone numbers and IBANs.",
)  # fmt: skip
def serve(
    bundles: tuple[str, ...],
    host: str,
    port: int,
    device: str | None,
    no_auth: bool,
    proxies: tuple[str, ...],
    cache: int,
    batch: int,
    threads: int | None,
    queue: int,
    timeout: float,
    max_mb: float,
    drain: float,
    decisions: str | None,
    keep_days: float,
    redact: bool,
) -> None:
    """Answer over HTTP.

    BUNDLE is a directory or the name of a vertical; several are served together. The newest version of a bundle
    answers, or what `triptych release` says. Every answer is written down: see `triptych replay` and `triptych review`.
    The log goes to standard error, one JSON object a line. As soon as `triptych keys add` has made a key, every call
    needs one; without keys the server listens on this machine only.
    """
    keep_blas_to_one_thread()
    try:
        from triptych_apps.server import launch, recording, redaction  # late: what it needs is an extra
    except ImportError as error:
        raise MissingError(f"serving needs the package {error.name}: pip install 'triptych[serve]'") from error
    from triptych_apps.server.settings import MEGABYTE, Settings

    settings = Settings(
        max_body=int(max_mb * MEGABYTE),
        threads=threads or 0,
        max_batch=batch,
        max_queue=queue,
        cache=cache,
        answer_seconds=timeout,
        drain_seconds=drain,
    )
    with recording.recorder(decisions, keep_days=keep_days) as recorder:
        launch.serve(
            bundles,
            settings,
            host=host,
            port=port,
            device=device or "auto",
            no_auth=no_auth,
            proxies=proxies,
            recorder=recorder,
            redactor=redaction.redact if redact else None,
        )
