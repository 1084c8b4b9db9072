"""What can go wrong for a user. A surface prints the message and exits with `exit_code`; the rest are bugs.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | a bug: an unexpected error with its traceback |
| 2 | wrong usage: unknown command, option, name or config key |
| 3 | data that cannot be used |
| 4 | a bundle that cannot be read, or is not the one expected |
| 5 | a plugin that failed or refused |
| 6 | something is missing on this machine: weights, disk space, memory, a package |
| 7 | no variant holds the budget that was asked for; the bundle is as it was |
| 130 | stopped with Ctrl-C |
"""

from __future__ import annotations

from pathlib import Path


class TriptychError(Exception):
    """Base of every error that a user can mend; the message says what came and what to do."""

    exit_code = 2


class ConfigError(TriptychError):
    """One or more problems in a configuration; `problems` lists them all."""

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else problems
        super().__init__("\n".join(self.problems))


class UnknownNameError(TriptychError):
    """A name that nothing answers to; the message lists the names that exist."""

    def __init__(self, what: str, name: str, known: list[str]) -> None:
        import difflib

        self.what, self.name = what, name
        self.known = sorted(known)
        near = difflib.get_close_matches(name, self.known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"No {what} is called {name!r}.{hint} Known: {', '.join(self.known) or 'none'}.")


class DataError(TriptychError):
    """Data that cannot be used; names the file and, where there is one, the row (counted from 1)."""

    exit_code = 3

    def __init__(self, reason: str, *, file: str | Path | None = None, row: int | None = None) -> None:
        self.reason, self.file, self.row = reason, file, row
        where = "" if file is None else f"{file}: " if row is None else f"{file}, row {row}: "
        super().__init__(where + reason)


class BundleError(TriptychError):
    """A bundle that is missing, damaged, foreign or of another version."""

    exit_code = 4


class PluginError(TriptychError):
    """A plugin failed; `plugin` is its name."""

    exit_code = 5

    def __init__(self, plugin: str, reason: str) -> None:
        self.plugin = plugin
        super().__init__(f"Plugin {plugin!r}: {reason}")


class RefusedError(TriptychError):
    """A request was refused by a guardrail; `plugin` names it where known."""

    exit_code = 5

    def __init__(self, reason: str, *, plugin: str | None = None) -> None:
        self.plugin = plugin
        super().__init__(reason)


class MissingError(TriptychError):
    """The machine lacks something: weights, a package, disk space or memory; says how to get it."""

    exit_code = 6


class BudgetError(TriptychError):
    """No variant holds every limit; the message names the one that comes nearest, and what it misses."""

    exit_code = 7
