"""`triptych doctor`: what is on this machine, and what is missing."""

from __future__ import annotations

import click

from triptych_apps.options import json_option


@click.command(short_help="Check this machine: packages, weights, devices, disk.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, /, as_json: bool) -> None:
    """Check this machine: packages, weights, devices, disk.

    Exits with 6 when something that triptych cannot do without is missing; what is merely absent is only listed.
    """
    from triptych_apps.checkup import examine
    from triptych_apps.errors import say_error
    from triptych_apps.output import print_json, print_pairs, print_table, print_text

    found = examine()
    if as_json:
        print_json(found)
        ctx.exit(6 if found.problems else 0)
    print_pairs(
        "",
        {
            "triptych": found.triptych,
            "python": f"{found.python} on {found.platform}",
            "processor": f"{found.cores} cores, {found.memory_mb / 1000:.1f} GB of memory",
            "devices": "\n".join(found.devices),
            "home": found.home,
            "free disk": f"{found.disk.free_mb / 1000:.1f} GB at {found.disk.path}",
        },
    )
    rows = [
        (p.name, p.version or "not installed", p.wanted, p.extra or "", "" if p.ok else "!") for p in found.packages
    ]
    print_table("Packages", ("", "installed", "wanted", "extra", ""), rows)
    print_table("Weights", ("", "", ""), [(w.name, w.status, w.detail) for w in found.weights])
    print_table("Readers", ("", "", ""), [(r.name, r.status, r.detail) for r in found.readers])
    for problem in found.problems:
        say_error(problem)
    if not found.problems:
        print_text("All is well.")
    ctx.exit(6 if found.problems else 0)
