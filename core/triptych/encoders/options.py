"""Options that an encoder does not know are errors: a typo that trains for an hour is dear."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from triptych.errors import ConfigError


def refuse_unknown(encoder: str, unknown: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise `ConfigError` naming every option in `unknown`, with the nearest of those that exist."""
    problems = []
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        problems.append(f"encoder {encoder} has no option {name!r}.{hint} Known: {', '.join(known) or 'none'}.")
    if problems:
        raise ConfigError(problems)
