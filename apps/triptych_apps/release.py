"""`triptych release`: which version of a bundle answers whom."""

from __future__ import annotations

from typing import Any

import click

from triptych.errors import MissingError
from triptych_apps.options import bundle_argument, device_option, json_option

REFUSED = 7  # the exit code where the gate does not pass a candidate
version_argument = click.argument("version", required=False)
wait_option = click.option(
    "--wait", default=60.0, show_default=True, type=click.FloatRange(0), metavar="SECONDS",
    help="Wait so long for running servers to follow.",
)  # fmt: skip


@click.group(short_help="Canary, promote, roll back and shadow versions of a bundle that is served.")
def release() -> None:
    """Canary, promote, roll back and shadow versions of a bundle that is served.

    NAME is what `triptych serve` was given: a vertical, or a directory. VERSION is an id, or a part of one that is
    unique. Running servers follow within a second of a version being warm, and no request fails meanwhile; a server
    that starts begins where the last decision left it.
    """


@release.command("list", short_help="Show versions, roles, servers and what a shadow is worth.")
@bundle_argument
@json_option
def list_releases(bundle: str, as_json: bool) -> None:
    """Show versions, roles, servers and what a shadow is worth."""
    from triptych_apps.output import print_json, print_pairs, print_table

    found = _releasing().releases(bundle)
    if as_json:
        print_json(found)
        return
    share = f"{found.share:.1%} of requests" if found.canary else None
    print_pairs(found.vertical, {"bundle": found.bundle, "canary answers": share})
    columns = ["version", "role", "created", "MB", "variant", "cost per million", "gate"]
    rows = [
        [v.version, v.roles, v.created, v.size_mb, v.variant, v.cost_per_million, _verdict(v.verdict)]
        for v in found.versions
    ]
    print_table("Versions", columns, rows)
    columns = ["version", "answers", "agreement", "failed", "dropped", "ms", "ms in service", "cost", "cost in service"]
    print_table("Shadow", columns, [_shadow_row(v.version, v.shadowed) for v in found.versions if v.shadowed])
    for server, state in found.servers.items():
        rows = [[version, state.answered.get(version), state.errors.get(version)] for version in state.open]
        print_table(f"Server {server}", ["open", "answered", "failed"], rows)
        print_table("", ["not opened", "why"], list(state.failed.items()))


@release.command("open", short_help="Open a version beside the others.")
@bundle_argument
@version_argument
@wait_option
@json_option
def open_version(bundle: str, version: str | None, wait: float, as_json: bool) -> None:
    """Open a version beside the others, by default the newest, so that it can answer at once."""
    _change(bundle, "open", version, wait=wait, as_json=as_json)


@release.command(short_help="Let a version answer a share of the requests.")
@bundle_argument
@version_argument
@click.option("--share", required=True, type=click.FloatRange(0, 1), help="From 0 (which ends it) to 1.")
@wait_option
@json_option
def canary(bundle: str, version: str | None, share: float, wait: float, as_json: bool) -> None:
    """Let a version, by default the newest, answer a share of the requests: always the same conversations or users."""
    _change(bundle, "canary", version, share=share, wait=wait, as_json=as_json)


@release.command(short_help="Put a version in service.")
@bundle_argument
@version_argument
@click.option("--force", is_flag=True, help="Without the gate's verdict.")
@wait_option
@json_option
def promote(bundle: str, version: str | None, force: bool, wait: float, as_json: bool) -> None:
    """Put a version in service: by default the canary, or the newest without one.

    The gate must have passed it against the version in service (exit code 7 otherwise), or --force is said. The version
    before stays open, so that a roll-back is instant.
    """
    _change(bundle, "promote", version, force=force, wait=wait, as_json=as_json)


@release.command(short_help="End the canary, or go back to the version before.")
@bundle_argument
@wait_option
@json_option
def rollback(bundle: str, wait: float, as_json: bool) -> None:
    """End the canary where there is one; otherwise go back to the version before, which is open."""
    _change(bundle, "rollback", None, wait=wait, as_json=as_json)


@release.command(short_help="Have a version answer for comparison alone.")
@bundle_argument
@version_argument
@click.option("--off", is_flag=True, help="End it.")
@wait_option
@json_option
def shadow(bundle: str, version: str | None, off: bool, wait: float, as_json: bool) -> None:
    """Have a version, by default the newest, answer what clients asked, after they have their answer.

    `triptych release list` shows how far it agrees, how long it takes and what it costs.
    """
    if off and version is not None:
        raise click.UsageError("--off ends the shadow; it takes no VERSION")
    if not off and version is None:
        from triptych.bundle import resolve_bundle

        version = _releasing().find(resolve_bundle(bundle), None)
    _change(bundle, "shadow", version, wait=wait, as_json=as_json)


