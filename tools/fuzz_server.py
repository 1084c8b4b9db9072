"""Try a running server with requests that fit its OpenAPI description, nearly fit it, and do not fit it at all.

    triptych serve customer-service finance --port 8000 &
    python tools/fuzz_server.py http://127.0.0.1:8000 --examples 2000

Schemathesis makes the requests. No answer may have a status of 500 or more but a 503 that says when to come again, and
every one has to have a status, a type, headers and a body that the description names for its call. Each way to break
that is printed once, with the line of curl that shows it; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "use_after_free",
    "ignored_auth",
)
PHASES = ("examples", "coverage", "fuzzing")
STREAM = "text/event-stream"


@dataclass
class Found:
    """What a run did: requests by operation, answers by status, and what is wrong, each thing once."""

    operations: dict[str, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # what, and how to see it


def fuzz(url: str, *, examples: int, seed: int, key: str | None = None, phases: tuple[str, ...] = PHASES) -> Found:
    """Try everything that `url`/openapi.json describes with about `examples` random requests an operation."""
    found = Found()
    for event in from_schema(_schema(url, examples, seed, key, phases)).execute():
        if isinstance(event, events.ScenarioFinished):
            _count(found, event)
        elif isinstance(event, events.NonFatalError):
            found.problems.setdefault(f"{event.label}: {type(event.value).__name__}", str(event.value))
        elif isinstance(event, events.FatalError):
            raise event.exception
    return found


def _schema(url: str, examples: int, seed: int, key: str | None, phases: tuple[str, ...]) -> Any:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "headers": headers,
            "request-timeout": 60,
            "max-stream-events": 1,
            "continue-on-failure": True,
            "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
            "checks": {"enabled": False, **{name: {"enabled": True} for name in CHECKS}},
            "phases": {
                "enabled": False,
                **{name: {"enabled": True} for name in phases},
                "coverage": {"enabled": "coverage" in phases, "unexpected-methods": ["put", "trace"]},
            },
        }
    )
    return schemathesis.openapi.from_url(f"{url}/openapi.json", config=config, headers=headers)


def _count(found: Found, event: Any) -> None:
    recorder = event.recorder
    found.operations[event.label] = found.operations.get(event.label, 0) + len(recorder.interactions)
    for interaction in recorder.interactions.values():
        if interaction.response is not None:
            status = interaction.response.status_code
            found.statuses[status] = found.statuses.get(status, 0) + 1
    for case, check in _failed(recorder):
        response = recorder.interactions[case].response
        if check.name == "not_a_server_error" and response.status_code == 503 and "retry-after" in response.headers:
            continue
        failure = check.failure_info.failure
        what = f"{event.label}: {check.name}, status {response.status_code}: {failure.title}"
        found.problems.setdefault(what, f"{failure.message}\n{check.failure_info.code_sample}")


def _failed(recorder: Any) -> Iterator[tuple[str, Any]]:
    for case, checks in recorder.checks.items():
        for check in checks:
            if check.status == Status.FAILURE:
                yield case, check


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="where the server answers")
    parser.add_argument("--examples", type=int, default=1000, help="random requests for each operation")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    found = fuzz(asked.url.rstrip("/"), examples=asked.examples, seed=asked.seed, key=os.environ.get("TRIPTYCH_KEY"))
    for name, count in sorted(found.operations.items()):
        print(f"{count:7,}  {name}")
    print("answers by status:", ", ".join(f"{status}: {count:,}" for status, count in sorted(found.statuses.items())))
    for what, how in found.problems.items():
        print(f"\n{what}\n{how}")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
