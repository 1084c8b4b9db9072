"""How many cores there are, and how many may be used."""

from __future__ import annotations

import os


def cpu_count() -> int:
    """Cores this process may use, which a container may limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def wanted_threads() -> int:
    """What OpenMP was told, of which the first number counts ("4,2" is for nested loops); 0: nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0