@release.command(short_help="Close a version that nobody is answered by.")
@bundle_argument
@version_argument
@wait_option
@json_option
def close(bundle: str, version: str | None, wait: float, as_json: bool) -> None:
    """Close a version when its last request is answered; without one, all that nobody is answered by.

    That frees memory. A roll-back to a version that is closed is not instant: promote it.
    """
    _change(bundle, "close", version, wait=wait, as_json=as_json)


@release.command(short_help="Compare a candidate with the version in service.")
@bundle_argument
@click.option("--candidate", required=True, metavar="VERSION", help="The version to compare.")
@click.option("--data", required=True, metavar="FILE", help="Labelled data that neither has learnt from.")
@click.option("--group", metavar="COLUMN", help="A column of the data whose groups must be served alike.")
@click.option("--margin", default=0.01, show_default=True, type=click.FloatRange(0, 1), help="Quality that may go.")
@click.option("--slower", default=0.5, show_default=True, type=click.FloatRange(0), help="Share of p50 and p95 on top.")
@click.option("--larger", default=0.5, show_default=True, type=click.FloatRange(0), help="Share of the size on top.")
@click.option("--dearer", default=0.1, show_default=True, type=click.FloatRange(0), help="Share of the cost on top.")
@device_option
@json_option
@click.pass_context
def gate(
    ctx: click.Context,
    bundle: str,
    candidate: str,
    data: str,
    group: str | None,
    margin: float,
    slower: float,
    larger: float,
    dearer: float,
    device: str | None,
    as_json: bool,
) -> None:
    """Compare a candidate with the version in service on the same labelled data.

    Quality with the interval of the paired difference, calibration, scope, each label, groups, size, cost, and latency
    measured side by side. Exits with 0 where it passes and with 7 where it does not; `promote` asks for the verdict.
    """
    from triptych.bundle import resolve_bundle
    from triptych_apps import release_gate
    from triptych_apps.output import print_json, print_table

    output = resolve_bundle(bundle)
    limits = release_gate.Limits(margin=margin, slower=slower, larger=larger, dearer=dearer)
    found = release_gate.gate(
        output, _releasing().find(output, candidate), data, group=group, limits=limits, device=device or "auto"
    )
    if as_json:
        print_json(found)
    else:
        columns = ["", "in service", "candidate", "difference from", "to", ""]
        rows = [[r.what, r.service, r.candidate, r.low, r.high, "" if r.ok else "refused"] for r in found.rows]
        print_table(f"{found.samples} samples of {data}", columns, rows)
        click.echo(f"{found.candidate} {'passes' if found.passed else 'is refused: ' + '; '.join(found.reasons)}")
    if not found.passed:
        ctx.exit(REFUSED)


def _change(bundle: str, action: Any, version: str | None, *, wait: float, as_json: bool, **options: Any) -> None:
    """Decide, wait for the servers, and say how things stand."""
    from triptych_apps.output import print_json

    releasing = _releasing()
    plan, servers = releasing.decide(bundle, action, version, wait=wait, **options)
    late = [server for server, state in servers.items() if not releasing.follows(state, plan)]
    if as_json:
        print_json({"plan": plan.model_dump(mode="json"), "servers": len(servers), "late": late})
        return
    canary = f", canary {plan.canary} ({plan.share:.1%})" if plan.canary else ""
    shadow = f", shadow {plan.shadow}" if plan.shadow else ""
    click.echo(f"In service: {plan.service}{canary}{shadow}")
    click.echo(f"{len(servers) - len(late)} of {len(servers)} running servers follow.")


def _releasing() -> Any:
    try:
        from triptych_apps.server import releasing  # late: what it needs is an extra
    except ImportError as error:
        raise MissingError(f"releases need the package {error.name}: pip install 'triptych[serve]'") from error
    return releasing


def _verdict(verdict: Any) -> str:
    return "-" if verdict is None else "passed" if verdict.passed else "refused"


def _shadow_row(version: str, found: Any) -> list[Any]:
    return [
        version, found.answers, found.agreement, found.failed, found.dropped, found.shadow_ms, found.service_ms,
        found.shadow_per_million, found.service_per_million,
    ]  # fmt: skip
