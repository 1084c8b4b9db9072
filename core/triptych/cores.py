"""How many cores there are, how many may be used, and by what."""

from __future__ import annotations

import os


def cpu_count() -> int:
    """Cores this process may use, which a container may limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def keep_blas_to_one_thread() -> None:
    """Let NumPy compute products in the thread that asks for them. For programs that answer; before NumPy is imported.

    OpenBLAS shares even small products among all cores, and its threads then look for more work without a rest, which
    takes CPU time from everything else. A number in `OPENBLAS_NUM_THREADS` stands.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def wanted_threads() -> int:
    """What OpenMP was told, of which the first number counts ("4,2" is for nested loops); 0: nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0
