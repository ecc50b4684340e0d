"""Estimates as text: one file a format, each with a `render(estimates, view, command) -> str`.

A format is added by adding its file. Text from a model is hostile: see `escape.py`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from efficiency_cli.errors import UsageError, did_you_mean
from efficiency_cli.reports.summary import notes_of
from efficiency_cli.reports.view import GROUPS, SORTS, Group, Sort, View

if TYPE_CHECKING:
    from efficiency_cli.roofline.estimate import Estimate

__all__ = ["GROUPS", "SORTS", "Group", "Sort", "View", "formats", "notes_of", "render"]

# the one for people comes first
_FIRST = "table"


@cache
def formats() -> tuple[str, ...]:
    """The formats there are: the modules of this folder that define `render`.

    Importing them is cheap; each imports what is heavy when it renders.
    """
    names = [m.name for m in pkgutil.iter_modules(__path__) if hasattr(_module(m.name), "render")]
    return tuple(sorted(names, key=lambda n: (n != _FIRST, n)))


def render(format: str, estimates: Sequence[Estimate], view: View, command: str = "analyze") -> str:
    """`estimates` in the named format. Raises UsageError for a format there is not."""
    if format not in formats():
        raise UsageError(
            f"unknown format '{format}'",
            where=f"formats: {', '.join(formats())}",
            hint=did_you_mean(format, formats()) or "choose one: effcli analyze MODEL --format table",
        )
    text: str = _module(format).render(estimates, view, command)
    return text


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
