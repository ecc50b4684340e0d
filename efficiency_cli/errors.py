"""What can go wrong, and the exit code each ends in.

    EffcliError                      what, where, hint; exit 2 unless said otherwise
    ├── UsageError                   a bad option, value or combination
    ├── ModelError                   a model that cannot be read or is not a network
    │   └── MissingDimension         a dimension that must be given first
    ├── ProfileError                 hardware that is unknown or a profile that is wrong
    ├── ConfigError                  a config file that is wrong
    └── Inconclusive                 no verdict possible (exit 3)

Errors are rendered and turned into exit codes in `cli.py` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command (see `effcli help exit-codes`)."""

    OK = 0
    FINDING = 1
    ERROR = 2
    INCONCLUSIVE = 3
    BUG = 4
    INTERRUPTED = 130


class EffcliError(Exception):
    """An error a user can act on: `what` happened, `where`, and a `hint` with the next step.

    `where` may hold several lines (one mistake each). All texts are escaped when shown.
    """

    exit_code = ExitCode.ERROR

    def __init__(self, what: str, *, where: str | Iterable[str] = (), hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where: tuple[str, ...] = (where,) if isinstance(where, str) else tuple(where)
        self.hint = hint


class UsageError(EffcliError):
    """A bad option, value or combination of options."""


class ModelError(EffcliError):
    """A model that cannot be read, or is not a network that can be analysed."""


class MissingDimension(ModelError):
    """A dimension without a value; the hint is the command that sets it."""


class ProfileError(EffcliError):
    """Unknown hardware, or a profile with mistakes (all of them, each with file:line:column)."""


class ConfigError(EffcliError):
    """A configuration file with mistakes."""


class Inconclusive(EffcliError):
    """No verdict is possible: unmodelled operators or assumed dimensions under `--strict`."""

    exit_code = ExitCode.INCONCLUSIVE


def suggest(word: str, candidates: Iterable[str]) -> str:
    """The candidate that was probably meant, or '' (difflib ratio ≥ 0.6, case ignored)."""
    import difflib  # only what is misspelled waits for it

    by_lower = {c.lower(): c for c in candidates}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else ""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """ "did you mean 'x'?" or '' when nothing is close."""
    found = suggest(word, candidates)
    return f"did you mean '{found}'?" if found else ""
