"""Keep libraries calm: their log messages, warnings and progress bars stay out of a user's terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from triptych_apps.errors import say

_ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # its warning after a fork says the same
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
}


def set_up(verbose: bool) -> None:
    """Called once, before anything heavy is imported; what the user has set in the environment stays."""
    logger = logging.getLogger("triptych")
    if not logger.handlers:
        logger.addHandler(_Talk())
        logger.propagate = False
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    # threads that wait for each other in a loop make a training of seconds one of minutes where a core is busy
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if verbose:
        return
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger().addHandler(logging.NullHandler())  # or Python prints what other libraries log
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


class _Talk(logging.Handler):
    """Log messages of triptych as single lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.levelname.lower()}: {record.getMessage()}")
        if record.exc_info and logging.getLogger("triptych").level <= logging.INFO:
            say(logging.Formatter().formatException(record.exc_info))
